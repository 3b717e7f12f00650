import { describe, expect, test } from "bun:test";
import { TestServer } from "./harness.ts";
import {
  accepted,
  appendEntries,
  appendsIn,
  command,
  installReply,
  installSnapshot,
  logOf,
  noRoom,
  requestVote,
  shapeOf,
  voteReply,
} from "./raft-values.ts";

/** Ticks; those of its followers that are here answer, with room or without. */
function tickWith(leader: TestServer, ticks: number, room: Readonly<Record<number, boolean>>): void {
  for (let i = 0; i < ticks; i += 1) {
    leader.tick();
    for (const { to, request } of leader.takeSent()) {
      const hasRoom = room[to];
      if (hasRoom === undefined || request.kind !== "appendEntries") continue;
      const took = hasRoom || request.entries.length === 0;
      leader.receive(
        to,
        request,
        took ? { ...accepted(request.term), diskFull: !hasRoom } : noRoom(request.term),
      );
    }
  }
}

describe("P6: a server whose disk is full", () => {
  test("P6: acknowledges nothing that it cannot save, and says so at once; heartbeats are answered", () => {
    const server = new TestServer({ term: 1 });
    server.fillDisk();
    const entries = server.ask(appendEntries(1, [0, 0], { terms: [1] }));
    const heartbeat = server.ask(appendEntries(1, [0, 0]));
    const snapshot = server.ask(installSnapshot(1, [9, 1]));
    expect(server.replies.get(entries)).toEqual(noRoom(1));
    expect(server.replies.get(heartbeat)).toEqual({ ...accepted(1), diskFull: true });
    expect(server.replies.get(snapshot)).toEqual(installReply(1, false));
    expect(server.disk.pendingCount).toBe(2);
  });

  test("P6: refuses what has been waiting for the disk when that becomes full", () => {
    const server = new TestServer({ term: 1 });
    const rpc = server.ask(appendEntries(1, [0, 0], { terms: [1] }));
    server.fillDisk();
    expect(server.replies.get(rpc)).toEqual(noRoom(1));
    server.makeRoom();
    expect(server.answerTo(appendEntries(1, [0, 0], { terms: [1] }))).toEqual(accepted(1));
  });

  test("P6, Raft figure 2: answers nothing in a term, and gives no vote, that it could not save", () => {
    const server = new TestServer({ term: 1 });
    server.fillDisk();
    const append = server.ask(appendEntries(2, [0, 0]));
    const vote = server.ask(requestVote(3, 2, [0, 0]));
    expect(server.replies.size).toBe(0);
    server.makeRoom();
    expect(server.replies.get(vote)).toEqual(voteReply(3, true));
    expect(server.replies.get(append)).toMatchObject({ term: 3, success: false });
  });

  test("P6: stands for election, but only when those with room have had their time, and promises its vote", () => {
    const server = new TestServer({ term: 1 });
    server.answerTo(appendEntries(1, [0, 0]));
    server.fillDisk();
    server.tick(20);
    expect(server.status).toMatchObject({ role: "follower", currentTerm: 1, diskFull: true });
    expect(server.answerTo(requestVote(2, 2, [9, 1], { preVote: true }))).toEqual(voteReply(2, true));
    server.tick(20);
    expect(server.status).toMatchObject({ role: "preCandidate", currentTerm: 1, diskFull: true });
  });

  test("P6, E2: goes on with its candidacy, and asks for votes when it could save its own", () => {
    const server = new TestServer();
    server.tick(10);
    const calls = server.takeSent();
    server.fillDisk();
    for (const { to, request } of calls) server.receive(to, request, voteReply(1, true));
    expect(server.status).toMatchObject({ role: "candidate", currentTerm: 1 });
    expect(server.takeSent()).toEqual([]);
    server.makeRoom();
    expect(server.takeSent().map(({ request }) => request.kind)).toEqual(["requestVote", "requestVote"]);
  });

  test("P6: takes no proposals", () => {
    const leader = new TestServer().lead();
    leader.fillDisk();
    expect(leader.turn((raft) => raft.propose(command("a")))).toEqual({ kind: "diskFull" });
    leader.makeRoom();
    expect(leader.propose("a")).toBe(true);
  });

  test("P6, P9: and neither does it compact in vain: what waits is done in order when there is room", () => {
    const server = new TestServer({ voters: [0] });
    server.tick(10);
    server.persist();
    server.propose("a");
    server.persist();
    server.fillDisk();
    server.compact(1);
    expect(server.disk.snapshot.index).toBe(0);
    server.makeRoom();
    expect(server.disk).toMatchObject({ snapshot: { index: 2 }, base: { index: 1 } });
  });
});

