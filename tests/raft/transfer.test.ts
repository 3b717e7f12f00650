import { describe, expect, test } from "bun:test";
import type { OutgoingRequest } from "../../src/raft/batch.ts";
import type { TimeoutNow } from "../../src/raft/message.ts";
import { TestServer } from "./harness.ts";
import { accepted, appendEntries, command, members, timeoutNow, voteReply } from "./raft-values.ts";

const stands = { kind: "timeoutNowReply", term: 1, success: true } as const;
const doesNotStand = { kind: "timeoutNowReply", term: 1, success: false } as const;

function calls(requests: readonly OutgoingRequest<string>[]): readonly (readonly [number, TimeoutNow])[] {
  return requests.flatMap(({ to, request }) =>
    request.kind === "timeoutNow" ? [[to, request] as const] : [],
  );
}

/** Of server 1 in term 1, with one entry. */
function follower(): TestServer {
  const server = new TestServer({ term: 1 });
  server.answerTo(appendEntries(1, [0, 0], { terms: [1] }));
  return server;
}

describe("a leader that makes way", () => {
  test("dissertation §3.10: takes no proposals and changes, sends what is missing, then TimeoutNow", () => {
    const leader = new TestServer().lead();
    leader.propose("a");
    leader.persist();
    const entries = leader.takeSent();
    expect(leader.transfer(2)).toEqual({ kind: "accepted", to: 2 });
    expect(leader.status).toMatchObject({ role: "leader", transferTo: 2 });
    expect(leader.turn((raft) => raft.propose(command("b")))).toEqual({ kind: "transferring", to: 2 });
    expect(leader.change({ kind: "remove", id: 1 })).toEqual({ kind: "refused", why: "transferring" });
    expect(calls(leader.takeSent())).toEqual([]);
    for (const { to, request } of entries) if (to === 2) leader.receive(to, request, accepted(1));
    expect(calls(leader.takeSent())).toEqual([[2, timeoutNow(1, 0)]]);
    expect(leader.events.at(-1)).toEqual({ kind: "transferStarted", term: 1, to: 2 });
  });

  test("dissertation §3.10, C5: waits until all is committed, so that nobody is left in doubt", () => {
    const leader = new TestServer({ voters: [0, 1, 2, 3, 4] }).lead();
    leader.propose("a");
    leader.persist();
    const entries = leader.takeSent();
    leader.transfer(1);
    for (const { to, request } of entries) if (to === 1) leader.receive(to, request, accepted(1));
    expect(calls(leader.takeSent())).toEqual([]);
    for (const { to, request } of entries) if (to === 2) leader.receive(to, request, accepted(1));
    expect(calls(leader.takeSent())).toHaveLength(1);
  });

  test("dissertation §3.10: asks again with every heartbeat, and gives up after an election timeout", () => {
    const leader = new TestServer().lead();
    leader.transfer(1);
    const sent: number[] = [];
    for (let ticks = 0; ticks < 25; ticks += 1) {
      for (const { to, request } of leader.takeSent()) {
        if (request.kind === "timeoutNow") sent.push(ticks);
        else leader.receive(to, request, accepted(1));
      }
      leader.tick();
    }
    expect(sent).toEqual([0, 3, 6, 9, 12, 15, 18]);
    expect(leader.events.at(-1)).toEqual({ kind: "transferFailed", term: 1, to: 1 });
    expect(leader.status).toMatchObject({ role: "leader", transferTo: null });
    expect(leader.propose("a")).toBe(true);
  });

  test("dissertation §3.10: a refusal ends it at once; a late one, of an older request, does not", () => {
    const leader = new TestServer().lead();
    leader.transfer(1);
    const [first] = calls(leader.takeSent());
    leader.tick(3);
    const [second] = calls(leader.takeSent());
    if (first === undefined || second === undefined) throw new Error("it asks twice");
    leader.receive(1, first[1], doesNotStand);
    leader.receive(1, second[1], stands);
    expect(leader.status.transferTo).toBe(1);
    leader.receive(1, second[1], doesNotStand);
    expect(leader.status.transferTo).toBeNull();
  });

  test("dissertation §3.10: chooses who has most of the log, votes, is there and has room", () => {
    const leader = new TestServer({ configuration: members([0, 1, 2, 3], [4]) }).lead();
    leader.propose("a");
    leader.persist();
    for (const { to, request } of leader.takeSent()) {
      if (to === 4) leader.receive(to, request, accepted(1));
      if (to === 3) leader.receive(to, request, accepted(1));
      if (to === 2) leader.receive(to, request, { ...accepted(1), diskFull: true });
    }
    expect(leader.transfer()).toEqual({ kind: "accepted", to: 3 });
    expect(leader.transfer()).toEqual({ kind: "accepted", to: 3 });
    expect(leader.transfer(3)).toEqual({ kind: "accepted", to: 3 });
    expect(leader.transfer(1)).toEqual({ kind: "refused", why: "underWay" });
  });

  test("dissertation §3.10: refuses whom it cannot hand over to", () => {
    const leader = new TestServer({ configuration: members([0, 1, 2], [4]) }).lead();
    expect(leader.transfer(0)).toEqual({ kind: "refused", why: "self" });
    expect(leader.transfer(9)).toEqual({ kind: "refused", why: "unknownMember" });
    expect(leader.transfer(4)).toEqual({ kind: "refused", why: "notVoter" });
    for (let ticks = 0; ticks < 30; ticks += 1) {
      leader.tick();
      leader.acceptAll(1);
    }
    expect(leader.transfer(2)).toEqual({ kind: "refused", why: "silent" });
    const alone = new TestServer({ voters: [0] }).elect();
    expect(alone.transfer()).toEqual({ kind: "refused", why: "nobody" });
    expect(new TestServer().transfer()).toEqual({ kind: "notLeader", leaderId: null });
  });
});

