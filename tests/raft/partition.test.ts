import { describe, expect, test } from "bun:test";
import type { ServerId } from "../../src/raft/entry.ts";
import { Cluster, type Message } from "./cluster.ts";
import type { TestServer } from "./harness.ts";
import { logOf } from "./raft-values.ts";
import { SeededRandom } from "./random.ts";

/** Longest election timeout in ticks, as in testOptions. */
const TIMEOUT_TICKS = 20;

/** Ids of all servers but `server`. */
function othersOf(cluster: Cluster, server: TestServer): readonly [number, number, ...number[]] {
  const [a, b, ...rest] = cluster.servers.map(({ id }) => id).filter((id) => id !== server.id);
  if (a === undefined || b === undefined) throw new Error("at least three servers");
  return [a, b, ...rest];
}

describe("elections among several", () => {
  for (const size of [1, 2, 3, 5, 7]) {
    test(`Raft §5.2: ${size} servers elect one leader, who stays, and all apply what it is given`, () => {
      const cluster = new Cluster({ size });
      const leader = cluster.elect();
      const { currentTerm } = leader.status;
      cluster.propose(leader.id, "a", "b");
      cluster.run(10 * TIMEOUT_TICKS);
      for (const server of cluster.servers) {
        expect(server.status).toMatchObject({ currentTerm, leaderId: leader.id, commitIndex: 3 });
        expect(server.committed).toEqual([...leader.log]);
      }
      expect(cluster.checker.leaderCount).toBe(1);
    });
  }

  test("E10, Raft §5.2: repeated split votes converge, by timeouts that differ", () => {
    for (let seed = 1; seed <= 50; seed += 1) {
      const random = new SeededRandom(seed);
      // All five time out together at first, so term 1 is a split vote.
      let together = 5;
      const randomInt = (min: number, max: number): number => {
        together -= 1;
        return together >= 0 ? min : random.int(min, max);
      };
      const cluster = new Cluster({ size: 5, options: { randomInt } });
      cluster.runUntil(() => cluster.leader !== null, 10 * TIMEOUT_TICKS);
      expect(cluster.leader?.status.currentTerm).toBeGreaterThan(1);
    }
  });

  test("R2, Raft §8: a new leader learns what is committed, and the rest of the cluster with it", () => {
    const cluster = new Cluster({ size: 3, servers: [0, 1, 2].map(() => ({ log: logOf(1, 1, 2) })) });
    cluster.elect();
    for (const { status } of cluster.servers) expect(status.commitIndex).toBe(4);
  });
});

describe("partitions", () => {
  test("E7: a server that comes back from isolation brings no higher term, and the leader stays", () => {
    const cluster = new Cluster({ size: 3 });
    const leader = cluster.elect();
    const { currentTerm } = leader.status;
    const [away] = othersOf(cluster, leader);
    cluster.isolate(away);
    cluster.run(20 * TIMEOUT_TICKS);
    expect(cluster.server(away).status).toMatchObject({ role: "preCandidate", currentTerm });
    cluster.propose(leader.id, "a");
    cluster.healLinks();
    cluster.run(5 * TIMEOUT_TICKS);
    expect(leader.status).toMatchObject({ role: "leader", currentTerm });
    expect(cluster.server(away).committed).toEqual([...leader.log]);
  });

  const losses: readonly (readonly [string, (cluster: Cluster, leader: number, peer: number) => void])[] = [
    ["can neither send nor hear", (cluster, leader) => cluster.isolate(leader)],
    ["can send but not hear", (cluster, leader, peer) => cluster.cut(peer, leader)],
    ["can hear but not send", (cluster, leader, peer) => cluster.cut(leader, peer)],
  ];
  for (const [what, cutOff] of losses) {
    test(`E8: a leader that ${what}: steps down within two timeouts, and the others elect another`, () => {
      for (const size of [3, 5]) {
        const cluster = new Cluster({ size });
        const old = cluster.elect();
        for (const peer of othersOf(cluster, old)) cutOff(cluster, old.id, peer);
        cluster.runUntil(() => old.status.role !== "leader", 2 * TIMEOUT_TICKS);
        const hasLeader = () => cluster.leader !== null && cluster.leader.id !== old.id;
        cluster.runUntil(hasLeader, 10 * TIMEOUT_TICKS);
        cluster.run(10 * TIMEOUT_TICKS);
        expect(cluster.checker.leaderCount).toBe(2);
        cluster.healLinks();
        cluster.run(2 * TIMEOUT_TICKS);
        expect(cluster.checker.leaderCount).toBe(2);
        expect(old.status).toMatchObject({ role: "follower", leaderId: cluster.leader?.id });
      }
    });
  }

  test("E8: what a deposed leader took and did not commit gives way to what the majority committed", () => {
    const cluster = new Cluster({ size: 3 });
    const old = cluster.elect();
    cluster.isolate(old.id);
    cluster.propose(old.id, "lost", "lost too");
    cluster.runUntil(() => old.status.role !== "leader", 2 * TIMEOUT_TICKS);
    const next = cluster.elect();
    cluster.propose(next.id, "kept");
    cluster.settle();
    cluster.healLinks();
    cluster.run(2 * TIMEOUT_TICKS);
    expect(old.log).toEqual([...next.log]);
    expect(old.committed).toEqual([...next.log]);
    expect(old.log.map(({ payload }) => payload.kind)).toEqual(["noop", "noop", "command"]);
  });

  test("E9: a follower that does not see the leader, but is seen by others, unseats nobody", () => {
    const cluster = new Cluster({ size: 3 });
    const leader = cluster.elect();
    const [blind] = othersOf(cluster, leader);
    cluster.cut(leader.id, blind);
    cluster.cut(blind, leader.id);
    cluster.run(20 * TIMEOUT_TICKS);
    expect(cluster.checker.leaderCount).toBe(1);
    expect(leader.status.role).toBe("leader");
  });

  test("E9: a leader whom two of five do not see stays, and its entries are committed", () => {
    const cluster = new Cluster({ size: 5 });
    const leader = cluster.elect();
    for (const blind of othersOf(cluster, leader).slice(0, 2)) {
      cluster.cut(leader.id, blind);
      cluster.cut(blind, leader.id);
    }
    cluster.run(10 * TIMEOUT_TICKS);
    cluster.propose(leader.id, "a");
    cluster.run(10 * TIMEOUT_TICKS);
    expect(cluster.checker.leaderCount).toBe(1);
    expect(leader.status.commitIndex).toBe(2);
  });

  test("E9: servers in a ring, each seeing its two neighbours, settle on one leader", () => {
    for (let seed = 1; seed <= 20; seed += 1) {
      const cluster = new Cluster({ size: 5, seed });
      for (const { id } of cluster.servers) {
        for (const distance of [2, 3]) cluster.cut(id, (id + distance) % 5);
      }
      cluster.elect();
      cluster.run(20 * TIMEOUT_TICKS);
      const leaders = cluster.checker.leaderCount;
      cluster.run(20 * TIMEOUT_TICKS);
      expect(cluster.checker.leaderCount).toBe(leaders);
      expect(cluster.leader?.status.role).toBe("leader");
    }
  }, 60_000);
});