describe("P6: a leader whose disk is full", () => {
  test("P6, dissertation §3.10: makes way when others with room, heard since it leads, are a majority", () => {
    const leader = new TestServer({ voters: [0, 1, 2, 3, 4] }).elect();
    leader.acceptAll(1, 2);
    leader.fillDisk();
    tickWith(leader, 9, { 1: true, 2: true, 3: false });
    expect(leader.status.role).toBe("leader");
    tickWith(leader, 4, { 1: true, 2: true, 3: true });
    expect(leader.events.at(-1)).toEqual({ kind: "transferStarted", term: 1, to: 1 });
    expect(leader.status).toMatchObject({ role: "leader", transferTo: 1 });
    // Whoever it asks may have reason not to take over: then any of the others may.
    tickWith(leader, 20, { 1: true, 2: true, 3: true });
    expect(leader.events.slice(-2)).toEqual([
      { kind: "transferFailed", term: 1, to: 1 },
      { kind: "becameFollower", term: 1, reason: "diskFull" },
    ]);
  });

  test("P6: leads on while the others are full as well, or are not heard", () => {
    const leader = new TestServer().lead();
    tickWith(leader, 3, { 1: false, 2: false });
    leader.fillDisk();
    tickWith(leader, 60, { 1: false, 2: false });
    expect(leader.status.role).toBe("leader");
    const alone = new TestServer({ voters: [0] });
    alone.tick(10);
    alone.persist();
    alone.fillDisk();
    alone.tick(60);
    expect(alone.status.role).toBe("leader");
  });
});

describe("P6: a leader whose follower has no room", () => {
  test("P6, I4: sends it one batch a heartbeat, from where it was, and no less once it has room", () => {
    const leader = new TestServer({ options: { maxBatchEntries: 1 } }).lead();
    leader.propose("a", "b", "c", "d");
    leader.persist();
    const full = appendsIn(leader.takeSent(), 2);
    expect(full.map(shapeOf)).toEqual(["1+1", "2+1", "3+1", "4+1"]);
    for (const request of full) leader.receive(2, request, noRoom(1));
    expect(appendsIn(leader.takeSent(), 2)).toEqual([]);
    for (let heartbeat = 0; heartbeat < 4; heartbeat += 1) {
      leader.tick(3);
      const sent = appendsIn(leader.takeSent(), 2);
      expect(sent.map(shapeOf)).toEqual(["1+0", "1+1"]);
      for (const request of sent) {
        leader.receive(
          2,
          request,
          request.entries.length === 0 ? { ...accepted(1), diskFull: true } : noRoom(1),
        );
      }
      expect(appendsIn(leader.takeSent(), 2)).toEqual([]);
    }
    leader.tick(3);
    for (const request of appendsIn(leader.takeSent(), 2)) leader.receive(2, request, accepted(1));
    expect(appendsIn(leader.takeSent(), 2).map(shapeOf)).toEqual(["2+1", "3+1", "4+1"]);
  });

  test("P6, R10: takes its refusal for no sign of where the logs part", () => {
    const leader = new TestServer({ log: logOf(1, 1, 1) }).elect();
    for (const request of appendsIn(leader.takeSent(), 2)) leader.receive(2, request, noRoom(2));
    leader.tick(3);
    expect(appendsIn(leader.takeSent(), 2).map(shapeOf)).toEqual(["0+0", "3+1"]);
  });
});
