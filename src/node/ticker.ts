import type { Clock, Timer } from "./clock.ts";

/** A timer later than this many ticks means that the process stood still: stopped, swapped, starved. */
const STALL_TICKS = 3;
/** Sums of fractions of milliseconds fall short by less than this; a tick that is due must not be missed. */
const ROUNDING_TICKS = 1e-6;

/**
 * Counts ticks from a monotonic clock.
 *
 * After a stall the time that passed says nothing about the other servers: their messages wait unread in
 * our sockets. So the stall counts as no time at all, and the loop turns once, which reads them, before
 * the next tick. A process that stalls at every timer still gets one tick for every second of them.
 */
export class Ticker {
  readonly #clock: Clock;
  readonly #tickMs: number;
  readonly #onTick: () => void;
  readonly #onStall: () => void;
  #timer: Timer | null = null;
  #countedMs = 0;
  #stalledLast = false;

  /** `onStall` is told of every stall, as soon as it is over. */
  constructor(clock: Clock, tickMs: number, onTick: () => void, onStall: () => void) {
    this.#clock = clock;
    this.#tickMs = tickMs;
    this.#onTick = onTick;
    this.#onStall = onStall;
  }

  start(): void {
    this.#countedMs = this.#clock.nowMs();
    this.#arm();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #arm(): void {
    const dueMs = this.#countedMs + this.#tickMs;
    this.#timer = this.#clock.setTimer(Math.max(0, dueMs - this.#clock.nowMs()), () => this.#fire());
  }

  #fire(): void {
    const nowMs = this.#clock.nowMs();
    const ticks = Math.floor((nowMs - this.#countedMs) / this.#tickMs + ROUNDING_TICKS);
    const stalled = ticks > STALL_TICKS;
    const counted = stalled ? Number(this.#stalledLast) : ticks;
    this.#countedMs = stalled ? nowMs : this.#countedMs + ticks * this.#tickMs;
    this.#stalledLast = stalled && !this.#stalledLast;
    this.#timer = null;
    this.#arm();
    if (stalled) this.#onStall();
    for (let i = 0; i < counted; i += 1) this.#onTick();
  }
}