/**
 * (c) of the figure: server 0 has been elected again, in term 4, and knows that servers 1 and 2 have the
 * entry of term 2: a majority. Its own entry of term 4, here the no-op, is still with it alone.
 */
function figure8c(): { readonly cluster: Cluster; readonly held: () => readonly Message[] } {
  const cluster = new Cluster({
    size: 5,
    options: { maxBatchEntries: 1, randomInt: (_, max) => max },
    servers: [
      { log: logOf(1, 2), term: 3 },
      { log: logOf(1), term: 3 },
      { log: logOf(1), term: 3, votedFor: 4 },
      { log: logOf(1), term: 3, votedFor: 4 },
      { log: logOf(1, 3), term: 3, votedFor: 4 },
    ],
  });
  cluster.partition([0, 1, 2]);
  const isBehind = (id: ServerId): boolean => cluster.server(id).terms.length < 2;
  const takesEffect = ({ to, reply, call: { request } }: Message): boolean =>
    reply === null &&
    !isBehind(to) &&
    request.kind === "appendEntries" &&
    request.entries.some(({ term }) => term === 4);
  const held = () => cluster.messages.filter(takesEffect);
  for (let turn = 0; (isBehind(1) || isBehind(2)) && turn < 1000; turn += 1) {
    const next = cluster.messages.find((message) => !takesEffect(message));
    if (next === undefined) cluster.tick(0);
    else cluster.deliver(next);
    for (const { id, disk } of cluster.servers) if (disk.pendingCount > 0) cluster.persist(id);
  }
  for (const message of cluster.messages.filter((message) => !takesEffect(message))) cluster.deliver(message);
  return { cluster, held };
}

/** So long that followers would vote again, and not so long that they stand themselves. */
function forgetLeader(cluster: Cluster): void {
  for (const { id } of cluster.up) cluster.tick(id, 12);
}

/** Only this server's time passes: once it may learn of a term, the next time it can win. */
function stand(cluster: Cluster, id: ServerId): void {
  for (let ticks = 0; ticks < 2 * TIMEOUT_TICKS && cluster.server(id).status.role !== "leader"; ticks += 1) {
    cluster.tick(id);
    cluster.settle();
  }
}

describe("Raft figure 8", () => {
  test("R1, Raft §5.4.2: an earlier term's entry on a majority is not committed, and may be overwritten (d)", () => {
    const { cluster } = figure8c();
    expect(cluster.server(0).status).toMatchObject({ role: "leader", currentTerm: 4 });
    expect([0, 1, 2].map((id) => cluster.server(id).terms[1])).toEqual([2, 2, 2]);
    expect(cluster.servers.map(({ status }) => status.commitIndex)).toEqual([0, 0, 0, 0, 0]);
    cluster.crash(0);
    cluster.messages = [];
    cluster.healLinks();
    forgetLeader(cluster);
    stand(cluster, 4);
    expect(cluster.server(4).status.role).toBe("leader");
    cluster.restart(0);
    cluster.run(2 * TIMEOUT_TICKS);
    for (const { terms } of cluster.servers) expect(terms.slice(0, 2)).toEqual([1, 3]);
  });

  test("R1, Raft §5.4.2: with an entry of its own term on a majority both are committed, and stay (e)", () => {
    const { cluster, held } = figure8c();
    cluster.settle();
    expect(held()).toEqual([]);
    expect(cluster.server(0).status.commitIndex).toBe(3);
    cluster.crash(0);
    cluster.healLinks();
    forgetLeader(cluster);
    for (let attempt = 0; attempt < 5; attempt += 1) {
      stand(cluster, 4);
      expect(cluster.server(4).status.role).not.toBe("leader");
    }
    stand(cluster, 1);
    cluster.restart(0);
    cluster.run(2 * TIMEOUT_TICKS);
    for (const { terms } of cluster.servers) expect(terms.slice(0, 3)).toEqual([1, 2, 4]);
  });
});
