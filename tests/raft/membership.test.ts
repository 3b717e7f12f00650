import { describe, expect, test } from "bun:test";
import { MAX_MEMBERS, type ConfigurationChange } from "../../src/raft/configuration.ts";
import { TestServer } from "./harness.ts";
import {
  accepted,
  appendEntries,
  appendsIn,
  configurationEntry,
  installSnapshot,
  logOf,
  members,
  requestVote,
  voteReply,
} from "./raft-values.ts";

function add(id: number, address = ""): ConfigurationChange {
  return { kind: "add", id, address };
}
function promote(id: number): ConfigurationChange {
  return { kind: "promote", id };
}
function remove(id: number): ConfigurationChange {
  return { kind: "remove", id };
}

/** The change is made, durable here, and accepted by every other member. */
function commit(leader: TestServer, change: ConfigurationChange): void {
  expect(leader.change(change)).toMatchObject({ kind: "accepted" });
  leader.persist();
  leader.acceptAll();
  expect(leader.status.commitIndex).toBe(leader.status.lastLogIndex);
}

describe("changes of the configuration", () => {
  test("M1: a change before the leader's own no-op is committed is refused", () => {
    const leader = new TestServer().elect();
    expect(leader.change(add(3))).toEqual({ kind: "refused", why: "notReady" });
    leader.acceptAll();
    expect(leader.change(add(3))).toEqual({ kind: "accepted", index: 2, term: 1 });
  });

  test("M1: also by the only voter, whose no-op its own disk has to hold", () => {
    const leader = new TestServer({ voters: [0] });
    leader.tick(10);
    leader.persist(1);
    expect(leader.status).toMatchObject({ role: "leader", commitIndex: 0 });
    expect(leader.change(add(1))).toEqual({ kind: "refused", why: "notReady" });
    leader.persist();
    expect(leader.change(add(1))).toMatchObject({ kind: "accepted" });
  });

  test("M1: and so is one whose voters do not know that; they could have no say in elections", () => {
    const leader = new TestServer().elect();
    for (const { to, request } of leader.takeSent()) leader.receive(to, request, accepted(1));
    expect(leader.status.commitIndex).toBe(1);
    expect(leader.change(add(3))).toEqual({ kind: "refused", why: "notReady" });
  });

  test("M2: a second change while one is uncommitted is refused", () => {
    const leader = new TestServer().lead();
    expect(leader.change(add(3))).toMatchObject({ kind: "accepted" });
    expect(leader.change(add(4))).toEqual({ kind: "refused", why: "underWay" });
    leader.persist();
    leader.acceptAll(1, 2);
    expect(leader.change(add(4))).toMatchObject({ kind: "accepted" });
  });

  test("M2: only a leader with room on its disk makes a change", () => {
    const server = new TestServer({ term: 1 });
    server.answerTo(appendEntries(1, [0, 0]));
    expect(server.change(add(3))).toEqual({ kind: "notLeader", leaderId: 1 });
    const leader = new TestServer().lead();
    leader.fillDisk();
    expect(leader.change(add(3))).toEqual({ kind: "diskFull" });
  });

  test("M2, M5: what makes no sense is refused, and the cluster is what it was", () => {
    const leader = new TestServer().lead();
    commit(leader, add(3, "a:1"));
    const refusals: readonly (readonly [ConfigurationChange, string])[] = [
      [add(2), "member"],
      [add(3), "member"],
      [add(4, "a:1"), "addressTaken"],
      [promote(9), "unknownMember"],
      [promote(2), "voter"],
      [remove(9), "unknownMember"],
    ];
    for (const [change, why] of refusals)
      expect(leader.change(change)).toEqual({ kind: "refused", why } as never);
    const alone = new TestServer({ voters: [0] }).elect();
    expect(alone.change(remove(0))).toEqual({ kind: "refused", why: "lastVoter" });
    expect(leader.status.configurationIndex).toBe(2);
  });

  test("M2: a cluster of as many servers as may be gets no other one", () => {
    const voters = Array.from({ length: MAX_MEMBERS }, (_, id) => id);
    const leader = new TestServer({ voters }).lead();
    expect(leader.change(add(MAX_MEMBERS))).toEqual({ kind: "refused", why: "tooMany" });
  });

  test("M2: a change that would leave no majority of voters that are there is refused", () => {
    const leader = new TestServer().lead();
    for (let ticks = 0; ticks < 30; ticks += 1) {
      leader.tick();
      leader.acceptAll(1);
    }
    expect(leader.change(remove(1))).toEqual({ kind: "refused", why: "noQuorum" });
    expect(leader.change(remove(2))).toMatchObject({ kind: "accepted" });
  });

  test("M3: a truncated change: the previous configuration is back", () => {
    const server = new TestServer({ term: 1 });
    const { entries, ...rest } = appendEntries(1, [0, 0], { terms: [1] });
    server.answerTo({ ...rest, entries: [...entries, configurationEntry(2, 1, members([0, 1], [2]))] });
    expect(server.status).toMatchObject({ configurationIndex: 2, configuration: members([0, 1], [2]) });
    server.answerTo(appendEntries(2, [1, 1], { terms: [2] }));
    expect(server.status).toMatchObject({ configurationIndex: 0, configuration: members([0, 1, 2]) });
    expect(server.events.filter(({ kind }) => kind === "configurationChanged")).toHaveLength(2);
    server.restart();
    expect(server.status.configurationIndex).toBe(0);
  });

  test("S5: a snapshot brings its configuration, also across a restart", () => {
    const server = new TestServer({ configuration: [] });
    expect(server.status.configuration).toEqual([]);
    server.answerTo(installSnapshot(2, [7, 2], 1, members([1, 2], [0])));
    expect(server.status).toMatchObject({ configuration: members([1, 2], [0]), configurationIndex: 7 });
    server.restart();
    expect(server.status).toMatchObject({ configuration: members([1, 2], [0]), configurationIndex: 7 });
  });
});

