import { describe, expect, test } from "bun:test";
import type { OutgoingRequest } from "../../src/raft/batch.ts";
import type { InstallSnapshot } from "../../src/raft/message.ts";
import { TestServer } from "./harness.ts";
import {
  accepted,
  appendEntries,
  appendsIn,
  entriesOf,
  installReply,
  installSnapshot,
  logOf,
  refused,
  requestVote,
  shapeOf,
  voteReply,
} from "./raft-values.ts";

/** Leads term 1; follower 1 has the whole log, follower 2 answered none of it; entries up to 5 are gone. */
function leaderThatCompacted(): TestServer {
  const leader = new TestServer().elect();
  leader.propose("a", "b", "c", "d", "e");
  leader.persist();
  leader.acceptAll(1);
  expect(leader.compact(5)).toBe(true);
  leader.persist();
  leader.tick(3);
  return leader;
}

function snapshotsIn(requests: readonly OutgoingRequest<string>[]): readonly InstallSnapshot[] {
  return requests.map(({ request }) => request).filter((request) => request.kind === "installSnapshot");
}

/** The InstallSnapshot that it has just sent. */
function takeSnapshotSent(leader: TestServer): InstallSnapshot {
  const [request, ...others] = snapshotsIn(leader.takeSent());
  if (request === undefined || others.length > 0) throw new Error("not one snapshot was sent");
  return request;
}

/** A follower whose log begins after entry 5. */
const makeWithBase = () => new TestServer({ base: { index: 5, term: 2 }, log: entriesOf(5, 2) });

describe("compaction", () => {
  test("S2: a snapshot and what goes for it are one write, in the order of the others", () => {
    const server = new TestServer({ voters: [0] });
    server.tick(10);
    server.persist();
    server.turn((raft) => {
      raft.propose({ kind: "command", command: "a", byteLength: 1 });
      raft.compact({ index: 1, term: 1 }, 1);
    });
    expect(server.batches.at(-1)?.persist?.writes).toMatchObject([
      { kind: "append" },
      { kind: "compact", snapshot: { index: 1, term: 1 }, through: 1 },
    ]);
    expect(server.status).toMatchObject({ snapshotIndex: 1, firstLogIndex: 2, lastLogIndex: 2 });
    expect(server.events.at(-1)).toEqual({ kind: "compacted", through: 1, snapshotIndex: 1 });
  });

  test("S3: a snapshot that is not newer than the last is no news, also one that an install has overtaken", () => {
    const server = new TestServer({ log: logOf(1, 1, 1) });
    server.answerTo(appendEntries(1, [3, 1], { leaderCommit: 3 }));
    expect([server.compact(1, 2), server.compact(2, 2), server.compact(1, 1)]).toEqual([true, false, false]);
    server.answerTo(installSnapshot(2, [9, 2]));
    expect(server.compact(3, 3)).toBe(false);
    expect(server.status).toMatchObject({ snapshotIndex: 9, firstLogIndex: 10 });
  });

  test("S2: what a slow follower may need stays; a later snapshot that keeps more brings nothing back", () => {
    const server = new TestServer({ log: logOf(1, 1, 1, 1) });
    server.answerTo(appendEntries(1, [4, 1], { leaderCommit: 4 }));
    server.compact(2, 3);
    server.compact(-4096, 4);
    server.persist();
    expect(server.status).toMatchObject({ snapshotIndex: 4, firstLogIndex: 3 });
    expect(server.batches.at(-2)?.persist?.writes).toMatchObject([{ kind: "compact", through: 2 }]);
    expect(server.disk.entries).toEqual([...entriesOf(2, 1, 1)]);
  });

  test("S2: what is not applied is in no snapshot, and what is in none does not go: both are bugs", () => {
    const server = new TestServer({ log: logOf(1, 1, 1) });
    server.answerTo(appendEntries(1, [3, 1], { leaderCommit: 2 }));
    expect(() => server.compact(1, 3)).toThrow("has not been applied");
    expect(() => server.compact(2, 1)).toThrow("cannot go");
  });

  test("S1: killed before it is durable, the server has the old snapshot and its log; after it, the new one", () => {
    for (const durable of [false, true]) {
      const server = new TestServer({ base: { index: 2, term: 1 }, log: entriesOf(2, 1, 1) });
      server.answerTo(appendEntries(1, [4, 1], { leaderCommit: 4 }));
      server.compact(4);
      if (durable) server.persist();
      server.restart();
      expect(server.status).toMatchObject(
        durable
          ? { snapshotIndex: 4, firstLogIndex: 5, lastLogIndex: 4, commitIndex: 4, durableIndex: 4 }
          : { snapshotIndex: 2, firstLogIndex: 3, lastLogIndex: 4, commitIndex: 2, durableIndex: 4 },
      );
    }
  });

  test("E3, Raft §5.4.1: a log of which nothing is left ends where its snapshot does", () => {
    const server = new TestServer({ base: { index: 5, term: 3 } });
    expect(server.answerTo(requestVote(4, 2, [9, 2]))).toEqual(voteReply(4, false));
    expect(server.answerTo(requestVote(4, 2, [4, 3]))).toEqual(voteReply(4, false));
    expect(server.answerTo(requestVote(4, 2, [5, 3]))).toEqual(voteReply(4, true));
  });
});

