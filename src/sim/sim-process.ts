import type { Clock, Timer } from "../node/clock.ts";
import type { Timeline } from "./timeline.ts";

/**
 * One life of one process. Everything that runs in it passes through here: nothing does once it is dead,
 * and while it is paused (SIGSTOP) everything waits. Resumed, its timers come first and then what waits in
 * its sockets: the unkind order, which an event loop may well choose (E11).
 */
export class SimProcess implements Clock {
  readonly #timeline: Timeline;
  readonly #rate: number;
  readonly #ran: () => void;
  #alive = true;
  #paused = false;
  #waitingTimers: (() => void)[] = [];
  #waitingInput: (() => void)[] = [];

  /** `rate`: how fast its clock runs, 1 being right. `ran` is told after everything that runs in it. */
  constructor(timeline: Timeline, rate: number, ran: () => void) {
    this.#timeline = timeline;
    this.#rate = rate;
    this.#ran = ran;
  }

  get alive(): boolean {
    return this.#alive;
  }
  get paused(): boolean {
    return this.#paused;
  }

  nowMs(): number {
    return (this.#timeline.nowUs / 1000) * this.#rate;
  }

  setTimer(delayMs: number, action: () => void): Timer {
    let cancelled = false;
    const run = (): void => {
      if (!cancelled) action();
    };
    this.#timeline.schedule((delayMs * 1000) / this.#rate, () => this.#enter(run, this.#waitingTimers));
    return { cancel: () => (cancelled = true) };
  }

  /** The loop turns only after what it was given at this moment has run. */
  defer(action: () => void): void {
    this.#timeline.schedule(TURN_US, () => this.#enter(action, this.#waitingInput));
  }

  /** Something from outside reaches the process after `delayUs`: a message, the end of a disk operation. */
  input(delayUs: number, action: () => void): void {
    this.#timeline.schedule(delayUs, () => this.#enter(action, this.#waitingInput));
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    const waiting = [...this.#waitingTimers, ...this.#waitingInput];
    this.#waitingTimers = [];
    this.#waitingInput = [];
    // Each in a moment of its own, so that every one of them is checked.
    for (const action of waiting) this.#timeline.schedule(0, () => this.#enter(action, this.#waitingInput));
  }

  kill(): void {
    this.#alive = false;
  }

  #enter(action: () => void, waiting: (() => void)[]): void {
    if (!this.#alive) return;
    if (this.#paused) {
      waiting.push(action);
      return;
    }
    action();
    this.#ran();
  }
}

/** How long a turn of the event loop takes. */
const TURN_US = 20;
