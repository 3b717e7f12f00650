import { assert } from "../base/assert.ts";
import type { LogWrite, Persist } from "./batch.ts";
import type { Entry, LogIndex } from "./entry.ts";
import type { HardState } from "./hard-state.ts";
import type { SnapshotPosition } from "./snapshot-position.ts";

/** What will have been written when everything up to `sequence` is durable. */
interface Mark {
  readonly sequence: number;
  lastIndex: LogIndex;
}

/** What is made durable together. */
interface Group<C> {
  hardState: HardState | null;
  readonly writes: LogWrite<C>[];
  /** It ends with a no-op. */
  closed: boolean;
}

/**
 * What is durable on this server, and what waits to be. Writes are collected into groups; a group gets
 * the next sequence number when the driver takes it, and groups become durable in order.
 *
 * A no-op ends its group. A new leader serves reads once a majority has it, so it is not to wait for room on the disk
 * with the commands that follow it (P6).
 */
export class Durability<C> {
  /** Ascending; all but the last are closed. */
  #groups: Group<C>[] = [];
  #takenSequence = 0;
  #persistedSequence = 0;
  #hardStateSequence = 0;
  #durableIndex: LogIndex;
  /** Ascending; one a group that appended or installed and is not durable yet. */
  #marks: Mark[] = [];

  /** `durableIndex`: the end of the log that recovery found. */
  constructor(durableIndex: LogIndex) {
    this.#durableIndex = durableIndex;
  }

  /** The log is durable up to here, and is what it is in memory. */
  get durableIndex(): LogIndex {
    return this.#durableIndex;
  }

  get hardStateIsDurable(): boolean {
    return this.isPersisted(this.#hardStateSequence);
  }

  saveHardState(hardState: HardState): void {
    this.#collecting().hardState = hardState;
    this.#hardStateSequence = this.#lastSequence;
  }

  /** `entries` follow the log's last one. */
  append(entries: readonly Entry<C>[]): void {
    const noop = entries.findIndex(({ payload }) => payload.kind === "noop");
    const together = noop === -1 ? entries : entries.slice(0, noop + 1);
    const group = this.#collecting();
    group.writes.push({ kind: "append", entries: together });
    group.closed = noop !== -1;
    this.#mark(together.at(-1)?.index ?? 0);
    if (together.length < entries.length) this.append(entries.slice(together.length));
  }

  truncate(from: LogIndex): void {
    this.#collecting().writes.push({ kind: "truncate", from });
    this.#forgetFrom(from);
  }

  compact(snapshot: SnapshotPosition, through: LogIndex): void {
    this.#collecting().writes.push({ kind: "compact", snapshot, through });
  }

  /** The log goes, and `snapshot` stands for it; up to `commitIndex` it was what the snapshot holds as well. */
  install(snapshot: SnapshotPosition, commitIndex: LogIndex): void {
    this.#collecting().writes.push({ kind: "install", snapshot });
    this.#forgetFrom(commitIndex + 1);
    this.#mark(snapshot.index);
  }

  /** The log will be durable up to here with the group that is being collected. */
  #mark(lastIndex: LogIndex): void {
    const sequence = this.#lastSequence;
    const mark = this.#marks.at(-1);
    if (mark?.sequence === sequence) mark.lastIndex = lastIndex;
    else this.#marks.push({ sequence, lastIndex });
  }

  /** What a late fsync of the removed entries will say must not count for what replaces them. */
  #forgetFrom(from: LogIndex): void {
    this.#durableIndex = Math.min(this.#durableIndex, from - 1);
    for (const mark of this.#marks) mark.lastIndex = Math.min(mark.lastIndex, from - 1);
  }

  /** The group that must be persisted before hard state, and the log up to `index`, can be relied on. */
  sequenceFor(index: LogIndex): number {
    if (index <= this.#durableIndex) return this.#hardStateSequence;
    const mark = this.#marks.find(({ lastIndex }) => lastIndex >= index);
    assert(mark !== undefined, `entry ${index} was never written`);
    return Math.max(this.#hardStateSequence, mark.sequence);
  }

  isPersisted(sequence: number): boolean {
    return sequence <= this.#persistedSequence;
  }

  /** The next group; null when there is nothing to write. */
  take(): (Persist<C> & { readonly sequence: number }) | null {
    const group = this.#groups.shift();
    if (group === undefined) return null;
    this.#takenSequence += 1;
    return { sequence: this.#takenSequence, hardState: group.hardState, writes: group.writes };
  }

  /** Whether there is another group to take. */
  get hasMore(): boolean {
    return this.#groups.length > 0;
  }

  /** Of the last group. */
  get #lastSequence(): number {
    return this.#takenSequence + this.#groups.length;
  }

  #collecting(): Group<C> {
    const last = this.#groups.at(-1);
    if (last !== undefined && !last.closed) return last;
    const group: Group<C> = { hardState: null, writes: [], closed: false };
    this.#groups.push(group);
    return group;
  }

  persisted(sequence: number): void {
    assert(sequence <= this.#takenSequence, `group ${sequence} was never taken`);
    assert(sequence > this.#persistedSequence, `group ${sequence} was persisted before`);
    this.#persistedSequence = sequence;
    while (this.#marks[0] !== undefined && this.#marks[0].sequence <= sequence) {
      this.#durableIndex = Math.max(this.#durableIndex, this.#marks[0].lastIndex);
      this.#marks.shift();
    }
  }
}
