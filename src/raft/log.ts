import { assert, defined } from "../base/assert.ts";
import { entryByteLength, type Entry, type LogIndex, type Term } from "./entry.ts";
import type { SnapshotPosition } from "./snapshot-position.ts";

/**
 * The replicated log of one server, in memory: entries base.index + 1 to lastIndex without a gap, terms never
 * falling. What stood at the base and below is in a snapshot, and gone from here (Raft §7).
 */
export class Log<C> {
  #base: SnapshotPosition;
  #entries: Entry<C>[] = [];

  /** Takes what recovery found: what follows `base`. */
  constructor(base: SnapshotPosition, entries: readonly Entry<C>[]) {
    this.#base = base;
    this.append(entries);
  }

  /** The entry before the first one that is here; ORIGIN when none has gone. */
  get base(): SnapshotPosition {
    return this.#base;
  }

  /** That of the base when no entry is here. */
  get lastIndex(): LogIndex {
    return this.#base.index + this.#entries.length;
  }

  /** That of the base when no entry is here. */
  get lastTerm(): Term {
    return this.#entries.at(-1)?.term ?? this.#base.term;
  }

  /** The term at `index`; 0 at index 0; null where it is not known: below the base, and past the log's end. */
  termAt(index: LogIndex): Term | null {
    if (index === 0) return 0;
    if (index === this.#base.index) return this.#base.term;
    return this.#entries[index - this.#base.index - 1]?.term ?? null;
  }

  /** Whether a leader's claim to hold this agrees with our log. Below the base all is committed, and so it does. */
  matches({ index, term }: SnapshotPosition): boolean {
    const ours = this.termAt(index);
    return ours === term || (ours === null && index < this.#base.index);
  }

  /** Only above the base. */
  entryAt(index: LogIndex): Entry<C> {
    const { index: base } = this.#base;
    return defined(
      this.#entries[index - base - 1],
      `no entry ${index} in a log of ${base + 1}..${this.lastIndex}`,
    );
  }

  /** Entries `from`, `from` + 1, … within both bounds, but at least one when there is one. Only above the base. */
  slice(from: LogIndex, maxEntries: number, maxBytes: number): readonly Entry<C>[] {
    const first = this.#base.index + 1;
    assert(from >= first, `entry ${from} of a log that begins at ${first}`);
    const end = Math.min(this.lastIndex, from + maxEntries - 1);
    let bytes = 0;
    let to = from;
    while (to <= end) {
      bytes += entryByteLength(this.entryAt(to));
      if (bytes > maxBytes && to > from) break;
      to += 1;
    }
    return this.#entries.slice(from - first, to - first);
  }

  /** Adds entries that follow the last one. */
  append(entries: readonly Entry<C>[]): void {
    for (const entry of entries) {
      assert(entry.index === this.lastIndex + 1, `entry ${entry.index} does not follow ${this.lastIndex}`);
      assert(entry.term >= this.lastTerm, `entry ${entry.index}: term ${entry.term} after ${this.lastTerm}`);
      this.#entries.push(entry);
    }
  }

  /** Removes the entry at `from` and all that follow. */
  truncate(from: LogIndex): void {
    assert(from > this.#base.index && from <= this.lastIndex, `cannot truncate ${from} of ${this.lastIndex}`);
    this.#entries.length = from - this.#base.index - 1;
  }

  /** Forgets the entry at `through` and all before it. */
  compact(through: LogIndex): void {
    const { index } = this.#base;
    assert(through >= index && through <= this.lastIndex, `cannot compact ${through} of ${this.lastIndex}`);
    const term = defined(this.termAt(through), "an entry within the log");
    this.#entries = this.#entries.slice(through - index);
    this.#base = { index: through, term };
  }

  /** Forgets everything; goes on after `base`. */
  reset(base: SnapshotPosition): void {
    this.#base = base;
    this.#entries = [];
  }

  /** Raft §5.4.1: whether a log that ends like this is at least as up to date as ours. */
  isUpToDate(lastIndex: LogIndex, lastTerm: Term): boolean {
    return lastTerm > this.lastTerm || (lastTerm === this.lastTerm && lastIndex >= this.lastIndex);
  }

  /** The first index above the base whose term is at least `term`; lastIndex + 1 when there is none. */
  firstIndexOfTerm(term: Term): LogIndex {
    let low = this.#base.index + 1;
    let high = this.lastIndex + 1;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.entryAt(middle).term >= term) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
