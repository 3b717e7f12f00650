import { describe, expect, test } from "bun:test";
import type { OutgoingRequest } from "../../src/raft/batch.ts";
import type { ServerId } from "../../src/raft/entry.ts";
import { TestServer } from "./harness.ts";
import { accepted, appendEntries, appendsIn, members, noRoom, refused } from "./raft-values.ts";

const fiveVoters = { voters: [0, 1, 2, 3, 4] };

function answer(leader: TestServer, sent: readonly OutgoingRequest<string>[], ...from: readonly ServerId[]) {
  for (const { to, request } of sent)
    if (from.includes(to)) leader.receive(to, request, accepted(request.term));
}

/** While nobody reads. */
function answerHeartbeats(leader: TestServer, count: number, from: ServerId): void {
  for (let heartbeat = 0; heartbeat < count; heartbeat += 1) {
    leader.tick(3);
    answer(leader, leader.takeSent(), from);
  }
}

function askedIn(sent: readonly OutgoingRequest<string>[]): readonly ServerId[] {
  return sent.map(({ to }) => to);
}

describe("linearizable reads", () => {
  test("L1, dissertation §6.4: a read waits until a majority has answered a heartbeat that came after it", () => {
    const leader = new TestServer(fiveVoters).lead();
    const read = leader.read() ?? 0;
    const round = leader.takeSent();
    expect(appendsIn(round).map(({ entries }) => entries.length)).toEqual([0, 0]);
    answer(leader, round, 1);
    expect(leader.readIndices.has(read)).toBe(false);
    answer(leader, round, 1);
    expect(leader.readIndices.has(read)).toBe(false);
    answer(leader, round, 2);
    expect(leader.readIndices.get(read)).toBe(1);
  });

  test("L1: nobody but a leader takes a read on", () => {
    const server = new TestServer({ term: 1 });
    server.answerTo(appendEntries(1, [0, 0]));
    expect(server.turn((raft) => raft.read(1))).toEqual({ kind: "notLeader", leaderId: 1 });
  });

  test("L1: a leader that is deposed lets no read go, not even by answers that come later", () => {
    const leader = new TestServer(fiveVoters).lead();
    const first = leader.read() ?? 0;
    const round = leader.takeSent();
    const second = leader.read() ?? 0;
    leader.ask(appendEntries(2, [0, 0]));
    expect([leader.readIndices.get(first), leader.readIndices.get(second)]).toEqual([null, null]);
    answer(leader, round, 1, 2);
    expect(leader.readIndices.size).toBe(2);
  });

  test("L1: an answer of a later term confirms nothing, and deposes", () => {
    const leader = new TestServer().lead();
    const read = leader.read() ?? 0;
    for (const { to, request } of leader.takeSent().slice(0, 1)) leader.receive(to, request, refused(2));
    expect(leader.readIndices.get(read)).toBeNull();
  });

  test("L1: a refusal in the same term says as much as a success does", () => {
    const leader = new TestServer().lead();
    const read = leader.read() ?? 0;
    for (const { to, request } of leader.takeSent().slice(0, 1)) leader.receive(to, request, noRoom(1));
    expect(leader.readIndices.get(read)).toBe(1);
  });

  test("L2: a new leader's read is at its no-op, and sees all that was committed before", () => {
    const leader = new TestServer({ log: [], term: 1 }).elect();
    const read = leader.read() ?? 0;
    answer(leader, leader.takeSent(), 1);
    expect(leader.readIndices.get(read) ?? null).not.toBeNull();
    expect(leader.readIndices.get(read)).toBe(leader.status.noopIndex);
  });

  test("L3: answers to what was sent before a read do not count for it; the next round serves all that waited", () => {
    const leader = new TestServer().lead();
    const first = leader.read() ?? 0;
    const round = leader.takeSent();
    const second = leader.read() ?? 0;
    const third = leader.read() ?? 0;
    expect(leader.takeSent()).toEqual([]);
    answer(leader, round, 1);
    expect([...leader.readIndices.keys()]).toEqual([first]);
    const next = leader.takeSent();
    expect(appendsIn(next, 1).map(({ round: number }) => number)).toEqual([2]);
    answer(leader, round, 1);
    expect(leader.readIndices.size).toBe(1);
    answer(leader, next, 1);
    expect([...leader.readIndices.keys()]).toEqual([first, second, third]);
  });

  test("L3: the next heartbeat makes good a round that was lost, and takes with it who waits", () => {
    const leader = new TestServer().lead();
    leader.read();
    leader.read();
    for (const { to, request } of leader.takeSent()) leader.lose(to, request);
    leader.tick(3);
    answer(leader, leader.takeSent(), 2);
    expect(leader.readIndices.size).toBe(2);
  });

  test("I4: a round asks no more voters than it takes, and the next one passes over who did not answer", () => {
    const leader = new TestServer(fiveVoters).lead();
    const first = leader.read() ?? 0;
    expect(askedIn(leader.takeSent())).toEqual([1, 2]);
    // Server 1 is gone. After two ticks everybody is asked.
    leader.tick(1);
    expect(leader.takeSent()).toEqual([]);
    leader.tick(1);
    const round = leader.takeSent();
    expect(askedIn(round)).toEqual([1, 2, 3, 4]);
    answer(leader, round, 3, 4);
    expect([...leader.readIndices.keys()]).toEqual([first]);
    leader.read();
    expect(askedIn(leader.takeSent())).toEqual([3, 4]);
  });

  test("I4: of the voters that answered a round, those that were slow are not asked for the next", () => {
    const leader = new TestServer().lead();
    leader.read();
    expect(askedIn(leader.takeSent())).toEqual([1]);
    leader.tick(3);
    const heartbeats = leader.takeSent().slice(-2);
    answer(leader, heartbeats, 2);
    answer(leader, heartbeats, 1);
    leader.read();
    const next = leader.takeSent();
    expect(askedIn(next)).toEqual([2]);
    answer(leader, next, 2);
    // That server 1 was heard last makes it no quicker.
    leader.tick();
    answer(leader, heartbeats, 1);
    leader.read();
    expect(askedIn(leader.takeSent())).toEqual([2]);
  });

  test("I4: who answers a round again is no slower for it", () => {
    const leader = new TestServer().lead();
    leader.tick(3);
    const heartbeats = leader.takeSent();
    for (const voter of [2, 1, 2]) answer(leader, heartbeats, voter);
    leader.read();
    expect(askedIn(leader.takeSent())).toEqual([2]);
  });

  test("I4: a round that is not answered is asked of everybody once, until a heartbeat is due", () => {
    const leader = new TestServer({ options: { heartbeatTicks: 5 } }).lead();
    leader.takeSent();
    leader.read();
    const asked = [askedIn(leader.takeSent())];
    for (let tick = 1; tick < 5; tick += 1) {
      leader.tick();
      asked.push(askedIn(leader.takeSent()));
    }
    expect(asked).toEqual([[1], [], [1, 2], [], []]);
  });

  test("I4: who leaves heartbeats unanswered while nobody reads is not asked", () => {
    const leader = new TestServer().lead();
    answerHeartbeats(leader, 4, 2);
    leader.read();
    expect(askedIn(leader.takeSent())).toEqual([2]);
  });

  test("I4: a new leader asks those that have its no-op, and not its predecessor, which is dead", () => {
    const leader = new TestServer().elect();
    answer(leader, leader.takeSent(), 2);
    leader.takeSent();
    leader.read();
    expect(askedIn(leader.takeSent())).toEqual([2]);
  });

  test("I4: a voter that has not been heard for an election timeout is not asked, even when everybody is", () => {
    const leader = new TestServer().lead();
    // An election timeout is 20 ticks at the most.
    answerHeartbeats(leader, 7, 2);
    leader.read();
    leader.takeSent();
    leader.tick(2);
    expect(askedIn(leader.takeSent())).toEqual([2]);
  });

  test("L3: reads of one turn share one round", () => {
    const leader = new TestServer().lead();
    leader.turn((raft) => {
      for (let read = 1; read <= 100; read += 1) raft.read(read);
      // Taken here, so that what comes of them is counted.
      const { requests, reads } = raft.takeBatch();
      expect([requests.length, reads.length]).toEqual([1, 0]);
      for (const { to, request } of requests) raft.handleReply(to, request, accepted(1));
      expect(raft.takeBatch().reads).toHaveLength(100);
    });
  });

  test("L1: the only voter asks nobody", () => {
    const leader = new TestServer({ voters: [0] }).elect();
    leader.persist();
    const read = leader.read() ?? 0;
    expect(leader.readIndices.get(read)).toBe(1);
  });

  test("L1, M4: a leader that is being removed does not count, and neither does a non-voter", () => {
    const leader = new TestServer({ configuration: members([0, 2, 3], [1]) }).lead();
    leader.change({ kind: "remove", id: 0 });
    leader.takeSent();
    const read = leader.read() ?? 0;
    const round = leader.takeSent();
    expect(askedIn(round)).toEqual([2, 3]);
    answer(leader, round, 2);
    expect(leader.readIndices.has(read)).toBe(false);
    answer(leader, round, 3);
    expect(leader.readIndices.get(read)).toBe(1);
  });

  test("L1, R7: a follower that is paused, or has much under way, is asked all the same", () => {
    const leader = new TestServer().lead();
    leader.propose("a");
    leader.persist();
    for (const { to, request } of leader.takeSent()) leader.lose(to, request);
    const read = leader.read() ?? 0;
    answer(leader, leader.takeSent(), 1);
    expect(leader.readIndices.get(read)).toBe(1);
  });
});
