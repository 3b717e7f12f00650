/**
 * Measures what RaftKV costs as it grows and prints the table that README.md shows: `bun tests/bench/growth.ts`, or
 * `make bench`. One thing is changed at a time: servers, keys, size of values, clients. `raftkv bench` makes the load,
 * at the servers themselves; every setting has a cluster of its own. It takes about ten minutes.
 */
import { cpus } from "node:os";
import { Deployment } from "../cluster/deployment.ts";
import { raftkvBench, type BenchResult } from "./raftkv-bench.ts";

/** What one line of the table is measured with. */
interface Setting {
  readonly servers: number;
  readonly keys: number;
  readonly valueBytes: number;
  readonly clients: number;
}

const BASE: Setting = { servers: 3, keys: 10_000, valueBytes: 256, clients: 64 };
/** So that they fit in memory whatever their size. */
const KEYS_OF_MANY_SIZES = 1000;

const SETTINGS: readonly Setting[] = [
  ...[1, 3, 5, 7].map((servers) => setting({ servers })),
  ...[100, 10_000, 1_000_000].map((keys) => setting({ keys })),
  ...[16, 256, 4096, 65_536].map((valueBytes) => setting({ valueBytes, keys: KEYS_OF_MANY_SIZES })),
  ...[1, 16, 64, 256, 1000].map((clients) => setting({ clients })),
];

const SECONDS = 5;

function setting(parts: Partial<Setting>): Setting {
  return { ...BASE, ...parts };
}

async function measure(deployment: Deployment, how: Setting): Promise<readonly BenchResult[]> {
  await deployment.startRaft(how.servers);
  const addresses = Array.from({ length: how.servers }, (_, id) => deployment.server(id).address);
  const measured: BenchResult[] = [];
  for (const workload of ["put", "get"]) measured.push(await bench(workload, addresses, how));
  return measured;
}

function bench(
  workload: string,
  addresses: readonly string[],
  { keys, valueBytes, clients }: Setting,
): Promise<BenchResult> {
  const load = { workload, keys, "value-size": valueBytes, clients, duration: SECONDS };
  return raftkvBench({ servers: addresses.join(","), ...load });
}

/** A row of a Markdown table. */
function row(cells: readonly (string | number)[]): string {
  return `| ${cells.join(" | ")} |`;
}

function cellsOf({ perSecond, p99Ms, errors, elections }: BenchResult): readonly string[] {
  const remarks = [
    ...(errors > 0 ? [`${errors} errors`] : []),
    ...(elections === 0 ? [] : [`${elections ?? "unknown"} elections`]),
  ];
  const remark = remarks.length === 0 ? "" : ` (${remarks.join(", ")})`;
  return [`${Math.round(perSecond).toLocaleString("en")} /s${remark}`, `${p99Ms.toFixed(1)} ms`];
}

const deployment = await Deployment.create();
try {
  await deployment.startFrontend();
  process.stdout.write(`${cpus().length} × ${cpus()[0]?.model.trim() ?? "unknown"}\n\n`);
  const headings = ["servers", "keys", "bytes a value", "clients", "puts", "p99", "linearizable gets", "p99"];
  process.stdout.write(`${row(headings)}\n${row(headings.map(() => "---"))}\n`);
  for (const each of SETTINGS) {
    const { servers, keys, valueBytes, clients } = each;
    const measured = await measure(deployment, each);
    const counts = [servers, keys, valueBytes, clients].map((count) => count.toLocaleString("en"));
    process.stdout.write(`${row([...counts, ...measured.flatMap(cellsOf)])}\n`);
  }
} finally {
  await deployment.close();
}
