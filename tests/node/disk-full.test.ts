/** P6: a disk without room. Server 0 leads at first. */
import { describe, expect, test } from "bun:test";
import { RaftKvError } from "../../src/base/errors.ts";
import { DiskRoom } from "../../src/node/disk-room.ts";
import { fill, NodeCluster, put } from "./node-cluster.ts";
import { VirtualClock } from "./virtual-clock.ts";

const ELECTION_MS = 400;

function codeOf(error: unknown): string {
  return error instanceof RaftKvError ? error.code : String(error);
}

async function withLeader(size: number): Promise<NodeCluster> {
  const cluster = new NodeCluster(size, { entries: 100, keepEntries: 5 });
  await cluster.clock.advance(ELECTION_MS);
  expect(cluster.node(0).status().role).toBe("leader");
  return cluster;
}

describe("a full disk", () => {
  test("P6: of the only server: nothing is acknowledged, reads go on, and it goes on when there is room", async () => {
    const cluster = await withLeader(1);
    await fill(cluster, 0, 10);
    cluster.store(0).full = true;
    const waiting = cluster.node(0).put(put("k1", "later"));
    await cluster.clock.advance(10);
    expect(await waiting).toEqual({ kind: "unknown", why: "the disk is full" });
    expect(await cluster.node(0).put(put("k2", "never"))).toEqual({ kind: "diskFull" });
    expect(cluster.node(0).status()).toMatchObject({ role: "leader", diskFull: true });
    await cluster.clock.advance(60_000);
    expect(await cluster.finish(cluster.node(0).read())).toEqual({ kind: "ready" });
    expect(cluster.node(0).get("k1")).toBe("k1".padEnd(20, "."));
    cluster.store(0).full = false;
    await cluster.until(() => !cluster.node(0).status().diskFull, 1100);
    await cluster.until(() => cluster.node(0).get("k1") === "later");
    expect(cluster.node(0).get("k2")).toBe("k2".padEnd(20, "."));
    await fill(cluster, 0, 10);
    expect(["diskFull", "diskHasRoom"].map((kind) => cluster.count(kind as "diskFull"))).toEqual([1, 1]);
    expect(cluster.failures).toEqual([]);
  });

  test("P6: of the leader: it hands over to those that have room, and follows them when it has room again", async () => {
    const cluster = await withLeader(3);
    cluster.store(0).full = true;
    void cluster.node(0).put(put("k", "v"));
    await cluster.until(() => [1, 2].some((id) => cluster.isReady(id)));
    const leader = cluster.isReady(1) ? 1 : 2;
    await fill(cluster, leader, 300);
    cluster.store(0).full = false;
    await cluster.until(() => cluster.node(0).appliedIndex === cluster.node(leader).appliedIndex);
    expect(cluster.failures).toEqual([]);
  });

  test("P6: of a follower: the others go on, and it catches up, also by snapshot, when it has room again", async () => {
    const cluster = await withLeader(3);
    cluster.store(2).full = true;
    await fill(cluster, 0, 400);
    expect(cluster.node(2).status().diskFull).toBe(true);
    expect(cluster.node(2).get("nothing")).toBeUndefined();
    cluster.store(2).full = false;
    await cluster.until(() => cluster.node(2).appliedIndex === cluster.node(0).appliedIndex);
    expect(cluster.node(0).status().currentTerm).toBe(1);
  });

  test("P6: of every server: nothing is acknowledged, and the cluster goes on when there is room", async () => {
    const cluster = await withLeader(3);
    for (const id of [0, 1, 2]) cluster.store(id).full = true;
    const outcome = cluster.node(0).put(put("k", "v"));
    await cluster.clock.advance(30_000);
    expect((await outcome).kind).toBe("unknown");
    expect(cluster.node(0).get("k")).toBeUndefined();
    for (const id of [0, 1, 2]) cluster.store(id).full = false;
    const hasRoom = (id: number): boolean => !cluster.node(id).status().diskFull;
    await cluster.until(() => [0, 1, 2].every(hasRoom));
    await cluster.until(() => [0, 1, 2].some((id) => cluster.isReady(id)));
    const leader = [0, 1, 2].find((id) => cluster.isReady(id)) ?? 0;
    await fill(cluster, leader, 10);
  });

  test("P6: of every server: when the leader is gone there is soon another, which serves reads", async () => {
    const cluster = await withLeader(3);
    await fill(cluster, 0, 10);
    for (const id of [0, 1, 2]) Object.assign(cluster.store(id), { full: true, hasReserve: true });
    void cluster.node(0).put(put("k1", "later"));
    await cluster.until(() => [0, 1, 2].every((id) => cluster.node(id).status().diskFull));
    cluster.isolate(0);
    const leads = (id: number): boolean => {
      const { noopIndex } = cluster.node(id).status();
      return noopIndex !== null && cluster.node(id).appliedIndex >= noopIndex;
    };
    await cluster.until(() => [1, 2].some(leads), 5 * ELECTION_MS);
    const leader = cluster.node(leads(1) ? 1 : 2);
    expect(await cluster.finish(leader.read())).toEqual({ kind: "ready" });
    expect(cluster.failures).toEqual([]);
  });

  test("P6: of a follower that a snapshot is sent to: it is asked again, and takes it when there is room", async () => {
    const cluster = await withLeader(3);
    cluster.isolate(2);
    await fill(cluster, 0, 300);
    await cluster.until(() => cluster.node(0).status().firstLogIndex > 50);
    cluster.store(2).fullForSnapshots = true;
    cluster.heal();
    await cluster.clock.advance(20_000);
    expect(cluster.store(2).receiveCount).toBeLessThan(12);
    expect(cluster.store(2).received).toBeNull();
    cluster.store(2).fullForSnapshots = false;
    await cluster.until(() => cluster.node(2).appliedIndex === cluster.node(0).appliedIndex);
    expect(cluster.failures).toEqual([]);
  });

  test("P6: of the log: who asks for a snapshot is told so at once, but when there is one that holds everything", async () => {
    const cluster = await withLeader(1);
    await fill(cluster, 0, 10);
    void cluster.node(0).takeSnapshot();
    await cluster.clock.advance(50);
    cluster.store(0).full = true;
    void cluster.node(0).put(put("k1", "later"));
    await cluster.clock.advance(10);
    expect(cluster.node(0).status().diskFull).toBe(true);
    const info = await cluster.finish(cluster.node(0).takeSnapshot());
    expect(cluster.store(0).snapshotInfo).toEqual(info);
    cluster.store(0).full = false;
    await cluster.until(() => !cluster.node(0).status().diskFull, 1100);
    cluster.store(0).full = true;
    void cluster.node(0).put(put("k2", "later"));
    await cluster.clock.advance(10);
    const { prepareCount } = cluster.store(0);
    expect(await cluster.finish(cluster.node(0).takeSnapshot().catch(codeOf))).toBe("diskFull");
    expect(cluster.store(0).prepareCount).toBe(prepareCount);
  });

  test("P6: of the log: who waits for a snapshot that is being written waits no longer", async () => {
    const cluster = await withLeader(1);
    await fill(cluster, 0, 10);
    cluster.store(0).snapshotDelayMs = 1000;
    const taken = cluster.node(0).takeSnapshot().catch(codeOf);
    await cluster.clock.advance(10);
    cluster.store(0).full = true;
    void cluster.node(0).put(put("k1", "later"));
    await cluster.clock.advance(10);
    expect(await taken).toBe("diskFull");
    expect(cluster.failures).toEqual([]);
  });

  test("I3: no more wait for a snapshot than a few", async () => {
    const cluster = await withLeader(1);
    await fill(cluster, 0, 10);
    cluster.store(0).snapshotDelayMs = 100;
    const asked = Array.from({ length: 100 }, () =>
      cluster
        .node(0)
        .takeSnapshot()
        .then(() => "taken", codeOf),
    );
    await cluster.clock.advance(1000);
    const outcomes = await Promise.all(asked);
    expect(outcomes.filter((outcome) => outcome === "taken")).toHaveLength(64);
    expect(outcomes.filter((outcome) => outcome === "overloaded")).toHaveLength(36);
  });

  test("does not keep a server from stopping, and that is no failure", async () => {
    const cluster = await withLeader(1);
    cluster.store(0).full = true;
    void cluster.node(0).put(put("k", "v"));
    await cluster.clock.advance(150);
    const stopped = cluster.node(0).stop();
    await cluster.clock.advance(10);
    await stopped;
    expect(cluster.failures).toEqual([]);
  });
});

