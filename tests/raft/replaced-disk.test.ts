import { describe, expect, test } from "bun:test";
import { hardStateAfterLoss } from "../../src/raft/hard-state.ts";
import { Cluster } from "./cluster.ts";
import { TestServer } from "./harness.ts";
import {
  accepted,
  appendEntries,
  installReply,
  installSnapshot,
  refused,
  requestVote,
  voteReply,
} from "./raft-values.ts";

/** Made anew when term 4 was the latest that anyone had seen. */
const madeAnew = () => new TestServer({ hardState: hardStateAfterLoss(4, 0) });

describe("P9: a server that was made anew", () => {
  test("P9: grants no vote and no pre-vote, in no term, and does not stand", () => {
    const server = madeAnew();
    expect(server.answerTo(requestVote(5, 2, [9, 4]))).toEqual(voteReply(5, false));
    expect(server.answerTo(requestVote(8, 2, [9, 7]))).toEqual(voteReply(8, false));
    expect(server.answerTo(requestVote(9, 2, [9, 7], { preVote: true }))).toEqual(voteReply(8, false));
    server.tick(100);
    expect(server.status).toMatchObject({ role: "follower", votedFor: null, abstains: true });
    expect(server.takeSent()).toEqual([]);
  });

  test("P9: answers leaders of the past with its term, and follows later ones", () => {
    const server = madeAnew();
    expect(server.answerTo(appendEntries(4, [0, 0], { terms: [1] }))).toEqual(refused(5));
    expect(server.answerTo(appendEntries(6, [0, 0], { terms: [1, 4] }))).toEqual(accepted(6));
  });

  test("P9: votes again when an entry of a later term is committed and durable here, and has saved that it does", () => {
    const server = madeAnew();
    server.answerTo(appendEntries(6, [0, 0], { terms: [1, 4], leaderCommit: 2 }));
    server.answerTo(appendEntries(6, [2, 4], { terms: [6], leaderCommit: 2 }));
    expect(server.disk.hardState.abstainsThrough).toBe(4);
    server.ask(appendEntries(6, [3, 6], { terms: [6], leaderCommit: 4 }));
    expect(server.events.at(-1)).toEqual({ kind: "votesAgain", term: 6 });
    expect(server.status.abstains).toBe(true);
    const vote = server.ask(requestVote(7, 2, [4, 6]));
    expect(server.replies.get(vote)).toBeUndefined();
    server.persist();
    expect(server.replies.get(vote)).toEqual(voteReply(7, true));
    expect(server.disk.hardState).toEqual({ currentTerm: 7, votedFor: 2, abstainsThrough: 0 });
    expect(server.status.abstains).toBe(false);
  });

  test("P9: says that it abstains until a crash cannot make it abstain again, and no longer", () => {
    const server = madeAnew();
    server.ask(appendEntries(6, [0, 0], { terms: [6], leaderCommit: 1 }));
    server.persist(1);
    expect(server.events.at(-1)).toEqual({ kind: "votesAgain", term: 6 });
    server.restart();
    expect(server.status.abstains).toBe(true);
    server.answerTo(appendEntries(6, [1, 6], { leaderCommit: 1 }));
    server.persist();
    expect(server.status.abstains).toBe(false);
    server.ask(requestVote(7, 2, [4, 6]));
    expect(server.status.abstains).toBe(false);
    server.restart();
    expect(server.status.abstains).toBe(false);
  });

  test("P9: the first term after those of the others may have a leader that it lost nothing to", () => {
    const server = madeAnew();
    server.answerTo(appendEntries(5, [0, 0], { terms: [4, 5], leaderCommit: 2 }));
    server.persist();
    expect(server.disk.hardState).toEqual({ currentTerm: 5, votedFor: 0, abstainsThrough: 0 });
  });

  test("P9: where nobody has left term 0 nothing was forgotten, and it does not abstain", () => {
    const server = new TestServer({ hardState: hardStateAfterLoss(0, 0) });
    expect(server.status).toMatchObject({ currentTerm: 1, votedFor: 0, abstains: false });
    expect(server.answerTo(requestVote(1, 2, [0, 0]))).toEqual(voteReply(1, false));
  });

  test("P9: what is committed and not durable here does not count yet", () => {
    const server = madeAnew();
    server.answerTo(appendEntries(6, [0, 0]));
    server.ask(appendEntries(6, [0, 0], { terms: [1, 6], leaderCommit: 2 }));
    expect(server.status.commitIndex).toBe(2);
    expect(server.events.map(({ kind }) => kind)).not.toContain("votesAgain");
    server.persist();
    expect(server.events.at(-1)).toEqual({ kind: "votesAgain", term: 6 });
  });

  test("P9: a snapshot counts as what it stands for", () => {
    const server = madeAnew();
    expect(server.answerTo(installSnapshot(6, [20, 4]))).toEqual(installReply(6, true));
    expect(server.disk.hardState.abstainsThrough).toBe(4);
    expect(server.answerTo(installSnapshot(6, [30, 6]))).toEqual(installReply(6, true));
    server.persist();
    expect(server.disk.hardState.abstainsThrough).toBe(0);
  });

  test("P9, E1: it abstains across restarts and new terms", () => {
    const server = madeAnew();
    server.answerTo(requestVote(8, 2, [9, 7]));
    server.restart();
    expect(server.disk.hardState).toEqual({ currentTerm: 8, votedFor: null, abstainsThrough: 4 });
    expect(server.answerTo(requestVote(9, 2, [9, 7]))).toEqual(voteReply(9, false));
  });

  test("P9: the cluster replaces its leader, brings the server back in line, and nothing committed is lost", () => {
    const cluster = new Cluster({ size: 3 });
    const leader = cluster.elect();
    const [lost, behind] = cluster.servers.filter(({ id }) => id !== leader.id);
    if (lost === undefined || behind === undefined) throw new Error("three servers");
    cluster.isolate(behind.id);
    cluster.propose(leader.id, "a", "b");
    cluster.settle();
    expect(leader.status.commitIndex).toBe(3);
    cluster.compact(leader.id, 3);
    cluster.crash(lost.id);
    cluster.replaceDisk(lost.id);
    cluster.healLinks();
    cluster.restart(lost.id);
    const votes = () => lost.disk.hardState.abstainsThrough === 0;
    cluster.runUntil(votes, 200);
    expect(cluster.leader?.id).toBe(leader.id);
    expect(lost.appliedIndex).toBeGreaterThan(3);
    cluster.crash(leader.id);
    cluster.runUntil(() => cluster.leader !== null, 200);
  });
});
