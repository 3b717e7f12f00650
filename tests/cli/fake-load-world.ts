import type { CallOutcome } from "../../src/cli/bench/call-outcome.ts";
import type { LoadWorld } from "../../src/cli/bench/load-loop.ts";
import type { Operation } from "../../src/cli/bench/workload.ts";

export const ANSWERED: CallOutcome = { kind: "answered", found: true };

interface Timer {
  readonly atMs: number;
  readonly callback: () => void;
}

/** A clock that moves when it is told to, and a service that answers at a time that the test chooses. */
export class FakeLoadWorld implements LoadWorld {
  readonly sentAtMs: number[] = [];
  readonly #answerAtMs: (sentAtMs: number) => number;
  readonly #outcome: (sentAtMs: number) => CallOutcome;
  #timers: Timer[] = [];
  #nowMs = 0;

  /** `answerAtMs`: when what is sent at a time is answered; `outcome`: how, if not well. */
  constructor(
    answerAtMs: (sentAtMs: number) => number,
    outcome: (sentAtMs: number) => CallOutcome = () => ANSWERED,
  ) {
    this.#answerAtMs = answerAtMs;
    this.#outcome = outcome;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  at(atMs: number, callback: () => void): () => void {
    const timer = { atMs, callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  send(_: Operation, done: (outcome: CallOutcome) => void): void {
    const sentAtMs = this.#nowMs;
    this.sentAtMs.push(sentAtMs);
    this.at(this.#answerAtMs(sentAtMs), () => done(this.#outcome(sentAtMs)));
  }

  /** Lets time pass until then: everything happens when it is due, in order. */
  advanceTo(untilMs: number): void {
    for (;;) {
      const next = this.#timers.reduce<Timer | null>(
        (first, timer) => (first === null || timer.atMs < first.atMs ? timer : first),
        null,
      );
      if (next === null || next.atMs > untilMs) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.callback();
    }
    this.#nowMs = untilMs;
  }
}
