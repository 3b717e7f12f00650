import { RaftKvError } from "../../base/errors.ts";
import { selfCommand } from "../../frontend/launcher.ts";
import type { SeedReport } from "../../sim/tally.ts";
import { linesOf } from "../line-stream.ts";
import { readReport, WORKER_COMMAND } from "./protocol.ts";

export interface WorkerPoolOptions {
  /** Worker processes, 1 or more. */
  readonly jobs: number;
  /** Every seed is run twice. */
  readonly replay: boolean;
  /** Once a seed, as they end: not in their order. */
  readonly onReport: (report: SeedReport) => void;
  /** Aborted: nothing is reported any more, and the workers are gone when `runSeeds` resolves. */
  readonly signal: AbortSignal;
}

/** One seed runs and the next one waits in the worker, so that it never waits for us. */
const SEEDS_AHEAD = 2;

/** Runs the seeds on worker processes. Rejects with RaftKvError "internal" when one of those breaks down. */
export async function runSeeds(seeds: Iterable<number>, options: WorkerPoolOptions): Promise<void> {
  const queue = seeds[Symbol.iterator]();
  const workers = Array.from({ length: options.jobs }, () => new Worker(queue, options));
  const stop = (): void => workers.forEach((worker) => worker.end());
  options.signal.addEventListener("abort", stop, { once: true });
  try {
    if (!options.signal.aborted) await Promise.all(workers.map((worker) => worker.run()));
  } finally {
    options.signal.removeEventListener("abort", stop);
    stop();
    await Promise.all(workers.map((worker) => worker.ended));
  }
}

class Worker {
  readonly #queue: Iterator<number>;
  readonly #options: WorkerPoolOptions;
  readonly #process: Bun.Subprocess<"pipe", "pipe", "inherit">;
  #asked: readonly number[] = [];

  constructor(queue: Iterator<number>, options: WorkerPoolOptions) {
    this.#queue = queue;
    this.#options = options;
    const { BUN_BE_BUN: _, ...env } = process.env;
    const words = [...selfCommand(), WORKER_COMMAND, ...(options.replay ? ["--replay"] : [])];
    // A session of its own: a terminal's Ctrl-C is for the campaign, which then ends its workers.
    const streams = { stdin: "pipe", stdout: "pipe", stderr: "inherit" } as const;
    this.#process = Bun.spawn(words, { ...streams, env, detached: true });
  }

  get ended(): Promise<number> {
    return this.#process.exited;
  }

  /** At once, whatever it does. */
  end(): void {
    this.#process.kill("SIGKILL");
  }

  /** Until there are no more seeds. */
  async run(): Promise<void> {
    const { signal, onReport } = this.#options;
    for (let ahead = 0; ahead < SEEDS_AHEAD; ahead += 1) this.#askNext();
    for await (const line of linesOf(this.#process.stdout)) {
      if (signal.aborted) return;
      const report = readReport(line);
      this.#asked = this.#asked.filter((seed) => seed !== report.seed);
      onReport(report);
      this.#askNext();
    }
    const [seed] = this.#asked;
    if (seed === undefined || signal.aborted) return;
    await this.ended;
    const { exitCode, signalCode } = this.#process;
    const how = signalCode === null ? `ended with code ${exitCode}` : `was ended by ${signalCode}`;
    throw new RaftKvError(
      "internal",
      `the process that simulated seed ${seed} ${how}: try "raftkv simulate --seed ${seed}"`,
    );
  }

  #askNext(): void {
    const next = this.#queue.next();
    if (next.done !== true) {
      this.#asked = [...this.#asked, next.value];
      void this.#tell(`${next.value}\n`);
    } else if (this.#asked.length === 0) {
      void this.#tell(null);
    }
  }

  /** null: there is nothing more to do. */
  async #tell(line: string | null): Promise<void> {
    const { stdin } = this.#process;
    try {
      if (line === null) {
        await stdin.end();
        return;
      }
      stdin.write(line);
      await stdin.flush();
    } catch {
      // A worker that is gone is noticed where its reports end.
    }
  }
}
