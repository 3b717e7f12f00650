import { describe, expect, test } from "bun:test";
import type { PutOutcome } from "../../src/node/waiting-clients.ts";
import { NodeCluster, put } from "./node-cluster.ts";

const ELECTION_MS = 400;

async function withLeader(size: number): Promise<NodeCluster> {
  const cluster = new NodeCluster(size);
  await cluster.clock.advance(ELECTION_MS);
  expect(cluster.node(0).status().role).toBe("leader");
  return cluster;
}

describe("the driver", () => {
  test("R2, R9: a put is answered when a majority holds it and it is applied", async () => {
    const cluster = await withLeader(3);
    const outcome = cluster.node(0).put(put("k", "v"));
    await cluster.clock.advance(20);
    expect(await outcome).toEqual({ kind: "done", result: { kind: "applied" } });
    expect(cluster.node(0).get("k")).toBe("v");
  });

  test("followers apply what is committed without waiting for the next heartbeat", async () => {
    const cluster = await withLeader(3);
    await cluster.clock.advance(51);
    void cluster.node(0).put(put("k", "v"));
    await cluster.clock.advance(12);
    expect([1, 2].map((id) => cluster.node(id).get("k"))).toEqual(["v", "v"]);
  });

  test("all puts of one turn share one write and one AppendEntries to each follower", async () => {
    const cluster = await withLeader(3);
    const before = cluster.store(0).persists.length;
    const outcomes = Array.from({ length: 100 }, (_, i) => cluster.node(0).put(put(`k${i}`, "v")));
    await cluster.clock.advance(20);
    await Promise.all(outcomes);
    expect(cluster.store(0).persists.length - before).toBe(1);
    expect(cluster.store(1).persists.at(-1)?.writes.length).toBe(1);
  });

  test("one fsync serves every group that came while the disk was busy", async () => {
    const cluster = await withLeader(1);
    cluster.store(0).delayMs = 50;
    const before = cluster.store(0).persists.length;
    const outcomes: Promise<PutOutcome>[] = [];
    for (let i = 0; i < 10; i += 1) {
      outcomes.push(cluster.node(0).put(put(`k${i}`, "v")));
      await cluster.clock.advance(1);
    }
    await cluster.clock.advance(200);
    await Promise.all(outcomes);
    expect(cluster.store(0).persists.length - before).toBe(2);
  });

  test("a put on a follower is refused and names the leader", async () => {
    const cluster = await withLeader(3);
    expect(await cluster.node(1).put(put("k", "v"))).toEqual({ kind: "notLeader", leaderId: 0 });
  });

  test("R9: a slow disk of the leader does not hold up what the followers' disks have", async () => {
    const cluster = await withLeader(3);
    cluster.store(0).delayMs = null;
    const outcome = cluster.node(0).put(put("k", "v"));
    await cluster.clock.advance(30);
    expect((await outcome).kind).toBe("done");
  });

  test("P5: after a failed fsync nothing is acknowledged and the process is told to end", async () => {
    const cluster = await withLeader(1);
    cluster.store(0).fails = true;
    const outcome = cluster.node(0).put(put("k", "v"));
    await cluster.clock.advance(100);
    expect((await outcome).kind).toBe("unknown");
    expect(cluster.failures).toHaveLength(1);
    expect((await cluster.node(0).put(put("k", "v"))).kind).toBe("stopping");
    expect(cluster.node(0).get("k")).toBeUndefined();
  });

  test("C2, C5, E8: a leader cut off from its majority steps down and says that the outcome is unknown", async () => {
    const cluster = await withLeader(3);
    cluster.isolate(0);
    const outcome = cluster.node(0).put(put("k", "v"));
    await cluster.clock.advance(601);
    expect((await outcome).kind).toBe("unknown");
    expect(cluster.node(0).status().role).not.toBe("leader");
  });

  test("C5: a leader that hears in one turn that it was deposed and what was committed instead answers and goes on", async () => {
    const cluster = await withLeader(3);
    cluster.isolate(0);
    const outcome = cluster.node(0).put(put("k", "lost"));
    const { currentTerm, lastLogIndex, commitIndex } = cluster.node(0).status();
    const entry = { index: commitIndex + 1, term: currentTerm + 1, payload: { kind: "noop" } } as const;
    const next = { ...entry, index: commitIndex + 2 };
    expect(lastLogIndex).toBe(entry.index);
    void cluster.node(0).handleRequest({
      kind: "appendEntries",
      term: currentTerm + 1,
      leaderId: 1,
      prevLogIndex: commitIndex,
      prevLogTerm: currentTerm,
      entries: [entry, next],
      leaderCommit: next.index,
      round: 0,
    });
    await cluster.clock.advance(20);
    expect((await outcome).kind).toBe("unknown");
    expect(cluster.node(0).appliedIndex).toBe(next.index);
  });

  test("E7: a server that comes back from isolation does not disturb the leader or the term", async () => {
    const cluster = await withLeader(3);
    const { currentTerm } = cluster.node(0).status();
    cluster.isolate(2);
    await cluster.clock.advance(5000);
    cluster.heal();
    await cluster.clock.advance(1000);
    expect(cluster.node(0).status()).toMatchObject({ role: "leader", currentTerm });
  });

  test("I3: puts beyond the limit are refused at once, and the rest are served", async () => {
    const cluster = await withLeader(3);
    const outcomes = Array.from({ length: 300 }, (_, i) => cluster.node(0).put(put(`k${i}`, "v")));
    await cluster.clock.advance(50);
    const kinds = (await Promise.all(outcomes)).map(({ kind }) => kind);
    expect(kinds.filter((kind) => kind === "done")).toHaveLength(200);
    expect(kinds.slice(200)).toEqual(Array.from({ length: 100 }, () => "overloaded"));
  });

  test("I3: the bytes that wait are bounded too, but one command always has room", async () => {
    const cluster = await withLeader(3);
    const large = cluster.node(0).put(put("k", "x".repeat(2_000_000)));
    expect((await cluster.node(0).put(put("k", "v"))).kind).toBe("overloaded");
    await cluster.clock.advance(50);
    expect((await large).kind).toBe("done");
  });

  test("P1: every server comes back with everything that was acknowledged", async () => {
    const cluster = await withLeader(3);
    const outcomes = Array.from({ length: 150 }, (_, i) => cluster.node(0).put(put(`k${i}`, `v${i}`)));
    await cluster.clock.advance(50);
    await Promise.all(outcomes);
    await cluster.finish(Promise.all([0, 1, 2].map((id) => cluster.node(id).stop())));
    for (const id of [0, 1, 2]) cluster.start(id);
    await cluster.clock.advance(2 * ELECTION_MS);
    for (const id of [0, 1, 2]) expect(cluster.node(id).get("k149")).toBe("v149");
  });

  test("a long log is applied in bounded pieces, not in one turn", async () => {
    const cluster = await withLeader(3);
    for (let round = 0; round < 3; round += 1) {
      const outcomes = Array.from({ length: 150 }, (_, i) => cluster.node(0).put(put(`k${i}`, "v")));
      await cluster.clock.advance(50);
      await Promise.all(outcomes);
    }
    expect(cluster.node(1).appliedIndex).toBe(451);
  });
});