describe("a leader whose follower needs what is gone", () => {
  test("R7, Raft §7: sends its newest snapshot, once, and nothing else but heartbeats until that is answered", () => {
    const leader = leaderThatCompacted();
    expect(takeSnapshotSent(leader)).toEqual(installSnapshot(1, [6, 1], 0));
    leader.propose("f");
    leader.persist();
    leader.tick(6);
    const sent = leader.takeSent();
    expect(snapshotsIn(sent)).toEqual([]);
    expect(appendsIn(sent, 2).map(shapeOf)).toEqual(["0+0", "0+0"]);
  });

  test("R7, Raft §7: goes on after the snapshot when that is installed", () => {
    const leader = leaderThatCompacted();
    const request = takeSnapshotSent(leader);
    leader.propose("f");
    leader.persist();
    leader.takeSent();
    leader.receive(2, request, installReply(1, true));
    expect(appendsIn(leader.takeSent(), 2).map(shapeOf)).toEqual(["6+1"]);
    expect(leader.status.commitIndex).toBe(6);
  });

  test("S6: a transfer that fails starts anew with the next heartbeat, not before, with the newest snapshot", () => {
    for (const how of ["lost", "refused"] as const) {
      const leader = leaderThatCompacted();
      const sent = leader.takeSent();
      const [request] = snapshotsIn(sent);
      const [heartbeat] = appendsIn(sent, 2);
      if (request === undefined || heartbeat === undefined) throw new Error("nothing was sent");
      leader.propose("f");
      leader.persist();
      leader.acceptAll(1);
      leader.compact(7);
      if (how === "lost") leader.lose(2, request);
      else leader.receive(2, request, installReply(1, false));
      leader.receive(2, heartbeat, accepted(1));
      expect(snapshotsIn(leader.takeSent())).toEqual([]);
      leader.tick(3);
      expect(takeSnapshotSent(leader).snapshot).toEqual({ index: 7, term: 1 });
    }
  });

  test("S6: whatever was under way before is of no account beside the snapshot", () => {
    const leader = new TestServer({ options: { maxBatchEntries: 1, maxInflight: 3 } }).lead();
    leader.propose("a", "b", "c", "d");
    leader.persist();
    const sent = leader.takeSent();
    const [first, second, third, ...others] = appendsIn(sent, 2);
    if (first === undefined || second === undefined || third === undefined) throw new Error("none were sent");
    expect(others).toEqual([]);
    for (const request of appendsIn(sent, 1)) leader.receive(1, request, accepted(1));
    leader.acceptAll(1);
    leader.compact(leader.appliedIndex);
    leader.receive(2, first, accepted(1));
    const request = takeSnapshotSent(leader);
    leader.receive(2, second, refused(1, [2, 1]));
    leader.lose(2, third);
    leader.tick(6);
    expect(snapshotsIn(leader.takeSent())).toEqual([]);
    leader.receive(2, request, installReply(1, true));
    leader.propose("e");
    expect(appendsIn(leader.takeSent(), 2).map(shapeOf)).toEqual(["5+0", "5+1"]);
  });

  test("S6: a snapshot that is answered when more has been compacted is followed by the newer one", () => {
    const leader = leaderThatCompacted();
    const request = takeSnapshotSent(leader);
    leader.propose("f", "g");
    leader.persist();
    leader.acceptAll(1);
    leader.compact(8);
    leader.takeSent();
    leader.receive(2, request, installReply(1, true));
    expect(takeSnapshotSent(leader).snapshot).toEqual({ index: 8, term: 1 });
  });

  test("S3: a second answer, or one to an earlier leadership, changes nothing", () => {
    const leader = leaderThatCompacted();
    const request = takeSnapshotSent(leader);
    leader.receive(2, request, installReply(1, true));
    leader.receive(2, request, installReply(1, false));
    leader.lose(2, request);
    leader.receive(2, { ...request, term: 0 }, installReply(1, true));
    leader.propose("f");
    expect(appendsIn(leader.takeSent(), 2).map(shapeOf)).toEqual(["6+0", "6+1"]);
  });

  test("E5: a higher term in the answer makes it step down", () => {
    const leader = leaderThatCompacted();
    leader.receive(2, takeSnapshotSent(leader), installReply(7, false));
    expect(leader.status).toMatchObject({ role: "follower", currentTerm: 7 });
  });

  test("E8, S6: a follower that answers heartbeats keeps the leader, however long its transfer takes", () => {
    const leader = leaderThatCompacted();
    for (let tick = 0; tick < 60; tick += 1) {
      leader.tick();
      for (const { to, request } of leader.takeSent()) {
        if (to === 2 && request.kind === "appendEntries") leader.receive(2, request, accepted(1));
      }
    }
    expect(leader.status.role).toBe("leader");
  });

  test("S6: an election ends the transfer; the next leadership begins with a probe", () => {
    const leader = leaderThatCompacted();
    const request = takeSnapshotSent(leader);
    leader.ask(appendEntries(2, [6, 1]));
    leader.persist();
    leader.elect();
    leader.takeSent();
    leader.receive(2, request, installReply(1, true));
    leader.tick(3);
    expect(snapshotsIn(leader.takeSent())).toEqual([]);
  });
});