describe("a follower that is asked to take over", () => {
  test("dissertation §3.10: stands at once and without a pre-vote; E2: but its vote is durable first", () => {
    const server = follower();
    const rpc = server.ask(timeoutNow(1));
    expect(server.replies.get(rpc)).toEqual(stands);
    expect(server.status).toMatchObject({ role: "candidate", currentTerm: 2, votedFor: 0 });
    expect(server.takeSent()).toEqual([]);
    server.persist();
    const asked = server.takeSent();
    expect(asked.map(({ to }) => to)).toEqual([1, 2]);
    for (const { to, request } of asked.slice(0, 1)) server.receive(to, request, voteReply(2, true));
    expect(server.status.role).toBe("leader");
  });

  test("E5, E6: does nothing in a term that has passed, in one that it does not know, or for another than its leader", () => {
    const server = follower();
    expect(server.answerTo(timeoutNow(0))).toEqual(doesNotStand);
    expect(server.answerTo(timeoutNow(1, 2))).toEqual(doesNotStand);
    expect(server.answerTo(timeoutNow(5))).toEqual({ ...doesNotStand, term: 5 });
    expect(server.status).toMatchObject({ role: "follower", currentTerm: 5 });
    expect(server.answerTo(timeoutNow(2 ** 40))).toEqual({ ...doesNotStand, term: 5 });
  });

  test("P6, P9, M5: does nothing without room, without a say, or without a vote", () => {
    const full = follower();
    full.fillDisk();
    const rpc = full.ask(timeoutNow(1));
    expect(full.replies.get(rpc)).toEqual(doesNotStand);
    const replaced = new TestServer({ hardState: { currentTerm: 1, votedFor: 0, abstainsThrough: 1 } });
    const nonVoter = new TestServer({ term: 1, configuration: members([1, 2], [0]) });
    for (const server of [replaced, nonVoter]) {
      server.answerTo(appendEntries(1, [0, 0]));
      expect(server.answerTo(timeoutNow(1))).toEqual(doesNotStand);
    }
  });
});
