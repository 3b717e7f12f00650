import { describe, expect, test } from "bun:test";
import { defined } from "../../src/base/assert.ts";
import { entryByteLength, type ServerId } from "../../src/raft/entry.ts";
import type { AppendEntries } from "../../src/raft/message.ts";
import { TestServer } from "./harness.ts";
import {
  accepted,
  appendEntries,
  appendsIn,
  logOf,
  refused,
  requestVote,
  shapeOf,
  voteReply,
} from "./raft-values.ts";

const fiveVoters = { voters: [0, 1, 2, 3, 4] };

/** What is under way to `to`, its shapes; the rest of the outbox goes. */
function sentTo(leader: TestServer, to: ServerId): readonly AppendEntries<string>[] {
  return appendsIn(leader.takeSent(), to);
}

/** The one AppendEntries with entries that is under way to `to`. */
function theAppend(leader: TestServer, to: ServerId): AppendEntries<string> {
  const appends = sentTo(leader, to).filter(({ entries }) => entries.length > 0);
  expect(appends).toHaveLength(1);
  return defined(appends[0], "an AppendEntries");
}

/** How many ticks it leads on while `followers` answer everything. */
function ticksLed(followers: readonly ServerId[], reply = accepted(1)): number {
  const leader = new TestServer(fiveVoters).lead();
  leader.takeSent();
  for (let ticks = 0; ticks < 100; ticks += 1) {
    if (leader.status.role !== "leader") return ticks;
    leader.tick();
    for (const { to, request } of leader.takeSent()) {
      if (leader.status.role !== "leader") break;
      if (followers.includes(to)) leader.receive(to, request, reply);
    }
  }
  return 100;
}

describe("commitment", () => {
  test("R2, Raft §8: a new leader's first entry is a no-op of its own term, and it goes out at once", () => {
    const leader = new TestServer({ log: logOf(1, 1, 2) }).elect();
    expect(leader.log[3]).toEqual({ index: 4, term: 3, payload: { kind: "noop" } });
    expect(leader.status).toMatchObject({ noopIndex: 4, lastLogIndex: 4, commitIndex: 0 });
    expect(theAppend(leader, 1)).toMatchObject({ prevLogIndex: 3, prevLogTerm: 2, leaderCommit: 0 });
  });

  test("R1, Raft §5.4.2: an earlier term's entry on a majority is committed only by one of this term", () => {
    const leader = new TestServer({ log: logOf(1, 1, 2), options: { maxBatchEntries: 3 } }).elect();
    leader.receive(1, theAppend(leader, 1), refused(3, [1, 0]));
    const old = theAppend(leader, 1);
    expect(shapeOf(old)).toBe("0+3");
    leader.receive(1, old, accepted(3));
    expect(leader.status.commitIndex).toBe(0);
    leader.receive(1, theAppend(leader, 1), accepted(3));
    expect(leader.status.commitIndex).toBe(4);
    expect(leader.committed.map(({ index }) => index)).toEqual([1, 2, 3, 4]);
  });

  test("Raft §5.3: an entry is committed when a majority has it, and no sooner", () => {
    const leader = new TestServer(fiveVoters).lead();
    leader.propose("a");
    leader.persist();
    const sent = leader.takeSent();
    for (const [follower, committed] of [
      [1, 1],
      [2, 2],
      [3, 2],
    ] as const) {
      leader.receive(follower, defined(appendsIn(sent, follower)[0], "an AppendEntries"), accepted(1));
      expect(leader.status.commitIndex).toBe(committed);
    }
  });

  test("R9, dissertation §10.2.1: entries leave in parallel with the leader's own fsync", () => {
    const leader = new TestServer().lead();
    leader.propose("a");
    const batch = defined(leader.batches.at(-1), "the proposal's batch");
    expect(batch.persist?.writes).toHaveLength(1);
    expect(batch.requests.map(({ to }) => to)).toEqual([1, 2]);
  });

  test("R9: the leader counts itself only after its own fsync", () => {
    const leader = new TestServer().lead();
    leader.propose("a");
    leader.receive(1, theAppend(leader, 1), accepted(1));
    expect(leader.status.commitIndex).toBe(1);
    leader.persist();
    expect(leader.status.commitIndex).toBe(2);
  });

  test("R9: a majority without the leader commits before the leader's fsync ends", () => {
    const leader = new TestServer().lead();
    leader.propose("a");
    leader.acceptAll();
    expect(leader.disk.pendingCount).toBe(1);
    expect(leader.status.commitIndex).toBe(2);
    expect(leader.committed).toHaveLength(2);
  });

  test("Raft §5.3: followers learn of a commit at once, without another entry or heartbeat", () => {
    const leader = new TestServer().lead();
    leader.propose("a");
    const sent = leader.takeSent();
    leader.receive(1, defined(appendsIn(sent, 1)[0], "an AppendEntries"), accepted(1));
    leader.persist();
    expect(sentTo(leader, 1)).toEqual([appendEntries(1, [2, 1], { leaderId: 0, leaderCommit: 2 })]);
    leader.receive(2, defined(appendsIn(sent, 2)[0], "an AppendEntries"), accepted(1));
    expect(sentTo(leader, 2)).toEqual([appendEntries(1, [2, 1], { leaderId: 0, leaderCommit: 2 })]);
    leader.turn(() => {});
    expect(leader.outbox).toEqual([]);
  });

  test("I4: committed entries are handed out in bounded portions, in order, each once", () => {
    const terms = Array.from({ length: 25 }, () => 1);
    const leader = new TestServer({ log: logOf(...terms), options: { maxCommittedPerBatch: 10 } }).lead();
    const portions = leader.batches.map(({ committed }) => committed.length).filter((count) => count > 0);
    expect(portions).toEqual([10, 10, 6]);
    expect(leader.committed).toEqual([...leader.log]);
  });

  test("I4: the same holds for their bytes, and one that is larger is handed out alone", () => {
    const terms = Array.from({ length: 7 }, () => 1);
    const committedAtOnce = (maxBatchBytes: number): readonly number[] => {
      const leader = new TestServer({ log: logOf(...terms), options: { maxBatchBytes } }).lead();
      expect(leader.committed).toEqual([...leader.log]);
      return leader.batches.map(({ committed }) => committed.length).filter((count) => count > 0);
    };
    const entryBytes = entryByteLength(defined(logOf(1)[0], "an entry"));
    expect(committedAtOnce(3 * entryBytes)).toEqual([3, 3, 2]);
    expect(committedAtOnce(1)).toEqual([1, 1, 1, 1, 1, 1, 1, 1]);
  });
});

