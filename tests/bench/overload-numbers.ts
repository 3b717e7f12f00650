/** What a cluster does that is asked for ten times what it can do. */
import type { Deployment } from "../cluster/deployment.ts";
import { percentile, putAtServer } from "./load.ts";
import { formatMs as ms, type NumberTable } from "./number-table.ts";
import { rssMegabytes } from "./process-usage.ts";
import { raftkvBench, type BenchResult } from "./raftkv-bench.ts";

const SERVERS = 3;
const TIMES = 10;
const SECONDS = 60;
/**
 * Calls under way at the same time: more than a leader lets wait, and many more. With the latter the process that makes
 * the load needs most of the machine for itself.
 */
const CALLERS = [5000, 20_000] as const;
const SAMPLE_MS = 500;
const NORMAL_AFTER_MS = 2000;

export async function measureOverload(deployment: Deployment, table: NumberTable): Promise<void> {
  await deployment.startRaft(SERVERS);
  const servers = Array.from({ length: SERVERS }, (_, id) => deployment.server(id).address).join(",");
  const pids = Array.from({ length: SERVERS }, (_, id) => deployment.pids(id)).flat();
  const peak = await raftkvBench({ servers, clients: 256, "warm-up": 10 });
  for (const callers of CALLERS) {
    let rss = 0;
    const sampling = setInterval(() => (rss = Math.max(rss, ...pids.map(rssMegabytes))), SAMPLE_MS);
    const rate = Math.round(TIMES * peak.perSecond);
    const load = { servers, clients: callers, duration: SECONDS, rate };
    const overloaded = await raftkvBench(load).finally(() => clearInterval(sampling));
    addRows(table, callers, peak, overloaded, rss);
    await addAfterwards(deployment, table);
  }
}

function addRows(
  table: NumberTable,
  callers: number,
  peak: BenchResult,
  overloaded: BenchResult,
  rss: number,
): void {
  const share = overloaded.perSecond / peak.perSecond;
  table.add({
    what: `goodput, ${callers.toLocaleString("en")} callers asked ${TIMES} times the peak for ${SECONDS} s`,
    asked: "≥ 0.7 of the peak",
    measured: `${share.toFixed(2)}: ${Math.round(overloaded.perSecond)} of ${Math.round(peak.perSecond)} /s`,
    holds: share >= 0.7,
  });
  table.add({
    what: "the largest server meanwhile",
    asked: "≤ 512 MB",
    measured: `${rss.toFixed(0)} MB`,
    holds: rss <= 512,
  });
  table.add({
    what: "elections meanwhile",
    asked: "0",
    measured: String(overloaded.elections ?? "unknown"),
    holds: overloaded.elections === 0,
  });
}

async function addAfterwards(deployment: Deployment, table: NumberTable): Promise<void> {
  await Bun.sleep(NORMAL_AFTER_MS);
  const { id } = await deployment.leader(SERVERS);
  const one = { clients: 1, valueBytes: 256, keys: 1000, timeoutMs: 10_000, durationMs: 1000 };
  const { latenciesMs } = await putAtServer(deployment.server(id).address, one);
  const p99 = percentile(latenciesMs, 0.99);
  table.add({
    what: "p99 of one client's puts 2 s after that",
    asked: "≤ 50 ms",
    measured: ms(p99),
    holds: p99 <= 50,
  });
}
