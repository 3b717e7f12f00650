import type { LogIndex } from "./entry.ts";

/**
 * How well a follower keeps up (dissertation §4.2.1). A round brings it what the log held when the round began; the
 * next begins at once. Once a round takes less than an election timeout, the follower as a voter would hold up
 * nothing for longer than an election does.
 */
export class CatchUp {
  #goal: LogIndex;
  #startTick: number;
  #lastRoundTicks = Infinity;

  /** The first round begins: it ends when `goal` is on the follower. */
  constructor(goal: LogIndex, nowTick: number) {
    this.#goal = goal;
    this.#startTick = nowTick;
  }

  /** The follower has answered: it holds the log, which ends at `lastIndex`, up to `matchIndex`. */
  advance(matchIndex: LogIndex, lastIndex: LogIndex, nowTick: number): void {
    if (matchIndex < this.#goal) return;
    this.#lastRoundTicks = nowTick - this.#startTick;
    this.#goal = lastIndex;
    this.#startTick = nowTick;
  }

  /** Whether the last round, and what there is of this one, took less than `maxTicks`. */
  isWithin(maxTicks: number, nowTick: number): boolean {
    return Math.max(this.#lastRoundTicks, nowTick - this.#startTick) < maxTicks;
  }
}
