import { describe, expect, test } from "bun:test";
import type { SnapshotOptions } from "../../src/node/node-parts.ts";
import { initialConfiguration } from "../../src/raft/configuration.ts";
import { fill, NodeCluster, put } from "./node-cluster.ts";

const ELECTION_MS = 400;

async function alone(snapshots: Partial<SnapshotOptions>): Promise<NodeCluster> {
  const cluster = new NodeCluster(1, snapshots);
  await cluster.clock.advance(ELECTION_MS);
  expect(cluster.node(0).status().role).toBe("leader");
  return cluster;
}

describe("a snapshot is due", () => {
  test("when the log has grown by so many entries, and again after as many", async () => {
    const cluster = await alone({ entries: 100 });
    await fill(cluster, 0, 98);
    await cluster.clock.advance(100);
    expect(cluster.count("snapshotTaken")).toBe(0);
    await fill(cluster, 0, 1, { first: 98 });
    await cluster.until(() => cluster.count("snapshotTaken") === 1);
    expect(cluster.store(0).snapshotInfo?.position).toEqual({ index: 100, term: 1 });
    await fill(cluster, 0, 99, { first: 99 });
    await cluster.clock.advance(100);
    expect(cluster.count("snapshotTaken")).toBe(1);
    await fill(cluster, 0, 1, { first: 198 });
    await cluster.until(() => cluster.count("snapshotTaken") === 2);
  });

  test("when the log has grown by so many bytes, also across a restart", async () => {
    const cluster = await alone({ bytes: 100_000 });
    await fill(cluster, 0, 6, { valueLength: 10_000 });
    await cluster.restart(0);
    await cluster.clock.advance(ELECTION_MS);
    await fill(cluster, 0, 3, { valueLength: 10_000 });
    await cluster.clock.advance(100);
    expect(cluster.count("snapshotTaken")).toBe(0);
    await fill(cluster, 0, 1, { valueLength: 10_000 });
    await cluster.until(() => cluster.count("snapshotTaken") === 1);
  });

  test("with many keys, only when as many entries as half of them have come", async () => {
    const cluster = await alone({ entries: 100 });
    await fill(cluster, 0, 1000);
    await cluster.until(() => cluster.store(0).snapshotInfo !== null && cluster.store(0).prepared === null);
    const taken = cluster.count("snapshotTaken");
    const { snapshotIndex, lastLogIndex } = cluster.node(0).status();
    await fill(cluster, 0, 499 - (lastLogIndex - snapshotIndex));
    await cluster.clock.advance(100);
    expect(cluster.count("snapshotTaken")).toBe(taken);
    await fill(cluster, 0, 1);
    await cluster.until(() => cluster.count("snapshotTaken") === taken + 1);
  });

  test("with a large last snapshot, only when half its size has come", async () => {
    const cluster = await alone({ bytes: 100_000 });
    await fill(cluster, 0, 40, { valueLength: 10_000 });
    await cluster.until(() => cluster.store(0).snapshotInfo !== null && cluster.store(0).prepared === null);
    await cluster.finish(cluster.node(0).takeSnapshot());
    const before = cluster.count("snapshotTaken");
    await fill(cluster, 0, 19, { valueLength: 10_000 });
    await cluster.clock.advance(100);
    expect(cluster.count("snapshotTaken")).toBe(before);
    await fill(cluster, 0, 1, { valueLength: 10_000 });
    await cluster.until(() => cluster.count("snapshotTaken") === before + 1);
  });
});

