import type { Clock, Timer } from "../../src/node/clock.ts";

interface Due {
  readonly atMs: number;
  readonly order: number;
  readonly action: () => void;
}

/** A clock that moves only when the test says so. Deferred actions run at the present moment. */
export class VirtualClock implements Clock {
  #nowMs = 0;
  #order = 0;
  #due: Due[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  setTimer(delayMs: number, action: () => void): Timer {
    const due = { atMs: this.#nowMs + delayMs, order: (this.#order += 1), action };
    this.#due.push(due);
    return { cancel: () => void (this.#due = this.#due.filter((other) => other !== due)) };
  }

  defer(action: () => void): void {
    this.setTimer(0, action);
  }

  /** Lets `durationMs` pass: everything due happens in order, promises between one action and the next. */
  async advance(durationMs: number): Promise<void> {
    const untilMs = this.#nowMs + durationMs;
    for (let next = this.#takeDue(untilMs); next !== null; next = this.#takeDue(untilMs)) {
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.action();
      await settlePromises();
    }
    this.#nowMs = untilMs;
  }

  /** The process stands still: time passes and nothing runs. */
  stall(durationMs: number): void {
    this.#nowMs += durationMs;
  }

  #takeDue(untilMs: number): Due | null {
    const first = this.#due
      .filter(({ atMs }) => atMs <= untilMs)
      .toSorted((a, b) => a.atMs - b.atMs || a.order - b.order)[0];
    if (first === undefined) return null;
    this.#due = this.#due.filter((due) => due !== first);
    return first;
  }
}

async function settlePromises(): Promise<void> {
  for (let i = 0; i < 20; i += 1) await Promise.resolve();
}
