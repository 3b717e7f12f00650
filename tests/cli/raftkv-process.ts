import { resolve } from "node:path";

const MAIN = resolve(import.meta.dir, "../../src/main.ts");

export interface Finished {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly stdin?: string | Uint8Array;
  readonly cwd?: string;
  /** Beside what is in our own. */
  readonly env?: Readonly<Record<string, string>>;
}

/** The command line in a process of its own, from its source, with pipes for its streams. */
export function spawnRaftkv(args: readonly string[], { stdin = "", cwd, env }: RunOptions = {}) {
  return Bun.spawn([process.execPath, MAIN, ...args], {
    stdin: new Blob([stdin]),
    stdout: "pipe",
    stderr: "pipe",
    ...(cwd === undefined ? {} : { cwd }),
    ...(env === undefined ? {} : { env: { ...process.env, ...env } }),
  });
}

/** Runs it to its end. */
export async function raftkv(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const child = spawnRaftkv(args, options);
  const [exitCode, stdout, stderr] = await Promise.all([
    child.exited,
    child.stdout.text(),
    child.stderr.text(),
  ]);
  return { exitCode, stdout, stderr };
}
