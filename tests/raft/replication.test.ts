import { describe, expect, test } from "bun:test";
import { defined } from "../../src/base/assert.ts";
import type { ServerId, Term } from "../../src/raft/entry.ts";
import { TestServer } from "./harness.ts";
import {
  accepted,
  appendEntries,
  appendsIn,
  COMMAND_BYTES,
  command,
  entriesOf,
  logOf,
  refused,
  shapeOf,
} from "./raft-values.ts";

const ones = (count: number): readonly Term[] => Array.from({ length: count }, () => 1);

function sentTo(leader: TestServer, to: ServerId) {
  return appendsIn(leader.takeSent(), to);
}

/** A leader with 100 entries and its no-op, whose follower 1 has just said that its log is empty. */
function withEmptyFollower(options: { maxBatchEntries?: number; maxBatchBytes?: number } = {}): TestServer {
  const leader = new TestServer({ log: logOf(...ones(100)), options: { maxInflight: 3, ...options } });
  leader.elect();
  const probe = defined(sentTo(leader, 1).at(-1), "a probe");
  leader.receive(1, probe, refused(2, [1, 0]));
  return leader;
}

describe("a follower that is behind", () => {
  test("R7: gets bounded, contiguous batches, one at first and then as many as the window holds", () => {
    const leader = withEmptyFollower({ maxBatchEntries: 10 });
    const received: number[] = [];
    const underWay = [...sentTo(leader, 1)];
    expect(underWay.map(shapeOf)).toEqual(["0+10"]);
    while (underWay.length > 0) {
      expect(underWay.length).toBeLessThanOrEqual(3);
      const oldest = defined(underWay.shift(), "an AppendEntries");
      expect(oldest.entries.length).toBeLessThanOrEqual(10);
      expect(oldest.prevLogIndex).toBe(received.length);
      received.push(...oldest.entries.map(({ index }) => index));
      leader.receive(1, oldest, accepted(2));
      underWay.push(...sentTo(leader, 1).filter(({ entries }) => entries.length > 0));
    }
    expect(received).toEqual(Array.from({ length: 101 }, (_, i) => i + 1));
  });

  test("R7: batches are bounded in bytes too, but one large entry still travels, alone", () => {
    const fourEntries = 4 * (COMMAND_BYTES + 40);
    const [batch] = sentTo(withEmptyFollower({ maxBatchBytes: fourEntries }), 1);
    expect(batch?.entries).toHaveLength(4);
    const [single] = sentTo(withEmptyFollower({ maxBatchBytes: 1 }), 1);
    expect(single?.entries).toHaveLength(1);
    const leader = new TestServer({ options: { maxBatchBytes: 1000 } }).lead();
    leader.turn((raft) => {
      raft.propose(command("small"));
      raft.propose({ ...command("large"), byteLength: 5000 });
      raft.propose(command("small"));
    });
    expect(sentTo(leader, 1).map(shapeOf)).toEqual(["1+1", "2+1", "3+1"]);
  });

  test("R7: heartbeats go on while its window is full, and speak only of what it is known to have", () => {
    const leader = withEmptyFollower({ maxBatchEntries: 10 });
    leader.receive(1, defined(sentTo(leader, 1)[0], "a batch"), accepted(2));
    expect(sentTo(leader, 1).map(shapeOf)).toEqual(["10+10", "20+10", "30+10"]);
    for (let beat = 0; beat < 4; beat += 1) {
      leader.tick(3);
      expect(sentTo(leader, 1).map(shapeOf)).toEqual(["10+0"]);
    }
  });

  test("R7: it delays nobody else", () => {
    const leader = withEmptyFollower({ maxBatchEntries: 10 });
    leader.persist();
    leader.takeSent();
    leader.receive(2, appendEntries(2, [100, 1], { leaderId: 0, terms: [2] }), accepted(2));
    expect(leader.status.commitIndex).toBe(101);
    leader.propose("a");
    expect(sentTo(leader, 2).map(shapeOf)).toContain("101+1");
  });

  test("R7: after a loss nothing is sent until the next heartbeat; then from what is known to match", () => {
    const leader = withEmptyFollower({ maxBatchEntries: 10 });
    leader.receive(1, defined(sentTo(leader, 1)[0], "a batch"), accepted(2));
    for (const request of sentTo(leader, 1)) leader.lose(1, request);
    leader.propose("a");
    leader.tick(2);
    expect(sentTo(leader, 1)).toEqual([]);
    leader.tick();
    expect(sentTo(leader, 1).map(shapeOf)).toEqual(["10+0", "10+10"]);
    leader.tick(3);
    expect(sentTo(leader, 1).map(shapeOf)).toEqual(["10+0"]);
  });

  test("R7: any answer ends the pause", () => {
    const leader = new TestServer().lead();
    leader.tick(3);
    const heartbeat = defined(sentTo(leader, 1)[0], "a heartbeat");
    leader.propose("a");
    leader.lose(1, defined(sentTo(leader, 1)[0], "an AppendEntries"));
    leader.receive(1, heartbeat, accepted(1));
    expect(sentTo(leader, 1).map(shapeOf)).toEqual(["1+1"]);
  });

  test("R3: AppendEntries that overtake one another cost a retry, never the follower's place", () => {
    const leader = new TestServer().lead();
    leader.propose("a");
    leader.propose("b");
    const [first, second] = sentTo(leader, 1);
    leader.receive(1, defined(second, "the second"), refused(1, [2, 0]));
    expect(sentTo(leader, 1).map(shapeOf)).toEqual(["1+2"]);
    leader.receive(1, defined(first, "the first"), accepted(1));
    expect(sentTo(leader, 1).map(shapeOf)).toEqual(["2+1"]);
    leader.propose("c");
    expect(sentTo(leader, 1).map(shapeOf)).toEqual(["3+1"]);
  });
});

