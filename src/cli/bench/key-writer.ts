import { RaftKvError } from "../../base/errors.ts";
import type { CallOutcome } from "./call-outcome.ts";
import type { LoadLoop, LoadObserver } from "./load-loop.ts";
import { CLOSED_LOOP } from "./schedule.ts";
import type { Operation, PutOperation } from "./workload.ts";

/** So long no key could be written: the run is given up before it has begun. */
const PATIENCE_MS = 10_000;

export interface KeyWriterOptions {
  readonly loop: LoadLoop;
  /** On the monotonic clock. */
  readonly nowMs: () => number;
  /** How many, from 0. */
  readonly keys: number;
  /** Gives a put of each of them, once. */
  readonly nextPut: () => PutOperation;
}

/** Writes keys before they are read, so that no gets of missing keys are measured; what fails is tried again. */
export class KeyWriter implements LoadObserver {
  readonly #options: KeyWriterOptions;
  readonly #stop = Promise.withResolvers<void>();
  #answered = 0;
  #failed = 0;
  #lastSuccessMs = 0;
  #retries: PutOperation[] = [];
  #complaint: string | null = null;
  #stopped = false;

  constructor(options: KeyWriterOptions) {
    this.#options = options;
  }

  get answered(): number {
    return this.#answered;
  }

  get failed(): number {
    return this.#failed;
  }

  /** Resolves when all are written, or soon after `stop`. Rejects with RaftKvError "unavailable". */
  async write(): Promise<void> {
    const { loop, nowMs, keys, nextPut } = this.#options;
    this.#lastSuccessMs = nowMs();
    while (this.#answered < keys && !this.#stopped && this.#complaint === null) {
      const again = this.#retries;
      this.#retries = [];
      await loop.run({
        schedule: CLOSED_LOOP,
        untilMs: Infinity,
        operations: keys - this.#answered,
        next: () => again.pop() ?? nextPut(),
        observer: this,
      });
      await Promise.race([this.#stop.promise, loop.idle()]);
    }
    if (this.#complaint === null) return;
    throw new RaftKvError("unavailable", `the keys to be read cannot be written: ${this.#complaint}`);
  }

  stop(): void {
    this.#stopped = true;
    this.#stop.resolve();
    this.#options.loop.stop();
  }

  sent(): void {}

  ended(operation: Operation, outcome: CallOutcome): void {
    if (outcome.kind === "answered") {
      this.#answered += 1;
      this.#lastSuccessMs = this.#options.nowMs();
      return;
    }
    this.#failed += 1;
    if (operation.kind === "put") this.#retries.push(operation);
    if (this.#options.nowMs() - this.#lastSuccessMs < PATIENCE_MS) return;
    this.#complaint = `${outcome.error}: ${outcome.message}`;
    this.#options.loop.stop();
  }

  unsent(): void {}
}
