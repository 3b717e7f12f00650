import { cpus } from "node:os";
import type { Round, WorkloadName } from "./comparison.ts";
import type { Contender } from "./contender.ts";
import { closedLoop, percentile, type LoadOptions } from "./load.ts";
import { cpuSeconds, rssMegabytes } from "./process-usage.ts";
import type { Target } from "./target.ts";

/** Called, but not measured, at the beginning of each round: the other system has had the caches until then. */
const LEAD_IN_MS = 1000;
const SAMPLE_MS = 500;

/** One run of one load, and what it took. `idle`: the processes that are up and not called. */
export async function measureRound(
  { name, pids, workers }: Contender,
  workload: WorkloadName,
  target: Target,
  load: LoadOptions & { readonly durationMs: number },
  idle: readonly number[],
): Promise<Round> {
  await closedLoop(target, { ...load, durationMs: LEAD_IN_MS });
  Bun.gc(true);
  const before = uses(workers, idle);
  const most = pids.map(rssMegabytes);
  const sampling = setInterval(() => {
    for (const [at, pid] of pids.entries()) most[at] = Math.max(most[at] ?? 0, rssMegabytes(pid));
  }, SAMPLE_MS);
  const result = await closedLoop(target, load).finally(() => clearInterval(sampling));
  const after = uses(workers, idle);
  const cpuSeconds = after.workers.map((used, at) => used - (before.workers[at] ?? 0));
  const clientCpuSeconds = after.client - before.client;
  const idleCpuSeconds = after.idle - before.idle;
  const ours = sum(cpuSeconds) + clientCpuSeconds + idleCpuSeconds;
  const { latenciesMs, ...counts } = result;
  return {
    workload,
    contender: name,
    seconds: load.durationMs / 1000,
    ...counts,
    p50Ms: percentile(latenciesMs, 0.5),
    p99Ms: percentile(latenciesMs, 0.99),
    rssMegabytes: most,
    cpuSeconds,
    clientCpuSeconds,
    idleCpuSeconds,
    othersShare: Math.max(0, after.machine - before.machine - ours) / (after.available - before.available),
  };
}

/** CPU seconds so far: of each worker, and of others together. */
interface Uses {
  readonly workers: readonly number[];
  readonly idle: number;
  readonly client: number;
  readonly machine: number;
  /** What there was to use. */
  readonly available: number;
}

function uses(workers: readonly number[], idle: readonly number[]): Uses {
  const { user, system } = process.cpuUsage();
  const times = cpus().map(({ times }) => times);
  return {
    workers: workers.map(cpuSeconds),
    idle: sum(idle.map(cpuSeconds)),
    client: (user + system) / 1e6,
    machine: sum(times.map(({ user, nice, sys }) => user + nice + sys)) / 1000,
    available: (performance.now() / 1000) * times.length,
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
