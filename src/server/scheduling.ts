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
/** Of fewer calls in that time it cannot be told; there is little to do. */
const MIN_CALLS = 25;
/** From so many on at once, calls and entries, there is much to do: one client has two, its call and its entry. */
const MUCH_AT_ONCE = 4;
/** Under "batch" it is much until it is less than this. */
const LITTLE_AT_ONCE = 3;
/** Of so many the callers themselves compute without end if they are here, and a server would wait for them. */
const FLOOD_AT_ONCE = 512;

/** What a server has had to do so far; it never gets less. */
export interface Work {
  /** As CallLoad.calls. */
  readonly calls: number;
  /** As CallLoad.together. */
  readonly together: number;
  /** Applied ones. A follower gets those of many clients with one call. */
  readonly entries: number;
}

export class Scheduling {
  readonly #clock: Clock;
  readonly #work: () => Work;
  readonly #set: (policy: SchedulingPolicy) => boolean;
  #policy: SchedulingPolicy = "normal";
  #last: Work;
  #timer: Timer;

  /** `set` is called when the policy is to change, and again later if it says that it could not be done. */
  constructor(clock: Clock, work: () => Work, set: (policy: SchedulingPolicy) => boolean) {
    this.#clock = clock;
    this.#work = work;
    this.#set = set;
    this.#last = work();
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
    const last = this.#last;
    const now = (this.#last = this.#work());
    const calls = now.calls - last.calls;
    const atOnce =
      calls < MIN_CALLS ? 0 : (now.together - last.together + now.entries - last.entries) / calls;
    const enough = this.#policy === "batch" ? LITTLE_AT_ONCE : MUCH_AT_ONCE;
    const policy = atOnce >= enough && atOnce < FLOOD_AT_ONCE ? "batch" : "normal";
    if (policy !== this.#policy && this.#set(policy)) this.#policy = policy;
  }
}