describe("waiting for room", () => {
  const error = new RaftKvError("diskFull", "no space left on device");

  /** How long each of so many waits takes, in milliseconds. */
  async function waits(clock: VirtualClock, room: DiskRoom, count: number): Promise<number[]> {
    const delays: number[] = [];
    for (let i = 0; i < count; i += 1) {
      const beganMs = clock.nowMs();
      const waited = room.whenFull(error).then(() => delays.push(clock.nowMs() - beganMs));
      await clock.advance(1000);
      await waited;
    }
    return delays;
  }

  test("grows from a tenth of a second to a whole one, and begins anew after a write got through", async () => {
    const clock = new VirtualClock();
    const room = new DiskRoom(clock);
    const changes: boolean[] = [];
    room.watch((full) => changes.push(full));
    expect(await waits(clock, room, 6)).toEqual([100, 200, 400, 800, 1000, 1000]);
    room.written();
    expect(await waits(clock, room, 1)).toEqual([100]);
    expect(changes).toEqual([true, false, true]);
  });

  test("P6: ends at once when an election waits, and is no shorter the next time", async () => {
    const clock = new VirtualClock();
    const room = new DiskRoom(clock);
    room.retryNow();
    const waiting = room.whenFull(error);
    room.retryNow();
    await waiting;
    expect(room.full).toBe(true);
    expect(await waits(clock, room, 1)).toEqual([200]);
  });

  test("ends when the server stops", async () => {
    const room = new DiskRoom(new VirtualClock());
    const waiting = room.whenFull(error).catch((reason: unknown) => reason);
    room.close();
    expect(await waiting).toBe(error);
    expect(await room.whenFull(error).catch((reason: unknown) => reason)).toBe(error);
  });
});
