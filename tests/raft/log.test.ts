import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { AssertionError } from "../../src/base/assert.ts";
import { type Entry, entryByteLength, type Term } from "../../src/raft/entry.ts";
import { Log } from "../../src/raft/log.ts";
import { command, entriesOf, logOf } from "./raft-values.ts";

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
    const log = new Log(logOf(1, 1, 4));
    expect([log.lastIndex, log.lastTerm]).toEqual([3, 4]);
    expect([0, 1, 3, 4, -1].map((index) => log.termAt(index))).toEqual([0, 1, 4, null, null]);
    const empty = new Log<string>([]);
    expect([empty.lastIndex, empty.lastTerm, empty.termAt(0), empty.termAt(1)]).toEqual([0, 0, 0, null]);
  });

  test("Raft §5.3: it is what was appended, less what was truncated", () => {
    const step = fc.record({ keep: fc.double({ min: 0, max: 1, noNaN: true }), append: fc.nat(6) });
    fc.assert(
      fc.property(anyTerms, fc.array(step, { maxLength: 8 }), (terms, steps) => {
        const log = new Log(logOf(...terms));
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
        expect(new Log(entries).slice(from, maxEntries, maxBytes)).toEqual(expected);
      }),
    );
  });

  test("R10: the first index of a term, or of the next one that there is", () => {
    fc.assert(
      fc.property(anyTerms, fc.integer({ min: 0, max: 10 }), (terms, term) => {
        const position = terms.findIndex((other) => other >= term);
        const expected = position < 0 ? terms.length + 1 : position + 1;
        expect(new Log(logOf(...terms)).firstIndexOfTerm(term)).toBe(expected);
      }),
    );
  });

  test("E3, Raft §5.4.1: the later last term wins; with the same one, the longer log", () => {
    fc.assert(
      fc.property(anyTerms, anyTerms, (ours, theirs) => {
        const [ourLast, theirLast] = [ours.at(-1) ?? 0, theirs.at(-1) ?? 0];
        const expected = theirLast === ourLast ? theirs.length >= ours.length : theirLast > ourLast;
        expect(new Log(logOf(...ours)).isUpToDate(theirs.length, theirLast)).toBe(expected);
      }),
    );
  });

  test("Raft §5.3: gaps, falling terms and truncation outside the log are bugs", () => {
    expect(() => new Log(logOf(2, 1))).toThrow(AssertionError);
    expect(() => new Log(entriesOf(1, 1))).toThrow(AssertionError);
    const log = new Log(logOf(1, 1));
    expect(() => log.append(entriesOf(3, 1))).toThrow(AssertionError);
    for (const from of [0, 3]) expect(() => log.truncate(from)).toThrow(AssertionError);
    expect(() => log.entryAt(3)).toThrow(AssertionError);
  });
});