describe("proposals", () => {
  test("Raft §5.3: many proposals of one turn travel in one AppendEntries a follower, and one write", () => {
    const leader = new TestServer().lead();
    leader.propose(...Array.from({ length: 50 }, (_, i) => `command ${i}`));
    const { requests, persist } = defined(leader.batches.at(-1), "the proposals' batch");
    expect(requests.map(({ to }) => to)).toEqual([1, 2]);
    for (const request of appendsIn(requests)) expect(shapeOf(request)).toBe("1+50");
    expect(persist?.sequence).toBe(leader.disk.hardState.currentTerm + 2);
    leader.persist();
    leader.acceptAll();
    expect(leader.committed).toHaveLength(51);
  });

  test("dissertation §10.2.1: the next turn's proposals do not wait for the last turn's answers", () => {
    const leader = new TestServer().lead();
    for (const text of ["a", "b", "c"]) leader.propose(text);
    expect(sentTo(leader, 2).map(shapeOf)).toEqual(["1+1", "2+1", "3+1"]);
  });

  test("Raft §5.1: only a leader takes them; others name the leader that they know", () => {
    const follower = new TestServer();
    const command = { kind: "command", command: "a", byteLength: 1 } as const;
    const propose = () => follower.turn((raft) => raft.propose(command));
    expect(propose()).toEqual({ kind: "notLeader", leaderId: null });
    follower.answerTo(appendEntries(1, [0, 0], { leaderId: 2 }));
    expect(propose()).toEqual({ kind: "notLeader", leaderId: 2 });
    follower.tick(10);
    expect(propose()).toEqual({ kind: "notLeader", leaderId: null });
    const leader = new TestServer().lead();
    expect(leader.turn((raft) => raft.propose(command))).toEqual({ kind: "accepted", index: 2, term: 1 });
  });
});

