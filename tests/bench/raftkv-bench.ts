import { EXECUTABLE } from "../cluster/deployment.ts";

/** What `raftkv bench` told, as far as it is used here. */
export interface BenchResult {
  /** Operations that succeeded. */
  readonly perSecond: number;
  readonly p99Ms: number;
  readonly errors: number;
  /** null: nobody said who leads. */
  readonly elections: number | null;
}

/** Runs it with these options, by their names. Throws when it fails, as when no operation succeeded. */
export async function raftkvBench(options: Readonly<Record<string, string | number>>): Promise<BenchResult> {
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const child = Bun.spawn([EXECUTABLE, "bench", "--json", ...args], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
  const text = await child.stdout.text();
  if ((await child.exited) !== 0) throw new Error(`raftkv bench failed: ${text}`);
  const { perSecond, latency, operations, elections } = JSON.parse(text);
  return {
    perSecond,
    p99Ms: latency.all.p99Us / 1000,
    errors: operations.failed,
    elections: elections.count,
  };
}
