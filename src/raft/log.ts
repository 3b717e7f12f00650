import { assert, defined } from "../base/assert.ts";
import { entryByteLength, type Entry, type LogIndex, type Term } from "./entry.ts";

/** The replicated log of one server, in memory: entries 1..lastIndex without a gap, terms never falling. */
export class Log<C> {
  readonly #entries: Entry<C>[];

  /** Takes what recovery found, from index 1. */
  constructor(entries: readonly Entry<C>[]) {
    this.#entries = [];
    this.append(entries);
  }

  /** 0 when the log is empty. */
  get lastIndex(): LogIndex {
    return this.#entries.length;
  }

  /** 0 when the log is empty. */
  get lastTerm(): Term {
    return this.#entries.at(-1)?.term ?? 0;
  }

  /** The term at `index`; 0 at index 0; null past the log's end. */
  termAt(index: LogIndex): Term | null {
    if (index === 0) return 0;
    return this.#entries[index - 1]?.term ?? null;
  }

  entryAt(index: LogIndex): Entry<C> {
    return defined(this.#entries[index - 1], `no entry ${index} in a log of ${this.lastIndex}`);
  }

  /** Entries `from`, `from` + 1, … within both bounds, but at least one when there is one. */
  slice(from: LogIndex, maxEntries: number, maxBytes: number): readonly Entry<C>[] {
    const end = Math.min(this.lastIndex, from + maxEntries - 1);
    let bytes = 0;
    let to = from;
    while (to <= end) {
      bytes += entryByteLength(this.entryAt(to));
      if (bytes > maxBytes && to > from) break;
      to += 1;
    }
    return this.#entries.slice(from - 1, to - 1);
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
    assert(from >= 1 && from <= this.lastIndex, `cannot truncate ${from} of ${this.lastIndex}`);
    this.#entries.length = from - 1;
  }

  /** Raft §5.4.1: whether a log that ends like this is at least as up to date as ours. */
  isUpToDate(lastIndex: LogIndex, lastTerm: Term): boolean {
    return lastTerm > this.lastTerm || (lastTerm === this.lastTerm && lastIndex >= this.lastIndex);
  }

  /** The first index whose term is at least `term`; lastIndex + 1 when there is none. */
  firstIndexOfTerm(term: Term): LogIndex {
    let low = 1;
    let high = this.lastIndex + 1;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.entryAt(middle).term >= term) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