describe("taking a snapshot", () => {
  test("S5: it holds the state of one moment, while puts go on and are acknowledged", async () => {
    const cluster = await alone({ entries: 500 });
    cluster.store(0).snapshotDelayMs = 20;
    await fill(cluster, 0, 499, { valueLength: 1000 });
    await cluster.until(() => cluster.store(0).prepared !== null);
    const puts = Array.from({ length: 100 }, (_, i) => cluster.node(0).put(put(`k${i}`, "later")));
    await cluster.clock.advance(10);
    expect((await Promise.all(puts)).every(({ kind }) => kind === "done")).toBe(true);
    expect(cluster.store(0).prepared).toBe("unfinished");
    await cluster.until(() => cluster.count("snapshotTaken") === 1);
    const { snapshot } = cluster.store(0).recovered(0, initialConfiguration([0]));
    expect(snapshot?.info.position.index).toBe(500);
    expect(snapshot?.state.data.get("k0")?.startsWith("k0...")).toBe(true);
    expect(snapshot?.state.data.size).toBe(499);
  });

  test("S1: killed in mid-snapshot, the server comes back from the older one and the log", async () => {
    const cluster = await alone({ entries: 200 });
    await fill(cluster, 0, 250);
    await cluster.until(() => cluster.count("snapshotTaken") === 1);
    cluster.store(0).snapshotDelayMs = 1000;
    await fill(cluster, 0, 250, { first: 250 });
    await cluster.until(() => cluster.store(0).prepared !== null);
    const { index } = cluster.store(0).snapshotInfo?.position ?? { index: 0 };
    cluster.killAndStart(0);
    expect(cluster.node(0).appliedIndex).toBe(index);
    await cluster.until(() => cluster.node(0).keyCount === 500);
  });

  test("S2: the log loses what the snapshot stands for, but for the entries that are kept behind it", async () => {
    const cluster = await alone({ entries: 100, keepEntries: 30 });
    await fill(cluster, 0, 99);
    await cluster.until(() => cluster.count("snapshotTaken") === 1);
    expect(cluster.node(0).status()).toMatchObject({ snapshotIndex: 100, firstLogIndex: 71 });
    expect(cluster.store(0).persists.flatMap(({ writes }) => writes)).toContainEqual({
      kind: "compact",
      snapshot: { index: 100, term: 1 },
      through: 70,
    });
  });

  test("S5, C1: a server that comes back from a snapshot knows term, data and retries", async () => {
    const cluster = await alone({ entries: 100, keepEntries: 0 });
    const retried = {
      kind: "put",
      key: "r",
      value: "1",
      routed: null,
      request: { clientId: 7, requestId: 9 },
    } as const;
    const first = cluster.node(0).put(retried);
    await fill(cluster, 0, 150);
    expect(await first).toMatchObject({ result: { kind: "applied" } });
    await cluster.until(() => cluster.store(0).snapshotInfo !== null);
    cluster.killAndStart(0);
    expect(cluster.node(0).status().currentTerm).toBe(1);
    expect(cluster.node(0).get("r")).toBe("1");
    await cluster.clock.advance(ELECTION_MS);
    const again = cluster.node(0).put(retried);
    await cluster.clock.advance(20);
    expect(await again).toEqual({ kind: "done", result: { kind: "repeated" } });
  });

  test("P6: one that finds no room is given up and tried again, and puts go on", async () => {
    const cluster = await alone({ entries: 100 });
    cluster.store(0).fullForSnapshots = true;
    await fill(cluster, 0, 300);
    await cluster.until(() => cluster.count("snapshotFailed") === 1);
    await cluster.clock.advance(4000);
    expect(cluster.store(0)).toMatchObject({ prepareCount: 1, prepared: null });
    cluster.store(0).fullForSnapshots = false;
    await cluster.until(() => cluster.count("snapshotTaken") === 1, 2000);
    expect(cluster.failures).toEqual([]);
  });
});

describe("a snapshot on demand", () => {
  test("holds every write acknowledged before it was asked for", async () => {
    const cluster = await alone({});
    await fill(cluster, 0, 50);
    const { lastLogIndex } = cluster.node(0).status();
    const taken = cluster.node(0).takeSnapshot();
    await cluster.clock.advance(50);
    const info = await taken;
    expect(info.position.index).toBe(lastLogIndex);
    expect(cluster.store(0).snapshotInfo).toEqual(info);
  });

  test("that is as new as the state is the one there is", async () => {
    const cluster = await alone({});
    await fill(cluster, 0, 50);
    void cluster.node(0).takeSnapshot();
    await cluster.clock.advance(50);
    const again = cluster.node(0).takeSnapshot();
    await cluster.clock.advance(50);
    expect((await again).position.index).toBe(cluster.node(0).appliedIndex);
    expect(cluster.store(0).prepareCount).toBe(1);
  });

  test("asked for while another is written comes after it, once for all who ask", async () => {
    const cluster = await alone({});
    cluster.store(0).snapshotDelayMs = 50;
    await fill(cluster, 0, 50);
    const first = cluster.node(0).takeSnapshot();
    await cluster.clock.advance(10);
    await fill(cluster, 0, 1);
    const others = [cluster.node(0).takeSnapshot(), cluster.node(0).takeSnapshot()];
    await cluster.clock.advance(1000);
    const indexes = (await Promise.all([first, ...others])).map(({ position }) => position.index);
    expect(indexes).toEqual([51, 52, 52]);
    expect(cluster.store(0).prepareCount).toBe(2);
  });

  test("P6: without room it is refused, and nothing of it is left", async () => {
    const cluster = await alone({});
    await fill(cluster, 0, 50);
    cluster.store(0).fullForSnapshots = true;
    const taken = cluster
      .node(0)
      .takeSnapshot()
      .catch((error: unknown) => error);
    await cluster.clock.advance(50);
    expect(await taken).toMatchObject({ code: "diskFull" });
    expect(cluster.store(0).prepared).toBeNull();
  });

  test("ends with the server: whoever asked is told, and nothing of it is left", async () => {
    const cluster = await alone({});
    await fill(cluster, 0, 50);
    cluster.store(0).snapshotDelayMs = 50;
    const taken = cluster
      .node(0)
      .takeSnapshot()
      .catch((error: unknown) => error);
    await cluster.clock.advance(10);
    expect(cluster.store(0).prepared).toBe("unfinished");
    const stopped = cluster.node(0).stop();
    await cluster.clock.advance(100);
    await stopped;
    expect(await taken).toMatchObject({ code: "unavailable" });
    expect(cluster.store(0).prepared).toBeNull();
    expect(cluster.failures).toEqual([]);
  });
});
