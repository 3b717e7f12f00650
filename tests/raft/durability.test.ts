import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { defined } from "../../src/base/assert.ts";
import type { Entry } from "../../src/raft/entry.ts";
import { Durability } from "../../src/raft/durability.ts";
import { ORIGIN } from "../../src/raft/snapshot-position.ts";
import { TestServer } from "./harness.ts";
import {
  accepted,
  appendEntries,
  command,
  entriesOf,
  hardState,
  logOf,
  refused,
  requestVote,
  voteReply,
} from "./raft-values.ts";
import { SeededRandom } from "./random.ts";
import { TestDisk } from "./test-disk.ts";

describe("append replies", () => {
  test("R9, Raft §5.3: entries are acknowledged when they are durable, a group at a time", () => {
    const server = new TestServer({ term: 1 });
    const first = server.ask(appendEntries(1, [0, 0], { terms: [1, 1] }));
    const second = server.ask(appendEntries(1, [2, 1], { terms: [1] }));
    expect(server.replies.size).toBe(0);
    expect(server.status).toMatchObject({ lastLogIndex: 3, durableIndex: 0 });
    server.persist(1);
    expect(server.status.durableIndex).toBe(2);
    expect([server.replies.get(first), server.replies.get(second)]).toEqual([accepted(1), undefined]);
    server.persist(1);
    expect(server.replies.get(second)).toEqual(accepted(1));
  });

  test("R9: several groups may become durable at once", () => {
    const server = new TestServer({ term: 1 });
    const rpcs = [0, 1, 2].map((index) => server.ask(appendEntries(1, [index, index && 1], { terms: [1] })));
    server.persist(3);
    expect(rpcs.map((rpc) => server.replies.get(rpc))).toEqual([accepted(1), accepted(1), accepted(1)]);
  });

  test("R7: a heartbeat is answered at once, however slow the fsync of other entries", () => {
    const server = new TestServer({ log: logOf(1, 1) });
    const slow = server.ask(appendEntries(1, [2, 1], { terms: [1, 1] }));
    const heartbeat = server.ask(appendEntries(1, [2, 1]));
    expect(server.replies.get(heartbeat)).toEqual(accepted(1));
    expect(server.replies.get(slow)).toBeUndefined();
  });

  test("R9: a request without entries, or with old ones, still waits for the entries that it verifies", () => {
    const server = new TestServer({ log: logOf(1, 1) });
    const request = appendEntries(1, [2, 1], { terms: [1, 1] });
    const rpcs = [request, appendEntries(1, [4, 1]), request].map((again) => server.ask(again));
    expect(server.replies.size).toBe(0);
    server.persist();
    for (const rpc of rpcs) expect(server.replies.get(rpc)).toEqual(accepted(1));
  });

  test("Raft figure 2: a new term is durable before anything is answered in it", () => {
    const server = new TestServer({ log: logOf(1, 1) });
    const rpcs = [appendEntries(5, [2, 1]), appendEntries(5, [9, 5]), requestVote(4, 1, [9, 9])].map(
      (request) => server.ask(request),
    );
    expect(server.replies.size).toBe(0);
    server.persist();
    expect(rpcs.map((rpc) => server.replies.get(rpc))).toEqual([
      accepted(5),
      refused(5, [3, 0]),
      voteReply(5, false),
    ]);
  });

  test("Raft figure 2: a new term is waited for even if the entries that it finds are durable before it", () => {
    const server = new TestServer({ term: 1 });
    server.ask(appendEntries(1, [0, 0], { terms: [1] }));
    const rpc = server.ask(appendEntries(2, [1, 1]));
    server.persist(1);
    expect(server.replies.get(rpc)).toBeUndefined();
    server.persist();
    expect(server.replies.get(rpc)).toEqual(accepted(2));
  });

  test("P1: one turn makes one group, its hard state first", () => {
    const server = new TestServer();
    server.turn((raft) => {
      server.feed(raft, appendEntries(1, [0, 0], { terms: [1] }));
      server.feed(raft, appendEntries(2, [1, 1], { terms: [2, 2] }));
      server.feed(raft, requestVote(3, 2, [3, 2]));
    });
    expect(server.batches.at(-1)?.persist).toEqual({
      sequence: 1,
      hardState: hardState(3, 2),
      writes: [
        { kind: "append", entries: entriesOf(0, 1) },
        { kind: "append", entries: entriesOf(1, 2, 2) },
      ],
    });
  });

  test("P6: a no-op ends its group, so that it waits for no room with what follows it", () => {
    const durability = new Durability<string>(0);
    const noop = { kind: "noop" } as const;
    const payloads = [command("a"), noop, command("b"), command("c")];
    const entries = payloads.map((payload, at) => ({ index: at + 1, term: 1, payload }));
    durability.saveHardState(hardState(1));
    durability.append(entries);
    durability.append([{ index: 5, term: 1, payload: command("d") }]);
    expect(durability.sequenceFor(2)).toBe(1);
    expect([durability.sequenceFor(3), durability.sequenceFor(5)]).toEqual([2, 2]);
    const first = durability.take();
    expect(first).toMatchObject({ sequence: 1, hardState: hardState(1) });
    expect(first?.writes).toEqual([{ kind: "append", entries: entries.slice(0, 2) }]);
    expect(durability.hasMore).toBe(true);
    expect(durability.take()).toMatchObject({ sequence: 2, hardState: null, writes: [{}, {}] });
    expect([durability.hasMore, durability.take()]).toEqual([false, null]);
    durability.persisted(1);
    expect(durability.durableIndex).toBe(2);
  });

  test("P1: a server that is killed comes back with what it acknowledged, and some part of the rest", () => {
    for (let seed = 1; seed <= 30; seed += 1) {
      const server = new TestServer();
      server.answerTo(appendEntries(1, [0, 0], { terms: [1, 1] }));
      server.ask(appendEntries(2, [1, 1], { terms: [2, 2] }));
      server.ask(appendEntries(2, [3, 2], { terms: [2] }));
      server.restart(new SeededRandom(seed));
      expect(["1,1", "1", "1,2", "1,2,2", "1,2,2,2"]).toContain(server.terms.join(","));
      expect(server.answerTo(appendEntries(2, [1, 1], { terms: [2, 2] }))).toEqual(accepted(2));
    }
  });
});

