/** One run: worker processes make the load at the same time, and what they measured is summed up. */
import type { Answer } from "../result.ts";
import { ElectionWatch, LeaderHistory } from "./election-watch.ts";
import { findTarget } from "./find-target.ts";
import { Measurement } from "./measurement.ts";
import { Progress } from "./progress.ts";
import type { WorkerLoad, WorkerResult } from "./protocol.ts";
import { reportText } from "./report.ts";
import { resultJson } from "./result.ts";
import type { BenchSettings, RunEnd } from "./settings.ts";
import type { TargetAddress } from "./target.ts";
import { WorkerProcess } from "./worker-process.ts";

/** So long all workers have to hear when they begin. */
const LEAD_MS = 200;

/**
 * Aborted, it ends soon and tells what was measured until then. Rejects with RaftKvError: as findTarget; when
 * the keys to be read cannot be written; when a worker cannot be started or breaks down.
 */
export async function runBench(settings: BenchSettings, signal: AbortSignal): Promise<Answer> {
  const target = await Promise.race([arrival(signal), findTarget(settings)]);
  if (target === null) return answerOf(settings, [], new LeaderHistory(), true);
  const progress = new Progress(settings, settings.jobs);
  const workers: WorkerProcess[] = [];
  const stop = (): void => workers.forEach((worker) => worker.stop());
  signal.addEventListener("abort", stop, { once: true });
  try {
    for (const [at, load] of workerLoads(settings, target).entries()) {
      workers.push(new WorkerProcess(load, (told) => progress.note(at, told)));
    }
    if (signal.aborted) stop();
    await Promise.all(workers.map((worker) => worker.ready));
    const { results, leaders } = await measure(workers, target, settings.warmUpMs);
    return answerOf(settings, results, leaders, signal.aborted);
  } finally {
    signal.removeEventListener("abort", stop);
    progress.end();
    await Promise.all(workers.map((worker) => worker.end()));
  }
}

/** Resolves when the signal has come. */
function arrival(signal: AbortSignal): Promise<null> {
  const { promise, resolve } = Promise.withResolvers<null>();
  if (signal.aborted) resolve(null);
  else signal.addEventListener("abort", () => resolve(null), { once: true });
  return promise;
}

async function measure(
  workers: readonly WorkerProcess[],
  target: TargetAddress,
  warmUpMs: number,
): Promise<{ readonly results: readonly WorkerResult[]; readonly leaders: LeaderHistory }> {
  const watch = new ElectionWatch(target, performance.now() + LEAD_MS + warmUpMs);
  try {
    const atWallMs = Date.now() + LEAD_MS;
    for (const worker of workers) worker.go(atWallMs);
    return { results: await Promise.all(workers.map((worker) => worker.result)), leaders: watch.history };
  } finally {
    await watch.end();
  }
}

/** What each process is to do: clients, connections and operations are divided among them. */
function workerLoads(settings: BenchSettings, target: TargetAddress): readonly WorkerLoad[] {
  const { jobs, connections, consistency, timeoutMs, reads, keys, valueBytes, seed, end } = settings;
  return Array.from({ length: jobs }, (_, process) => ({
    target,
    calls: { connections: share(connections, process, jobs), consistency, timeoutMs },
    workload: { kind: settings.workload, reads, keys, valueBytes, seed, stream: process },
    clients: share(settings.clients, process, jobs),
    process,
    processes: jobs,
    ratePerSecond: settings.ratePerSecond,
    warmUpMs: settings.warmUpMs,
    end: endOf(end, process, jobs),
  }));
}

function endOf(end: RunEnd, process: number, processes: number): RunEnd {
  if (end.kind === "duration") return end;
  return { kind: "count", operations: share(end.operations, process, processes) };
}

/** Of `total` things, those of process number `process`. */
function share(total: number, process: number, processes: number): number {
  return Math.floor(total / processes) + (process < total % processes ? 1 : 0);
}

function answerOf(
  settings: BenchSettings,
  results: readonly WorkerResult[],
  leaders: LeaderHistory,
  interrupted: boolean,
): Answer {
  const measurement = new Measurement();
  for (const result of results) measurement.merge(Measurement.fromRecord(result.measurement));
  const result = {
    settings,
    interrupted,
    measuredMs: Math.max(0, ...results.map(({ measuredMs }) => measuredMs)),
    answeredMeanwhile: results.reduce((sum, { answeredMeanwhile }) => sum + answeredMeanwhile, 0),
    measurement,
    generatorCpuShare: Math.max(0, ...results.map(({ cpuShare }) => cpuShare)),
    leaders,
  };
  const output = { stdout: reportText(result), stderr: null, json: resultJson(result) };
  return { kind: "answer", exitCode: measurement.answered > 0 ? 0 : 1, output };
}
