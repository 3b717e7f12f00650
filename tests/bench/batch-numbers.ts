/** How fast the batch door takes many writes: `raftkv import`, through the frontend. */
import { join } from "node:path";
import { EXECUTABLE, type Deployment } from "../cluster/deployment.ts";
import type { NumberTable } from "./number-table.ts";
import { rssMegabytes } from "./process-usage.ts";

const SERVERS = 3;
const ENTRIES = 1_000_000;
const KEYS = 10_000;
const VALUE_BYTES = 256;
/** For the servers to have compiled their code. */
const WARM_UP_ENTRIES = 500_000;
const SAMPLE_MS = 250;
const MAX_RSS_MEGABYTES = 250;

export async function measureBatchDoor(deployment: Deployment, table: NumberTable): Promise<void> {
  await deployment.startRaft(SERVERS);
  const pids = Array.from({ length: SERVERS }, (_, id) => deployment.pids(id)).flat();
  await importEntries(deployment, WARM_UP_ENTRIES);
  let rss = 0;
  const sampling = setInterval(() => (rss = Math.max(rss, ...pids.map(rssMegabytes))), SAMPLE_MS);
  const seconds = await importEntries(deployment, ENTRIES).finally(() => clearInterval(sampling));
  const perSecond = ENTRIES / seconds;
  table.add({
    what: `raftkv import of ${ENTRIES.toLocaleString("en")} entries of ${VALUE_BYTES} bytes`,
    asked: "≥ 50,000 /s",
    measured: `${Math.round(perSecond).toLocaleString("en")} /s`,
    holds: perSecond >= 50_000,
  });
  table.add({
    what: "the largest server meanwhile",
    asked: `≤ ${MAX_RSS_MEGABYTES} MB`,
    measured: `${rss.toFixed(0)} MB`,
    holds: rss <= MAX_RSS_MEGABYTES,
  });
}

/** The seconds that it took, the start of the process included. */
async function importEntries({ directory, frontendAddress }: Deployment, count: number): Promise<number> {
  const file = join(directory, "entries.jsonl");
  const value = "v".repeat(VALUE_BYTES);
  const line = (at: number): string => JSON.stringify({ key: `key-${at % KEYS}`, value });
  await Bun.write(file, Array.from({ length: count }, (_, at) => `${line(at)}\n`).join(""));
  const fromMs = performance.now();
  const child = Bun.spawn([EXECUTABLE, "import", file, "--address", frontendAddress, "--json"], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
  const text = await child.stdout.text();
  if ((await child.exited) !== 0) throw new Error(`raftkv import failed: ${text}`);
  return (performance.now() - fromMs) / 1000;
}
