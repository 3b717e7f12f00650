import type { ReadId, ReadOutcome } from "./batch.ts";
import type { LogIndex } from "./entry.ts";
import type { Progress } from "./progress.ts";

interface PendingRead {
  readonly read: ReadId;
  readonly readIndex: LogIndex;
  /** The first that began after the read did: this one or a later one has to be confirmed. */
  readonly round: number;
}

/** Longer than a round takes between servers that are near each other, and no long wait. */
const PATIENCE_TICKS = 2;

/**
 * A leader's rounds of asking whether it still leads, and the reads that wait for them. A read waits for a round that
 * begins after it, so what was sent before says nothing of it (L3); all that wait when a round begins share it.
 */
export class ReadRounds {
  /** The latest that has begun; it goes with every AppendEntries. */
  latest = 0;
  #beganTick = 0;
  /** Ascending by round. */
  #pending: PendingRead[] = [];
  #answers = 0;

  add(read: ReadId, readIndex: LogIndex): void {
    this.#pending.push({ read, readIndex, round: this.latest + 1 });
  }

  /** Reads wait for a round that has not begun. */
  get areWaiting(): boolean {
    const last = this.#pending.at(-1);
    return last !== undefined && last.round > this.latest;
  }

  /** Reads wait for the latest round, or one before. */
  get areUnderWay(): boolean {
    const [first] = this.#pending;
    return first !== undefined && first.round <= this.latest;
  }

  begin(nowTick: number): void {
    this.latest += 1;
    this.#beganTick = nowTick;
  }

  /** Whether it is time, once a round, to ask everybody who is heard, and no longer only those who were asked. */
  isOverdue(nowTick: number): boolean {
    return this.areUnderWay && nowTick - this.#beganTick === PATIENCE_TICKS;
  }

  /** The follower has answered what carried `round`. */
  answered(progress: Progress<unknown>, round: number): void {
    if (round <= progress.confirmedRound) return;
    this.#answers += 1;
    progress.confirmedRound = round;
    progress.confirmedOrdinal = this.#answers;
  }

  /** A majority has answered in `round` or later: takes the reads that waited for that. */
  confirm(round: number): readonly ReadOutcome[] {
    const firstLeft = this.#pending.findIndex((pending) => pending.round > round);
    const done = this.#pending.splice(0, firstLeft < 0 ? this.#pending.length : firstLeft);
    return done.map(({ read, readIndex }) => ({ read, readIndex }));
  }

  /** Leadership is lost: nobody knows any more. Takes them all. */
  abandon(): readonly ReadOutcome[] {
    return this.#pending.splice(0).map(({ read }) => ({ read, readIndex: null }));
  }
}