describe("a follower that is given a snapshot", () => {
  test("S4, Raft figure 13: takes it in place of its state and its whole log, and answers when it is durable", () => {
    const server = new TestServer({ log: logOf(1, 1, 1), term: 1 });
    const rpc = server.ask(installSnapshot(2, [7, 2]));
    expect(server.batches.at(-1)).toMatchObject({ install: { index: 7, term: 2 }, committed: [] });
    expect(server.status).toMatchObject({
      leaderId: 1,
      commitIndex: 7,
      snapshotIndex: 7,
      firstLogIndex: 8,
      lastLogIndex: 7,
      durableIndex: 0,
    });
    expect(server.replies.get(rpc)).toBeUndefined();
    server.persist();
    expect(server.replies.get(rpc)).toEqual(installReply(2, true));
    expect(server.status.durableIndex).toBe(7);
    expect(server.disk).toMatchObject({ entries: [], snapshot: { index: 7, term: 2 } });
  });

  test("S4: in the turn of an install, only what follows the snapshot is handed out", () => {
    const server = new TestServer({ log: logOf(1, 1, 1, 1), term: 1 });
    server.turn((raft) => {
      server.feed(raft, appendEntries(1, [4, 1], { leaderCommit: 4 }));
      server.feed(raft, installSnapshot(1, [7, 1]));
      server.feed(raft, appendEntries(1, [7, 1], { terms: [1, 1], leaderCommit: 8 }));
    });
    expect(server.batches.at(-1)).toMatchObject({ install: { index: 7 }, committed: [{ index: 8 }] });
    expect(server.appliedIndex).toBe(8);
    server.persist();
    expect(server.disk.entries).toEqual([...entriesOf(7, 1, 1)]);
  });

  test("R8, S4: a late fsync of the log before an install acknowledges nothing after it", () => {
    const server = new TestServer({ term: 1 });
    const old = server.ask(appendEntries(1, [0, 0], { terms: [1, 1, 1], leaderCommit: 1 }));
    const install = server.ask(installSnapshot(2, [2, 2]));
    const after = server.ask(appendEntries(2, [2, 2], { terms: [2] }));
    server.persist(1);
    expect(server.status.durableIndex).toBe(1);
    expect(server.replies.size).toBe(0);
    server.persist(1);
    expect(server.replies.get(install)).toEqual(installReply(2, true));
    expect(server.replies.get(old)).toEqual(refused(2));
    expect(server.replies.get(after)).toBeUndefined();
    server.persist(1);
    expect(server.replies.get(after)).toEqual(accepted(2));
  });

  test("S4: an answer that waits when the snapshot comes is given when what it claims is durable", () => {
    const server = new TestServer({ term: 1 });
    const held = server.ask(appendEntries(1, [0, 0], { terms: [1, 1] }));
    const install = server.ask(installSnapshot(1, [5, 1]));
    server.persist(1);
    expect([server.replies.get(held), server.replies.get(install)]).toEqual([accepted(1), undefined]);
    server.persist(1);
    expect(server.replies.get(install)).toEqual(installReply(1, true));
  });

  test("S3: what the log holds is committed, nothing is installed, and the answer waits for the log's own fsync", () => {
    const server = new TestServer({ term: 1 });
    server.ask(appendEntries(1, [0, 0], { terms: [1, 1, 1] }));
    const rpc = server.ask(installSnapshot(1, [2, 1]));
    expect(server.batches.at(-1)).toMatchObject({ install: null, committed: [{ index: 1 }, { index: 2 }] });
    expect(server.status).toMatchObject({ lastLogIndex: 3, commitIndex: 2, snapshotIndex: 0 });
    expect(server.replies.get(rpc)).toBeUndefined();
    server.persist();
    expect(server.replies.get(rpc)).toEqual(installReply(1, true));
  });

  test("S3, E4: one of an old term is refused, and the election timer runs on", () => {
    const server = new TestServer({ term: 2 });
    server.tick(9);
    expect(server.answerTo(installSnapshot(1, [5, 1]))).toEqual(installReply(2, false));
    server.tick();
    expect(server.status).toMatchObject({ role: "preCandidate", snapshotIndex: 0 });
  });

  test("E5, Raft §5.2: its sender is this term's leader: candidates follow it, a leader refuses it loudly", () => {
    const candidate = new TestServer({ term: 1 });
    candidate.tick(10);
    expect(candidate.answerTo(installSnapshot(1, [5, 1]))).toEqual(installReply(1, true));
    expect(candidate.status).toMatchObject({ role: "follower", leaderId: 1 });
    const leader = new TestServer().lead();
    expect(leader.answerTo(installSnapshot(1, [5, 1]))).toEqual(installReply(1, false));
    expect(leader.events.at(-1)).toMatchObject({ kind: "refused", leaderId: 1 });
  });

  test("S1, S4: killed at any moment of an install, it has the old state or the new one, and never a mixture", () => {
    for (let count = 0; count <= 3; count += 1) {
      const server = new TestServer({ base: { index: 2, term: 1 }, log: entriesOf(2, 1, 1) });
      server.ask(appendEntries(1, [4, 1], { terms: [1], leaderCommit: 3 }));
      server.ask(installSnapshot(2, [9, 2]));
      server.ask(appendEntries(2, [9, 2], { terms: [2] }));
      if (count > 0) server.persist(count);
      server.restart();
      const last = [4, 5, 9, 10][count];
      const first = count < 2 ? { firstLogIndex: 3, commitIndex: 2 } : { firstLogIndex: 10, commitIndex: 9 };
      expect(server.status).toMatchObject({ lastLogIndex: last, ...first });
      expect(server.appliedIndex).toBe(server.status.snapshotIndex);
    }
  });
});