describe("non-voters", () => {
  test("M5: are sent the log, and count for no commit", () => {
    const leader = new TestServer().lead();
    commit(leader, add(3));
    leader.propose("a");
    leader.persist();
    const sent = leader.takeSent();
    expect(appendsIn(sent, 3)).toHaveLength(1);
    for (const { to, request } of sent) if (to === 3) leader.receive(to, request, accepted(1));
    expect(leader.status.commitIndex).toBe(2);
    for (const { to, request } of sent) if (to === 1) leader.receive(to, request, accepted(1));
    expect(leader.status.commitIndex).toBe(3);
  });

  test("M5: count for no leader either: one that hears only them steps down", () => {
    const leader = new TestServer().lead();
    commit(leader, add(3));
    for (let ticks = 0; ticks < 25; ticks += 1) {
      leader.tick();
      leader.acceptAll(3);
    }
    expect(leader.events.at(-1)).toMatchObject({ kind: "becameFollower", reason: "noQuorum" });
  });

  test("M5: stand for no election, and are not asked for votes", () => {
    const configuration = members([1, 2], [0]);
    const nonVoter = new TestServer({ configuration });
    nonVoter.tick(60);
    expect(nonVoter.status.role).toBe("follower");
    const voter = new TestServer({ id: 1, configuration });
    voter.tick(10);
    expect(voter.takeSent().map(({ to }) => to)).toEqual([2]);
  });

  test("M5, dissertation §4.2.2: vote when they are asked, for they may be voters by a longer log", () => {
    const server = new TestServer({ configuration: members([1, 2], [0]) });
    expect(server.answerTo(requestVote(1, 1, [0, 0]))).toEqual(voteReply(1, true));
  });

  test("M5: a server that knows no cluster stands for no election, and follows any leader", () => {
    const server = new TestServer({ id: 5, configuration: [] });
    server.tick(60);
    expect(server.status).toMatchObject({ role: "follower", currentTerm: 0 });
    expect(server.answerTo(appendEntries(1, [0, 0], { terms: [1] }))).toEqual(accepted(1));
    expect(server.status.leaderId).toBe(1);
  });

  test("M5, dissertation §4.2.1: are promoted only once a round of the log took less than an election timeout", () => {
    const leader = new TestServer().lead();
    expect(leader.change(add(3))).toMatchObject({ kind: "accepted" });
    leader.persist();
    leader.acceptAll(1, 2);
    expect(leader.change(promote(3))).toEqual({ kind: "refused", why: "notCaughtUp" });
    expect(leader.followers?.at(-1)).toEqual({ id: 3, matchIndex: 0, caughtUp: false, heard: false });
    // The first round, from the beginning of the log, takes longer than that.
    for (let ticks = 0; ticks < 12; ticks += 1) {
      leader.tick();
      leader.acceptAll(1, 2);
    }
    leader.tick(3);
    leader.acceptAll();
    expect(leader.followers?.at(-1)).toMatchObject({
      id: 3,
      matchIndex: 2,
      caughtUp: false,
      heard: true,
    });
    leader.tick(3);
    leader.acceptAll();
    expect(leader.followers?.at(-1)).toMatchObject({ id: 3, caughtUp: true });
    expect(leader.change(promote(3))).toMatchObject({ kind: "accepted" });
    expect(leader.status.configuration).toEqual(members([0, 1, 2, 3]));
  });
});

