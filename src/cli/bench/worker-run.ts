/** The work of one process that makes load. */
import { KeyWriter } from "./key-writer.ts";
import { LoadLoop, type LoadWorld } from "./load-loop.ts";
import { Measurement } from "./measurement.ts";
import type { WorkerLoad, WorkerProgress, WorkerResult, WorkerStage } from "./protocol.ts";
import { CLOSED_LOOP, openLoop, type Schedule } from "./schedule.ts";
import { openTarget, type Target } from "./target.ts";
import { Workload } from "./workload.ts";

/** The warm-up ends so long before the measurement begins: what it does last is not to make that late. */
const GAP_MS = 5;

/** Call `prepare`, then `measure`. */
export class WorkerRun {
  readonly #load: WorkerLoad;
  readonly #workload: Workload;
  readonly #loop: LoadLoop;
  readonly #keyWriter: KeyWriter;
  readonly #stop = Promise.withResolvers<void>();
  #stopped = false;
  #stage: WorkerStage = "loading";
  #counts: Pick<WorkerProgress, "answered" | "failed">;

  constructor(load: WorkerLoad) {
    const { process, processes, workload } = load;
    this.#load = load;
    this.#workload = new Workload(workload);
    this.#loop = new LoadLoop(worldOf(openTarget(load.target, load.calls)), load.clients);
    // Of the keys, every process has as many as the others, or one more.
    const keys = workload.kind === "put" ? 0 : Math.ceil(Math.max(0, workload.keys - process) / processes);
    let key = process - processes;
    const nextPut = () => this.#workload.put((key += processes));
    this.#keyWriter = new KeyWriter({ loop: this.#loop, nowMs: () => performance.now(), keys, nextPut });
    this.#counts = this.#keyWriter;
  }

  /** What it does just now. */
  get progress(): WorkerProgress {
    const { answered, failed } = this.#counts;
    return { stage: this.#stage, answered, failed };
  }

  /** Writes this process's share of the keys that will be read. Rejects with RaftKvError "unavailable". */
  prepare(): Promise<void> {
    return this.#keyWriter.write();
  }

  /** Warms up from `atMs` on, on the monotonic clock, and measures after that. */
  async measure(atMs: number): Promise<WorkerResult> {
    const { warmUpMs, end } = this.#load;
    const fromMs = atMs + warmUpMs;
    await this.#waitUntil(atMs);
    await this.#run("warming up", atMs, fromMs - GAP_MS, Infinity);
    await this.#waitUntil(fromMs);

    const cpuBefore = process.cpuUsage();
    const untilMs = end.kind === "duration" ? fromMs + end.durationMs : Infinity;
    const operations = end.kind === "count" ? end.operations : Infinity;
    const { measurement, answeredMeanwhile } = await this.#run("measuring", fromMs, untilMs, operations);
    const sentMs = Math.min(performance.now(), untilMs);
    const cpu = process.cpuUsage(cpuBefore);
    const cpuShare = sentMs > fromMs ? (cpu.user + cpu.system) / 1000 / (sentMs - fromMs) : 0;
    if (!this.#stopped) await Promise.race([this.#loop.idle(), this.#stop.promise]);
    measurement.giveUp(this.#loop.underWay);
    // What was to be counted is over with its last answer; what was to last so long, then.
    const endMs = end.kind === "count" ? performance.now() : sentMs;
    return {
      measurement: measurement.toRecord(),
      measuredMs: Math.max(0, endMs - fromMs),
      answeredMeanwhile: end.kind === "count" ? measurement.answered : answeredMeanwhile,
      cpuShare,
    };
  }

  /** Whatever goes on ends soon, with what is known by then. */
  stop(): void {
    this.#stopped = true;
    this.#keyWriter.stop();
    this.#stop.resolve();
  }

  async #waitUntil(timeMs: number): Promise<void> {
    await Promise.race([Bun.sleep(Math.max(0, timeMs - performance.now())), this.#stop.promise]);
  }

  /** Sends from `fromMs`, which is now, until `untilMs` or until so many `operations` were sent. */
  async #run(stage: WorkerStage, fromMs: number, untilMs: number, operations: number) {
    const measurement = new Measurement();
    this.#stage = stage;
    this.#counts = measurement;
    if (this.#stopped || untilMs <= fromMs) return { measurement, answeredMeanwhile: 0 };
    const schedule = this.#schedule(fromMs);
    const next = () => this.#workload.next();
    const phase = { schedule, untilMs, operations, next, observer: measurement };
    return { measurement, answeredMeanwhile: await this.#loop.run(phase) };
  }

  /** What was due in the warm-up and not sent is not carried over: each stretch has a schedule of its own. */
  #schedule(startMs: number): Schedule {
    const { ratePerSecond, process, processes } = this.#load;
    if (ratePerSecond === null) return CLOSED_LOOP;
    return openLoop({ startMs, ratePerSecond, process, processes });
  }
}

function worldOf(target: Target): LoadWorld {
  return {
    nowMs: () => performance.now(),
    at: (timeMs, callback) => {
      const timer = setTimeout(callback, Math.max(0, timeMs - performance.now()));
      return () => clearTimeout(timer);
    },
    send: (operation, done) => target.send(operation, done),
  };
}