describe("an AppendEntries from below the base", () => {
  test("S4: what lies below is here; the rest is taken", () => {
    const server = makeWithBase();
    expect(server.answerTo(appendEntries(2, [3, 1], { terms: [2, 2, 2, 2] }))).toEqual(accepted(2));
    expect(server.log).toEqual([...entriesOf(5, 2, 2)]);
    expect(server.answerTo(appendEntries(2, [1, 1], { terms: [1] }))).toEqual(accepted(2));
    expect(server.answerTo(appendEntries(2, [0, 0], { leaderCommit: 7 }))).toEqual(accepted(2));
    expect(server.status).toMatchObject({ commitIndex: 5, lastLogIndex: 7 });
  });

  test("R6: what contradicts the snapshot is refused, loudly", () => {
    for (const request of [
      appendEntries(3, [3, 1], { terms: [1, 1] }),
      appendEntries(3, [5, 1], { terms: [3] }),
      appendEntries(3, [6, 1]),
    ]) {
      const server = makeWithBase();
      expect(server.answerTo(request)).toEqual(refused(3));
      expect(server.events.at(-1)).toMatchObject({ kind: "refused" });
      expect(server.log).toEqual([...entriesOf(5, 2)]);
    }
  });

  test("R10: a hint never leads below the base, where everything matches", () => {
    const server = makeWithBase();
    expect(server.answerTo(appendEntries(3, [6, 3]))).toEqual(refused(3, [6, 2]));
    expect(server.answerTo(appendEntries(3, [9, 3]))).toEqual(refused(3, [7, 0]));
  });
});