describe("removed servers", () => {
  test("M4: a removed leader goes on, uncounted, and steps down once the change commits", () => {
    const leader = new TestServer().lead();
    expect(leader.change(remove(0))).toMatchObject({ kind: "accepted" });
    leader.persist();
    leader.acceptAll(1);
    expect(leader.status).toMatchObject({ role: "leader", commitIndex: 1 });
    leader.tick(3);
    leader.acceptAll(1, 2);
    expect(leader.events.slice(-2)).toEqual([
      { kind: "transferStarted", term: 1, to: 1 },
      { kind: "becameFollower", term: 1, reason: "removed" },
    ]);
    leader.tick(60);
    expect(leader.status).toMatchObject({ role: "follower", currentTerm: 1 });
  });

  test("M4: what was proposed after the change is committed first; nothing more is taken", () => {
    const leader = new TestServer().lead();
    leader.change(remove(0));
    leader.persist();
    const change = leader.takeSent();
    leader.propose("a");
    leader.persist();
    const command = leader.takeSent();
    for (const { to, request } of change) leader.receive(to, request, accepted(1));
    expect(leader.status).toMatchObject({ role: "leader", commitIndex: 2, transferTo: 1 });
    expect(leader.propose("b")).toBe(false);
    for (const { to, request } of command) leader.receive(to, request, accepted(1));
    expect(leader.status).toMatchObject({ role: "follower", commitIndex: 3, lastLogIndex: 3 });
  });

  test("M4, dissertation §4.2.2: one stands while its removal may be undone, and does not count its own vote", () => {
    const log = [...logOf(1), configurationEntry(2, 1, members([1, 2]))];
    const server = new TestServer({ log });
    server.tick(10);
    const calls = server.takeSent();
    expect(calls.map(({ to }) => to)).toEqual([1, 2]);
    for (const { to, request } of calls.slice(0, 1)) server.receive(to, request, voteReply(2, true));
    expect(server.status.role).toBe("preCandidate");
    for (const { to, request } of calls.slice(1)) server.receive(to, request, voteReply(2, true));
    expect(server.status.role).toBe("candidate");
    const told = new TestServer({ log });
    told.answerTo(appendEntries(1, [2, 1], { leaderCommit: 2 }));
    told.tick(60);
    expect(told.status.role).toBe("follower");
  });

  test("M4: a removed one is sent nothing, and its late answers count for nothing", () => {
    const leader = new TestServer({ voters: [0, 1, 2, 3] }).lead();
    leader.propose("a");
    leader.persist();
    const sent = leader.takeSent();
    for (const { to, request } of sent) if (to === 1) leader.receive(to, request, accepted(1));
    leader.change(remove(3));
    leader.persist();
    for (const { to, request } of sent) if (to === 3) leader.receive(to, request, accepted(1));
    expect(leader.status.commitIndex).toBe(2);
    leader.takeSent();
    leader.tick(3);
    expect(new Set(leader.takeSent().map(({ to }) => to))).toEqual(new Set([1, 2]));
  });

  test("M4, Raft §5.4.1: one that joins anew has no say until it holds what was committed when it asked", () => {
    const hardState = { currentTerm: 3, votedFor: 0, abstainsThrough: 0, abstainsTo: 2 };
    const server = new TestServer({ configuration: [], hardState });
    expect(server.status.abstains).toBe(true);
    expect(server.answerTo(requestVote(4, 1, [9, 3]))).toEqual(voteReply(4, false));
    server.answerTo(appendEntries(4, [0, 0], { terms: [1], leaderCommit: 9 }));
    server.restart();
    expect(server.answerTo(requestVote(5, 1, [9, 3]))).toEqual(voteReply(5, false));
    server.answerTo(appendEntries(5, [1, 1], { terms: [3], leaderCommit: 9 }));
    expect(server.disk.hardState).toEqual({ currentTerm: 5, votedFor: null, abstainsThrough: 0 });
    expect(server.answerTo(requestVote(6, 1, [9, 3]))).toEqual(voteReply(6, true));
  });
});