describe("R8: a late fsync", () => {
  test("R8: after a truncation acknowledges nothing of what was removed", () => {
    const server = new TestServer({ term: 1 });
    const old = server.ask(appendEntries(1, [0, 0], { terms: [1, 1, 1] }));
    const newer = server.ask(appendEntries(2, [1, 1], { terms: [2] }));
    server.persist(1);
    expect(server.status).toMatchObject({ durableIndex: 1, lastLogIndex: 2 });
    expect(server.replies.size).toBe(0);
    server.persist(1);
    expect(server.status.durableIndex).toBe(2);
    expect(server.replies.get(newer)).toEqual(accepted(2));
    expect(server.replies.get(old)).toEqual(refused(2));
  });

  test("R8: does not count for entries that took the place of the removed ones in the same turn", () => {
    const server = new TestServer({ term: 1 });
    server.ask(appendEntries(1, [0, 0], { terms: [1, 1, 1] }));
    const [second, third] = server.turn((raft) => [
      server.feed(raft, appendEntries(2, [0, 0], { terms: [2, 2, 2, 2] })),
      server.feed(raft, appendEntries(3, [1, 2], { terms: [3, 3, 3] })),
    ]);
    server.persist(1);
    expect(server.status.durableIndex).toBe(0);
    server.persist();
    expect(server.replies.get(third ?? 0)).toEqual(accepted(3));
    expect(server.replies.get(second ?? 0)).toMatchObject({ term: 3, success: false });
    expect(server.disk.entries).toEqual([...logOf(2, 3, 3, 3)]);
  });

  test("R8: of a deposed leader's entries does not count for the log that replaced them", () => {
    const server = new TestServer({ voters: [0, 1, 2] }).lead();
    server.propose("a", "b", "c");
    server.ask(appendEntries(2, [1, 1], { terms: [2] }));
    server.persist(1);
    expect(server.status).toMatchObject({ durableIndex: 1, lastLogIndex: 2, commitIndex: 1 });
  });

  test("R8: a reply of a term that has passed is refused, even if its entries are still there", () => {
    const server = new TestServer({ term: 1 });
    const old = server.ask(appendEntries(1, [0, 0], { terms: [1] }));
    server.ask(requestVote(2, 2, [1, 1]));
    server.persist();
    expect(server.replies.get(old)).toEqual(refused(2));
    expect(server.terms).toEqual([1]);
  });
});

/** What may happen to a server's disk and log; numbers are reduced to what is possible. */
type DiskStep = readonly [kind: "append" | "truncate" | "vote" | "take" | "persist", amount: number];

/** How far both hold the very same entries. */
function commonLength(a: readonly Entry<string>[], b: readonly Entry<string>[]): number {
  const apart = a.findIndex((entry, i) => entry !== b[i]);
  return apart < 0 ? a.length : apart;
}

describe("durability against a dumb double", () => {
  const anyStep: fc.Arbitrary<DiskStep> = fc.tuple(
    fc.constantFrom("append", "truncate", "vote", "take", "persist"),
    fc.nat(4),
  );

  test("R8: durable is exactly what log and disk have in common, and what a reply waits for makes it so", () => {
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 40 }), (steps) => {
        const durability = new Durability<string>(0);
        const disk = new TestDisk({
          hardState: hardState(0),
          log: { base: ORIGIN, entries: [] },
          snapshot: ORIGIN,
          configuration: [],
        });
        const log: Entry<string>[] = [];
        for (const [kind, amount] of steps) {
          if (kind === "append" && amount > 0) {
            const index = log.length + 1;
            const entries = Array.from({ length: amount }, (_, i) => ({
              index: index + i,
              term: 1,
              payload: command("x"),
            }));
            log.push(...entries);
            durability.append(entries);
          } else if (kind === "truncate" && amount >= 1 && amount <= log.length) {
            log.length -= amount;
            durability.truncate(log.length + 1);
          } else if (kind === "vote") {
            durability.saveHardState(hardState(amount));
          } else if (kind === "take") {
            const group = durability.take();
            if (group !== null) disk.write(group);
          } else if (kind === "persist" && disk.pendingCount > 0) {
            durability.persisted(disk.complete(1 + (amount % disk.pendingCount)));
          }
          expect(durability.durableIndex).toBe(commonLength(log, disk.entries));
        }
        const awaited = log.length === 0 ? 0 : durability.sequenceFor(log.length);
        const rest = durability.take();
        if (rest !== null) disk.write(rest);
        while (!durability.isPersisted(awaited)) durability.persisted(disk.complete(1));
        expect(commonLength(log, disk.entries)).toBe(log.length);
        expect(durability.hardStateIsDurable || disk.pendingCount > 0).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  test("P1: the driver is held to the order: no group is persisted twice, or before it was taken", () => {
    const server = new TestServer().lead();
    server.propose("a");
    const sequence = defined(server.batches.at(-1)?.persist, "the proposal's group").sequence;
    server.persist();
    expect(() => server.turn((raft) => raft.persisted(sequence))).toThrow("persisted before");
    expect(() => server.turn((raft) => raft.persisted(sequence + 1))).toThrow("never taken");
  });
});
