/**
 * Has the server run as suits what it has to do.
 *
 * The servers of a cluster often share a machine, and each message wakes another of them. When there is much to do, a
 * server that interrupts the others each time finds little to do each time, and cold caches, and is interrupted in
 * turn. As "batch" it waits a moment and does more in one go: followers need a quarter less CPU, and 64 clients get a
 * tenth more puts done. A client that is alone gains nothing by it, and beside other programs that compute without end
 * it would wait for them at every hop; so a server that has little to do is "normal".
 */
import type { Clock, Timer } from "../node/clock.ts";
import type { SchedulingPolicy } from "./scheduling-policy.ts";

/** How often it is looked at what there is to do, in milliseconds. */
const INTERVAL_MS = 250;
/**
 * From so many on, calls and entries in a second, there is much to do. One client that puts one key after another
 * has less of them on a machine that is busy with other things.
 */
const MUCH_PER_SECOND = 1000;
/** From so few on, there is little to do again: those that come together under "batch" are fewer than they were. */
const LITTLE_PER_SECOND = 500;

export class Scheduling {
  readonly #clock: Clock;
  readonly #work: () => number;
  readonly #set: (policy: SchedulingPolicy) => void;
  #policy: SchedulingPolicy = "normal";
  #lastWork: number;
  #lastMs: number;
  #timer: Timer;

  /** `work`: the calls and entries so far, which never get fewer. `set` is called when the policy is to change. */
  constructor(clock: Clock, work: () => number, set: (policy: SchedulingPolicy) => void) {
    this.#clock = clock;
    this.#work = work;
    this.#set = set;
    this.#lastWork = work();
    this.#lastMs = clock.nowMs();
    this.#timer = this.#later();
  }

  stop(): void {
    this.#timer.cancel();
  }

  #later(): Timer {
    return this.#clock.setTimer(INTERVAL_MS, () => {
      this.#timer = this.#later();
      this.#consider();
    });
  }

  #consider(): void {
    const [work, nowMs] = [this.#work(), this.#clock.nowMs()];
    const perSecond = ((work - this.#lastWork) / (nowMs - this.#lastMs)) * 1000;
    this.#lastWork = work;
    this.#lastMs = nowMs;
    const enough = this.#policy === "batch" ? LITTLE_PER_SECOND : MUCH_PER_SECOND;
    const policy = perSecond >= enough ? "batch" : "normal";
    if (policy === this.#policy) return;
    this.#policy = policy;
    this.#set(policy);
  }
}