/** The leader of term 9 brings `terms` in line with its own log; returns how often it was refused. */
function refusalsUntilEqual(leaderTerms: readonly Term[], terms: readonly Term[], hints: boolean): number {
  const leader = new TestServer({ log: logOf(...leaderTerms), term: 8 }).elect();
  const follower = new TestServer({ id: 1, log: logOf(...terms), term: 8 });
  let refusals = 0;
  for (let round = 0; round < 200 && leader.outbox.length > 0; round += 1) {
    for (const { to, request } of leader.takeSent()) {
      if (to !== 1 || request.kind !== "appendEntries") continue;
      const reply = follower.answerTo(request);
      if (reply.kind !== "appendEntriesReply") throw new Error("an answer of another kind");
      if (!reply.success) refusals += 1;
      leader.receive(1, request, hints ? reply : { ...reply, conflict: null });
    }
  }
  expect(follower.log).toEqual(leader.log);
  return refusals;
}

describe("finding where the logs part", () => {
  test("R10, Raft §5.3: a follower that lacks entries is found in one step", () => {
    expect(refusalsUntilEqual(ones(80), [], true)).toBe(1);
    expect(refusalsUntilEqual(ones(80), ones(30), true)).toBe(1);
  });

  test("R10: a follower with a long tail of another term is found in a step a term, not one an entry", () => {
    const twos = Array.from({ length: 70 }, () => 2);
    const threes = Array.from({ length: 70 }, () => 3);
    expect(
      refusalsUntilEqual([...ones(5), ...Array.from({ length: 60 }, () => 4)], [...ones(5), ...twos], true),
    ).toBeLessThanOrEqual(2);
    expect(
      refusalsUntilEqual([...ones(5), 4, 4], [...ones(40), ...twos, ...threes], true),
    ).toBeLessThanOrEqual(3);
    expect(
      refusalsUntilEqual([1, ...threes, 5], [1, ...twos, ...threes.slice(0, 9)], true),
    ).toBeLessThanOrEqual(3);
  });

  test("R10: a follower that gives no hint is found all the same, an entry at a time", () => {
    expect(refusalsUntilEqual(ones(20), [], false)).toBe(20);
    expect(refusalsUntilEqual([1, 1, 4, 4], [1, 1, 2, 2, 2], false)).toBe(2);
  });

  test("R10: a hint never leads past the probe, before the log, or back behind what matches", () => {
    for (const hint of [
      [1_000_000, 0],
      [-5, 1],
      [0, 0],
      [3, 99],
    ] as const) {
      const leader = new TestServer({ log: logOf(1, 1, 2, 2, 3) }).elect();
      leader.receive(1, defined(sentTo(leader, 1).at(-1), "a probe"), refused(4, hint));
      const next = defined(sentTo(leader, 1).at(-1), "another probe");
      expect(next.prevLogIndex).toBeGreaterThanOrEqual(0);
      expect(next.prevLogIndex).toBeLessThan(5);
      expect(next.entries).toEqual(leader.log.slice(next.prevLogIndex));
    }
    const leader = new TestServer().lead();
    leader.propose("a");
    leader.receive(1, defined(sentTo(leader, 1)[0], "an AppendEntries"), accepted(1));
    leader.propose("b");
    leader.propose("c");
    leader.receive(1, defined(sentTo(leader, 1).at(-1), "an AppendEntries"), refused(1, [1, 0]));
    expect(sentTo(leader, 1).at(-1)?.prevLogIndex).toBe(2);
  });
});

describe("Raft figure 7", () => {
  const figure7: readonly (readonly [string, readonly Term[]])[] = [
    ["a, one entry missing", [1, 1, 1, 4, 4, 5, 5, 6, 6]],
    ["b, many missing", [1, 1, 1, 4]],
    ["c, one extra of the same term", [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6]],
    ["d, extra entries of a later term", [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7]],
    ["e, missing and extra", [1, 1, 1, 4, 4, 4, 4]],
    ["f, missing and extra of several terms", [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3]],
  ];
  for (const [situation, terms] of figure7) {
    test(`R10, Raft §5.3, figure 7: the leader of term 8 brings follower ${situation}, in line`, () => {
      const leader = new TestServer({ log: logOf(1, 1, 1, 4, 4, 5, 5, 6, 6, 6), term: 7 }).elect();
      const follower = new TestServer({ id: 1, log: logOf(...terms), term: 7 });
      for (let round = 0; round < 10 && leader.outbox.length > 0; round += 1) {
        for (const { to, request } of leader.takeSent()) {
          if (to === 1) leader.receive(1, request, follower.answerTo(request));
        }
      }
      expect(follower.terms).toEqual([1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 8]);
      expect(follower.disk.entries).toEqual([...leader.log]);
      expect(follower.status.commitIndex).toBe(11);
      expect(leader.log.slice(0, 10)).toEqual([...entriesOf(0, 1, 1, 1, 4, 4, 5, 5, 6, 6, 6)]);
    });
  }
});