describe("late, repeated and strange replies", () => {
  test("R5: matchIndex never shrinks: an older success after a newer one changes nothing", () => {
    const leader = new TestServer().lead();
    leader.propose("a");
    leader.propose("b");
    leader.persist();
    const [first, second] = sentTo(leader, 1);
    leader.receive(1, defined(second, "the second"), accepted(1));
    expect(leader.status.commitIndex).toBe(3);
    leader.receive(1, defined(first, "the first"), accepted(1));
    leader.tick(3);
    expect(sentTo(leader, 1).at(-1)).toMatchObject({ prevLogIndex: 3, entries: [], leaderCommit: 3 });
  });

  test("R5: a refusal of what is known to match changes nothing", () => {
    const leader = new TestServer().lead();
    leader.propose("a");
    leader.propose("b");
    const [first, second] = sentTo(leader, 1);
    leader.receive(1, defined(second, "the second"), accepted(1));
    leader.receive(1, defined(first, "the first"), refused(1, [1, 0]));
    leader.propose("c");
    expect(sentTo(leader, 1).map(shapeOf)).toEqual(["3+1"]);
  });

  test("P4: a follower that refuses the last heartbeat has lost what it acknowledged, and is sent it again", () => {
    const leader = new TestServer().lead();
    leader.propose("a");
    leader.propose("b");
    for (const request of sentTo(leader, 1)) leader.receive(1, request, accepted(1));
    leader.tick(5);
    const heartbeat = defined(sentTo(leader, 1).at(-1), "a heartbeat");
    expect(shapeOf(heartbeat)).toBe("3+0");
    leader.receive(1, heartbeat, refused(1, [2, 0]));
    expect(sentTo(leader, 1).map(shapeOf)).toEqual(["1+2"]);
    leader.receive(1, heartbeat, refused(1, [2, 0]));
    expect(sentTo(leader, 1).map(shapeOf)).toEqual([]);
  });

  test("R5: the refusal of a heartbeat that spoke of less is no proof of a loss", () => {
    const leader = new TestServer().lead();
    leader.propose("a");
    const appends = sentTo(leader, 1);
    leader.tick(5);
    const early = defined(sentTo(leader, 1).at(-1), "a heartbeat");
    for (const request of appends) leader.receive(1, request, accepted(1));
    leader.tick(5);
    leader.takeSent();
    leader.receive(1, early, refused(1, [1, 0]));
    leader.propose("b");
    expect(sentTo(leader, 1).map(shapeOf)).toEqual(["2+1"]);
  });

  test("R5: the same reply twice counts once", () => {
    const leader = new TestServer(fiveVoters).lead();
    leader.propose("a");
    leader.persist();
    const request = theAppend(leader, 1);
    for (let i = 0; i < 3; i += 1) leader.receive(1, request, accepted(1));
    expect(leader.status).toMatchObject({ role: "leader", commitIndex: 1 });
    leader.propose("b");
    expect(sentTo(leader, 1).map(shapeOf)).toEqual(["2+1"]);
  });

  test("R5: a reply that comes after its request was given up still counts, once", () => {
    const leader = new TestServer().lead();
    leader.propose("a");
    leader.persist();
    const request = theAppend(leader, 1);
    leader.lose(1, request);
    leader.receive(1, request, accepted(1));
    expect(leader.status.commitIndex).toBe(2);
    leader.lose(1, request);
    leader.propose("b");
    expect(sentTo(leader, 1).map(shapeOf).at(-1)).toBe("2+1");
  });

  test("R5: replies to an earlier leadership of this server do not count", () => {
    const leader = new TestServer().lead();
    leader.propose("a");
    const old = theAppend(leader, 1);
    leader.answerTo(appendEntries(2, [1, 1]));
    leader.elect();
    expect(leader.status).toMatchObject({ role: "leader", currentTerm: 3, commitIndex: 1 });
    leader.receive(1, old, accepted(1));
    leader.receive(2, old, accepted(1));
    leader.lose(1, old);
    expect(leader.status.commitIndex).toBe(1);
  });

  test("Raft §5.3: a reply of a server that is no member counts for nothing", () => {
    const leader = new TestServer(fiveVoters).lead();
    leader.propose("a");
    leader.persist();
    const request = theAppend(leader, 1);
    for (const stranger of [97, 98, 99]) leader.receive(stranger, request, accepted(1));
    expect(leader.status.commitIndex).toBe(1);
  });

  test("Raft §5.2: an AppendEntries of its own term is refused by a leader, loudly, and changes nothing", () => {
    const leader = new TestServer().lead();
    const before = leader.status;
    const request = appendEntries(1, [1, 1], { leaderId: 99, terms: [1], leaderCommit: 2 });
    expect(leader.answerTo(request)).toEqual(refused(1));
    expect(leader.status).toEqual(before);
    expect(leader.events.at(-1)).toMatchObject({ kind: "refused", leaderId: 99, term: 1 });
  });
});

describe("E8: check-quorum", () => {
  test("E8, dissertation §6.2: a leader that hears nobody, or a minority, steps down after one timeout", () => {
    expect(ticksLed([])).toBe(20);
    expect(ticksLed([3])).toBe(20);
  });

  test("E8: a leader that hears a majority stays, even if all they do is refuse", () => {
    expect(ticksLed([3, 4])).toBe(100);
    expect(ticksLed([3, 4], refused(1))).toBe(100);
  });

  test("E8: it keeps its term and waits a whole timeout before it stands again", () => {
    const leader = new TestServer();
    leader.tick(10);
    leader.receive(1, requestVote(1, 0, [0, 0], { preVote: true }), voteReply(1, true));
    leader.persist();
    leader.tick(5);
    leader.receive(1, requestVote(1, 0, [0, 0]), voteReply(1, true));
    expect(leader.status.role).toBe("leader");
    leader.tick(20);
    expect(leader.status).toMatchObject({
      role: "follower",
      currentTerm: 1,
      leaderId: null,
      noopIndex: null,
    });
    expect(leader.events.at(-1)).toEqual({ kind: "becameFollower", term: 1, reason: "noQuorum" });
    leader.tick(9);
    expect(leader.status.role).toBe("follower");
    leader.tick();
    expect(leader.status.role).toBe("preCandidate");
  });
});
