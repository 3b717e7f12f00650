import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { AssertionError } from "../../src/base/assert.ts";
import { type Entry, entryByteLength, type Term } from "../../src/raft/entry.ts";
import { Log } from "../../src/raft/log.ts";
import { ORIGIN } from "../../src/raft/snapshot-position.ts";
import { command, entriesOf, logOf } from "./raft-values.ts";

/** A log of which nothing has gone. */
function logFrom(entries: readonly Entry<string>[]): Log<string> {
  return new Log(ORIGIN, entries);
}

/** Terms of a log, never falling. */
const anyTerms: fc.Arbitrary<readonly Term[]> = fc
  .array(fc.integer({ min: 1, max: 8 }), { maxLength: 30 })
  .map((terms) => terms.toSorted((a, b) => a - b));

/** Entries of different sizes. */
const anyEntries: fc.Arbitrary<readonly Entry<string>[]> = fc
  .array(fc.nat(300), { maxLength: 20 })
  .map((sizes) =>
    sizes.map((byteLength, i) => ({ index: i + 1, term: 1, payload: { ...command("x"), byteLength } })),
  );

describe("the log", () => {
  test("Raft figure 2: the first index is 1; at 0, before it, stands term 0; after the end, nothing", () => {
    const log = logFrom(logOf(1, 1, 4));
    expect([log.lastIndex, log.lastTerm]).toEqual([3, 4]);
    expect([0, 1, 3, 4, -1].map((index) => log.termAt(index))).toEqual([0, 1, 4, null, null]);
    const empty = logFrom([]);
    expect([empty.lastIndex, empty.lastTerm, empty.termAt(0), empty.termAt(1)]).toEqual([0, 0, 0, null]);
  });

  test("Raft §5.3: it is what was appended, less what was truncated", () => {
    const step = fc.record({ keep: fc.double({ min: 0, max: 1, noNaN: true }), append: fc.nat(6) });
    fc.assert(
      fc.property(anyTerms, fc.array(step, { maxLength: 8 }), (terms, steps) => {
        const log = logFrom(logOf(...terms));
        let double = [...logOf(...terms)];
        for (const { keep, append } of steps) {
          const from = 1 + Math.floor(keep * double.length);
          if (from <= double.length) log.truncate(from);
          double = double.slice(0, from - 1);
          const added = entriesOf(double.length, ...Array.from({ length: append }, () => 9));
          log.append(added);
          double.push(...added);
          expect(log.lastIndex).toBe(double.length);
          expect(double.map(({ index }) => log.entryAt(index))).toEqual(double);
        }
      }),
    );
  });

  test("R7: a slice is contiguous, within both bounds, as long as they allow, and never empty for nothing", () => {
    const bound = fc.integer({ min: 1, max: 25 });
    fc.assert(
      fc.property(anyEntries, bound, bound, fc.nat(2000), (entries, from, maxEntries, maxBytes) => {
        const expected: Entry<string>[] = [];
        let bytes = 0;
        for (const entry of entries) {
          if (entry.index < from || expected.length === maxEntries) continue;
          bytes += entryByteLength(entry);
          if (bytes <= maxBytes || expected.length === 0) expected.push(entry);
        }
        expect(logFrom(entries).slice(from, maxEntries, maxBytes)).toEqual(expected);
      }),
    );
  });

  test("S2, Raft §7: compacted, it is the same log less its beginning", () => {
    fc.assert(
      fc.property(anyTerms, fc.array(fc.nat(30), { maxLength: 4 }), (terms, throughs) => {
        const whole = logFrom(logOf(...terms));
        const log = logFrom(logOf(...terms));
        for (const through of throughs)
          if (through >= log.base.index && through <= terms.length) log.compact(through);
        const { index: base } = log.base;
        expect([log.lastIndex, log.lastTerm]).toEqual([whole.lastIndex, whole.lastTerm]);
        for (let index = 1; index <= terms.length + 1; index += 1) {
          expect(log.termAt(index)).toBe(index < base ? null : whole.termAt(index));
          const term = whole.termAt(index) ?? 0;
          expect(log.matches({ index, term })).toBe(whole.matches({ index, term }));
          expect(log.matches({ index, term: term + 1 })).toBe(index < base);
          if (index > base) expect(log.slice(index, 3, Infinity)).toEqual(whole.slice(index, 3, Infinity));
        }
        for (let term = 0; term <= 9; term += 1) {
          expect(log.firstIndexOfTerm(term)).toBe(Math.max(base + 1, whole.firstIndexOfTerm(term)));
        }
      }),
    );
  });

  test("S4, Raft §7: reset, it is empty and goes on after the snapshot", () => {
    const log = logFrom(logOf(1, 1, 1));
    log.reset({ index: 7, term: 3 });
    expect([log.lastIndex, log.lastTerm, log.termAt(7), log.termAt(3), log.termAt(0)]).toEqual([
      7,
      3,
      3,
      null,
      0,
    ]);
    expect(log.isUpToDate(6, 3)).toBe(false);
    expect(() => log.append(entriesOf(7, 2))).toThrow(AssertionError);
    log.append(entriesOf(7, 3));
    expect(log.entryAt(8).term).toBe(3);
  });

  test("S2: what has gone cannot be read, truncated or compacted again: that is a bug", () => {
    const log = logFrom(logOf(1, 1, 1));
    log.compact(2);
    expect(() => log.entryAt(2)).toThrow(AssertionError);
    expect(() => log.slice(2, 1, 1)).toThrow(AssertionError);
    expect(() => log.truncate(2)).toThrow(AssertionError);
    for (const through of [1, 4]) expect(() => log.compact(through)).toThrow(AssertionError);
  });

  test("R10: the first index of a term, or of the next one that there is", () => {
    fc.assert(
      fc.property(anyTerms, fc.integer({ min: 0, max: 10 }), (terms, term) => {
        const position = terms.findIndex((other) => other >= term);
        const expected = position < 0 ? terms.length + 1 : position + 1;
        expect(logFrom(logOf(...terms)).firstIndexOfTerm(term)).toBe(expected);
      }),
    );
  });

  test("E3, Raft §5.4.1: the later last term wins; with the same one, the longer log", () => {
    fc.assert(
      fc.property(anyTerms, anyTerms, (ours, theirs) => {
        const [ourLast, theirLast] = [ours.at(-1) ?? 0, theirs.at(-1) ?? 0];
        const expected = theirLast === ourLast ? theirs.length >= ours.length : theirLast > ourLast;
        expect(logFrom(logOf(...ours)).isUpToDate(theirs.length, theirLast)).toBe(expected);
      }),
    );
  });

  test("Raft §5.3: gaps, falling terms and truncation outside the log are bugs", () => {
    expect(() => logFrom(logOf(2, 1))).toThrow(AssertionError);
    expect(() => logFrom(entriesOf(1, 1))).toThrow(AssertionError);
    const log = logFrom(logOf(1, 1));
    expect(() => log.append(entriesOf(3, 1))).toThrow(AssertionError);
    for (const from of [0, 3]) expect(() => log.truncate(from)).toThrow(AssertionError);
    expect(() => log.entryAt(3)).toThrow(AssertionError);
  });
});
