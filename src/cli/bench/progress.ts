/** What a run says on stderr while it goes on: a live line on a terminal, nothing elsewhere. */
import { WORKER_STAGES, type WorkerProgress, type WorkerStage } from "./protocol.ts";
import type { BenchSettings } from "./settings.ts";

const EVERY_MS = 250;
/** The speed that is shown is that of the last so many milliseconds. */
const RECENT_MS = 2000;
const ERASE_LINE = "\r\u001B[K";

/** How far all workers together have got. */
export interface RunProgress {
  /** Of the worker that is least advanced; the numbers are of those in it. */
  readonly stage: WorkerStage;
  readonly answered: number;
  readonly failed: number;
  /** Seconds that it has lasted. */
  readonly seconds: number;
  /** Answered in a second, of late. */
  readonly perSecond: number;
}

type ProgressSettings = Pick<BenchSettings, "keys" | "warmUpMs" | "end">;

export class Progress {
  readonly #settings: ProgressSettings;
  readonly #isShown = process.stderr.isTTY;
  readonly #workers: WorkerProgress[];
  readonly #timer: ReturnType<typeof setInterval>;
  #stage: WorkerStage = "loading";
  #stageMs = performance.now();
  /** How much had been answered when, of late, oldest first. */
  #recent: { readonly atMs: number; readonly answered: number }[] = [];

  constructor(settings: ProgressSettings, workers: number) {
    this.#settings = settings;
    this.#workers = Array.from({ length: workers }, () => ({ stage: "loading", answered: 0, failed: 0 }));
    this.#timer = setInterval(() => this.#show(), EVERY_MS);
  }

  /** What worker number `index` last told. */
  note(index: number, progress: WorkerProgress): void {
    this.#workers[index] = progress;
  }

  /** Takes the live line away. */
  end(): void {
    clearInterval(this.#timer);
    if (this.#isShown) process.stderr.write(ERASE_LINE);
  }

  #show(): void {
    if (!this.#isShown) return;
    const { stage, answered, failed } = together(this.#workers);
    const nowMs = performance.now();
    if (stage !== this.#stage) {
      this.#stage = stage;
      this.#stageMs = nowMs;
      this.#recent = [];
    }
    this.#recent = [
      ...this.#recent.filter(({ atMs }) => nowMs - atMs < RECENT_MS),
      { atMs: nowMs, answered },
    ];
    const [oldest] = this.#recent;
    const perMs = oldest === undefined ? 0 : (answered - oldest.answered) / Math.max(1, nowMs - oldest.atMs);
    const seconds = (nowMs - this.#stageMs) / 1000;
    const line = progressLine({ stage, answered, failed, seconds, perSecond: perMs * 1000 }, this.#settings);
    process.stderr.write(`${ERASE_LINE}${line}`);
  }
}

/** The sum over those that are in the earliest stage that any of them is in. */
export function together(workers: readonly WorkerProgress[]): WorkerProgress {
  const stage = WORKER_STAGES.find((name) => workers.some((worker) => worker.stage === name)) ?? "loading";
  const present = workers.filter((worker) => worker.stage === stage);
  return {
    stage,
    answered: present.reduce((sum, { answered }) => sum + answered, 0),
    failed: present.reduce((sum, { failed }) => sum + failed, 0),
  };
}

export function progressLine(progress: RunProgress, settings: ProgressSettings): string {
  const { stage, failed, perSecond } = progress;
  const errors = failed === 0 ? "" : `, ${whole(failed)} error${failed === 1 ? "" : "s"}`;
  return `${stage}: ${extent(progress, settings)}, ${whole(perSecond)} /s${errors}`;
}

function extent(
  { stage, answered, seconds }: RunProgress,
  { keys, warmUpMs, end }: ProgressSettings,
): string {
  if (stage === "loading") return `${whole(answered)} of ${whole(keys)} keys`;
  if (stage === "warming up") return `${time(seconds)} of ${warmUpMs / 1000} s`;
  if (end.kind === "count") return `${whole(answered)} of ${whole(end.operations)}`;
  return `${time(seconds)} of ${end.durationMs / 1000} s`;
}

function time(seconds: number): string {
  return seconds.toFixed(1);
}

function whole(number: number): string {
  return Math.round(number).toLocaleString("en");
}
