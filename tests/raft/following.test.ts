import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import type { Term } from "../../src/raft/entry.ts";
import { TestServer } from "./harness.ts";
import { accepted, appendEntries, entriesOf, logOf, refused } from "./raft-values.ts";

describe("log matching", () => {
  test("Raft §5.3: entries are taken when the log holds the one before them, and refused otherwise", () => {
    const server = new TestServer({ log: logOf(1, 1, 2) });
    expect(server.answerTo(appendEntries(3, [4, 2], { terms: [3] }))).toMatchObject({ success: false });
    expect(server.answerTo(appendEntries(3, [3, 1], { terms: [3] }))).toMatchObject({ success: false });
    expect(server.terms).toEqual([1, 1, 2]);
    expect(server.answerTo(appendEntries(3, [3, 2], { terms: [3, 3] }))).toEqual(accepted(3));
    expect(server.terms).toEqual([1, 1, 2, 3, 3]);
    expect(server.disk.entries).toEqual([...logOf(1, 1, 2, 3, 3)]);
  });

  test("Raft §5.3: what conflicts goes, with all that follows it; what matches before it stays", () => {
    const server = new TestServer({ log: logOf(1, 1, 2, 2, 2), term: 2 });
    expect(server.answerTo(appendEntries(3, [1, 1], { terms: [1, 3] }))).toEqual(accepted(3));
    expect(server.terms).toEqual([1, 1, 3]);
    expect(server.disk.entries).toEqual([...logOf(1, 1, 3)]);
    expect(server.events).toContainEqual({ kind: "truncated", from: 3, lastIndex: 5 });
  });

  test("R3: an older, reordered AppendEntries takes nothing away that matches", () => {
    const server = new TestServer({ log: logOf(1) });
    server.answerTo(appendEntries(1, [1, 1], { terms: [1, 1, 1] }));
    expect(server.answerTo(appendEntries(1, [1, 1], { terms: [1] }))).toEqual(accepted(1));
    expect(server.answerTo(appendEntries(1, [1, 1]))).toEqual(accepted(1));
    expect(server.terms).toEqual([1, 1, 1, 1]);
    expect(server.disk.pendingCount).toBe(0);
  });

  test("R3: a repeated AppendEntries writes nothing", () => {
    const server = new TestServer();
    const request = appendEntries(1, [0, 0], { terms: [1, 1] });
    server.answerTo(request);
    const rpc = server.ask(request);
    expect(server.replies.get(rpc)).toEqual(accepted(1));
    expect(server.disk.pendingCount).toBe(0);
  });

  test("R10: the hint names where the follower's log ends, or where its term at that place begins", () => {
    const server = new TestServer({ log: logOf(1, 1, 2, 2, 2), term: 4 });
    expect(server.answerTo(appendEntries(4, [9, 4]))).toEqual(refused(4, [6, 0]));
    expect(server.answerTo(appendEntries(4, [5, 3]))).toEqual(refused(4, [3, 2]));
    expect(server.answerTo(appendEntries(4, [2, 3]))).toEqual(refused(4, [1, 1]));
    expect(new TestServer({ term: 4 }).answerTo(appendEntries(4, [1, 1]))).toEqual(refused(4, [1, 0]));
  });
});

describe("the follower's commit index", () => {
  test("R4, Raft figure 2: it follows leaderCommit as far as this AppendEntries reaches", () => {
    const server = new TestServer({ log: logOf(1, 1) });
    const commitAfter = (request: ReturnType<typeof appendEntries>): number => {
      server.answerTo(request);
      return server.status.commitIndex;
    };
    expect(commitAfter(appendEntries(1, [2, 1], { terms: [1, 1], leaderCommit: 3 }))).toBe(3);
    expect(commitAfter(appendEntries(1, [4, 1], { leaderCommit: 9 }))).toBe(4);
    expect(commitAfter(appendEntries(1, [4, 1], { leaderCommit: 2 }))).toBe(4);
    expect(server.committed).toEqual([...logOf(1, 1, 1, 1)]);
  });

  test("R4: it never passes the last entry that this AppendEntries verified: the tail may be another's", () => {
    const server = new TestServer({ log: logOf(1, 1, 2, 2), term: 2 });
    expect(server.answerTo(appendEntries(3, [2, 1], { leaderCommit: 4 }))).toEqual(accepted(3));
    expect(server.status.commitIndex).toBe(2);
    expect(server.answerTo(appendEntries(3, [2, 1], { terms: [3, 3], leaderCommit: 4 }))).toEqual(
      accepted(3),
    );
    expect(server.committed).toEqual([...logOf(1, 1, 3, 3)]);
  });

  test("R4: a refused AppendEntries commits nothing", () => {
    const server = new TestServer({ log: logOf(1, 1) });
    server.answerTo(appendEntries(3, [2, 2], { leaderCommit: 2 }));
    server.answerTo(appendEntries(0, [2, 1], { leaderCommit: 2 }));
    expect(server.status.commitIndex).toBe(0);
  });

  test("Raft figure 2: a restarted server knows no commit index until a leader tells it", () => {
    const server = new TestServer({ log: logOf(1, 1) });
    server.answerTo(appendEntries(1, [2, 1], { leaderCommit: 2 }));
    server.restart();
    expect(server.status.commitIndex).toBe(0);
    expect(server.committed).toEqual([]);
  });
});

describe("R6: an AppendEntries that contradicts what is committed", () => {
  const contradictions: readonly (readonly [string, ReturnType<typeof appendEntries>])[] = [
    ["an entry of another term", appendEntries(3, [1, 1], { terms: [3] })],
    ["an entry of another term, after ones that match", appendEntries(3, [0, 0], { terms: [1, 1, 3, 3] })],
    ["a previous entry of another term", appendEntries(3, [3, 2], { terms: [3] })],
  ];
  for (const [what, request] of contradictions) {
    test(`R6: ${what}: is refused, an event says so, and nothing is lost`, () => {
      const server = new TestServer({ log: logOf(1, 1, 1, 1) });
      server.answerTo(appendEntries(1, [4, 1], { leaderCommit: 3 }));
      expect(server.answerTo({ ...request, leaderCommit: 9 })).toEqual(refused(3));
      expect(server.terms).toEqual([1, 1, 1, 1]);
      expect(server.status.commitIndex).toBe(3);
      expect(server.events.at(-1)).toMatchObject({ kind: "refused", leaderId: 1, term: 3 });
    });
  }

  test("R6: beyond what is committed the log still gives way", () => {
    const server = new TestServer({ log: logOf(1, 1, 1, 1) });
    server.answerTo(appendEntries(1, [4, 1], { leaderCommit: 3 }));
    expect(server.answerTo(appendEntries(3, [3, 1], { terms: [3] }))).toEqual(accepted(3));
    expect(server.terms).toEqual([1, 1, 1, 3]);
  });
});

describe("requests written by hand", () => {
  test("Raft §5.3: a leader that is no member is followed like any other", () => {
    const server = new TestServer();
    const request = appendEntries(4, [0, 0], { leaderId: 99, terms: [4], leaderCommit: 1 });
    expect(server.answerTo(request)).toEqual(accepted(4));
    expect(server.status).toMatchObject({ currentTerm: 4, leaderId: 99, commitIndex: 1, lastLogIndex: 1 });
    server.tick(10);
    expect(server.status.role).toBe("preCandidate");
  });

  /** What no leader sends: terms that fall, that pass the sender's own, or that are no terms. */
  const impossible: readonly (readonly [string, readonly Term[]])[] = [
    ["an entry of a term before the previous one's", [1]],
    ["entries whose terms fall", [3, 2]],
    ["an entry of a term after the request's", [9]],
    ["an entry without a term", [0]],
  ];
  for (const [what, terms] of impossible) {
    test(`I2, Raft §5.3: ${what}: is refused, and the server lives`, () => {
      const server = new TestServer({ log: logOf(1, 2), term: 3 });
      expect(server.answerTo(appendEntries(3, [2, 2], { terms }))).toMatchObject({ term: 3, success: false });
      expect(server.terms).toEqual([1, 2]);
      server.restart();
      expect(server.terms).toEqual([1, 2]);
    });
  }

  test("I2: entries without a term are refused by an empty log too", () => {
    const server = new TestServer();
    expect(server.answerTo(appendEntries(1, [0, 0], { terms: [0] }))).toMatchObject({ success: false });
    expect(server.terms).toEqual([]);
  });

  test("I2, R6: whatever anyone sends, it is answered, and what is committed stays", () => {
    const small = fc.integer({ min: -1, max: 6 });
    const anyRequest = fc
      .record({
        term: small,
        leaderId: fc.integer({ min: -1, max: 4 }),
        prev: fc.tuple(small, small),
        terms: fc.array(small, { maxLength: 4 }),
        leaderCommit: small,
      })
      .map(({ term, prev, ...rest }) => appendEntries(term, prev, rest));
    fc.assert(
      fc.property(fc.array(anyRequest, { maxLength: 12 }), (requests) => {
        const server = new TestServer({ log: logOf(1, 1, 2), term: 2 });
        for (const request of requests) {
          const committed = [...server.committed];
          expect(server.answerTo(request)).toMatchObject({ term: server.status.currentTerm });
          expect(server.log.slice(0, committed.length)).toEqual(committed);
        }
        server.restart();
        expect(server.log).toEqual([...server.disk.entries]);
      }),
    );
  });

  test("Raft §5.3: the entries that are stored are those that were sent", () => {
    const server = new TestServer({ log: logOf(1) });
    server.answerTo(appendEntries(2, [1, 1], { terms: [2, 2] }));
    expect(server.log.slice(1)).toEqual([...entriesOf(1, 2, 2)]);
  });
});
