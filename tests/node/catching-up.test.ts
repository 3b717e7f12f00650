/** A follower whose entries are gone from the leader's log gets the leader's snapshot. Server 0 leads. */
import { describe, expect, test } from "bun:test";
import { entryByteLength } from "../../src/raft/entry.ts";
import type { SnapshotOptions } from "../../src/node/node-parts.ts";
import type { PeerRequest, SnapshotChunk } from "../../src/node/peer-message.ts";
import { fill, NodeCluster, put } from "./node-cluster.ts";

const ELECTION_MS = 400;

/** Server 2 has missed `missed` puts, and the others have compacted their logs past them. */
async function withLaggard(missed = 300, snapshots: Partial<SnapshotOptions> = {}): Promise<NodeCluster> {
  const cluster = new NodeCluster(3, { entries: 100, keepEntries: 5, ...snapshots });
  await cluster.clock.advance(ELECTION_MS);
  cluster.isolate(2);
  await fill(cluster, 0, missed, { valueLength: 100 });
  await cluster.until(() => cluster.node(0).status().firstLogIndex > 50);
  await cluster.clock.advance(100);
  return cluster;
}

function isCaughtUp(cluster: NodeCluster): boolean {
  const [leader, laggard] = [cluster.node(0), cluster.node(2)];
  return laggard.appliedIndex === leader.appliedIndex && laggard.keyCount === leader.keyCount;
}

/** Sees every chunk that arrives. */
function watchChunks(cluster: NodeCluster): SnapshotChunk[] {
  const chunks: SnapshotChunk[] = [];
  cluster.onTheWay = (_from, _to, request) => {
    if (request.kind === "snapshotChunk") chunks.push(request);
    return request;
  };
  return chunks;
}

function bytesOf(chunks: readonly SnapshotChunk[]): number {
  return chunks.reduce((sum, { data }) => sum + data.length, 0);
}

/** Whether a transfer to server 2 is in its middle. */
function isHalfWay(cluster: NodeCluster, chunks: readonly SnapshotChunk[]): boolean {
  const total = chunks[0]?.info.totalBytes ?? Infinity;
  return cluster.store(2).received === "unfinished" && bytesOf(chunks) > total / 2;
}

describe("a follower that missed everything", () => {
  test("S6, R7: catches up by snapshot while puts go on, and nobody is deposed", async () => {
    const cluster = await withLaggard();
    const { currentTerm } = cluster.node(0).status();
    cluster.heal();
    await cluster.until(() => cluster.store(2).received !== null);
    await fill(cluster, 0, 50, { first: 1000 });
    await cluster.until(() => isCaughtUp(cluster));
    expect(cluster.count("installed", 2)).toBeGreaterThan(0);
    expect(cluster.node(2).get("k1049")).toBe("k1049".padEnd(20, "."));
    expect(cluster.node(0).status()).toMatchObject({ role: "leader", currentTerm });
    expect(cluster.store(0).openSources).toBe(0);
  });

  test("S5: starts again from what it has installed", async () => {
    const cluster = await withLaggard();
    cluster.heal();
    await cluster.until(() => isCaughtUp(cluster));
    cluster.isolate(2);
    cluster.killAndStart(2);
    expect(cluster.node(2).appliedIndex).toBe(cluster.store(2).snapshotInfo?.position.index ?? -1);
    cluster.heal();
    await cluster.until(() => isCaughtUp(cluster));
  });

  test("S6: what a transfer may take a second is kept to, over all of them together", async () => {
    const cluster = new NodeCluster(5, { entries: 100, keepEntries: 5, transferBytesPerSecond: 10_000 });
    await cluster.clock.advance(ELECTION_MS);
    for (const id of [3, 4]) cluster.isolate(id);
    await fill(cluster, 0, 300, { valueLength: 100 });
    await cluster.clock.advance(100);
    const chunks = watchChunks(cluster);
    cluster.heal();
    const beganMs = cluster.clock.nowMs();
    const lags = (id: number): boolean => cluster.node(id).appliedIndex < cluster.node(0).appliedIndex;
    await cluster.until(() => !lags(3) && !lags(4), 60_000);
    const seconds = (cluster.clock.nowMs() - beganMs) / 1000;
    expect(bytesOf(chunks) - 2 * 500).toBeLessThan(10_000 * seconds);
    expect(seconds).toBeGreaterThan(3);
    expect(cluster.count("becameLeader")).toBe(1);
  });

  test("entries after a snapshot on its way stay in the log, whatever snapshots are taken meanwhile", async () => {
    const cluster = await withLaggard(300, { transferBytesPerSecond: 20_000 });
    cluster.heal();
    await cluster.until(() => cluster.store(2).received !== null);
    const { snapshotIndex } = cluster.node(0).status();
    await fill(cluster, 0, 200, { first: 1000 });
    const status = cluster.node(0).status();
    expect(status.snapshotIndex).toBeGreaterThan(snapshotIndex);
    expect(status.firstLogIndex).toBeLessThanOrEqual(snapshotIndex + 1);
    await cluster.until(() => isCaughtUp(cluster));
    expect(cluster.count("installed", 2)).toBe(1);
  });

  test("S2, S6: a slow transfer holds back no more of the log than the snapshot is large", async () => {
    const cluster = await withLaggard(300, { transferBytesPerSecond: 2000, bytes: 10_000 });
    cluster.heal();
    await cluster.until(() => cluster.store(2).received !== null);
    const onItsWay = cluster.node(0).status().snapshotIndex;
    for (let round = 0; round < 3; round += 1) await fill(cluster, 0, 300, { valueLength: 100 });
    await cluster.until(() => cluster.store(0).prepared === null);
    expect(cluster.store(2).received).toBe("unfinished");
    const { firstLogIndex, snapshotIndex } = cluster.node(0).status();
    expect(firstLogIndex).toBeGreaterThan(onItsWay + 1);
    const kept = cluster.store(0).entries.filter(({ index }) => index <= snapshotIndex);
    expect(kept.length).toBeGreaterThan(5);
    const keptBytes = kept.reduce((sum, entry) => sum + entryByteLength(entry), 0);
    expect(keptBytes).toBeLessThanOrEqual(cluster.store(0).snapshotInfo?.totalBytes ?? 0);
    expect(firstLogIndex).toBe(snapshotIndex - kept.length + 1);
    await cluster.until(() => isCaughtUp(cluster), 120_000);
  });
});

describe("a transfer that is disturbed", () => {
  test("a follower that has died on the way holds the leader's log back no longer", async () => {
    const cluster = await withLaggard();
    const chunks = watchChunks(cluster);
    cluster.heal();
    await cluster.until(() => isHalfWay(cluster, chunks));
    cluster.isolate(2);
    await cluster.clock.advance(1000);
    await fill(cluster, 0, 500, { first: 1000, valueLength: 100 });
    await cluster.clock.advance(100);
    const { snapshotIndex, firstLogIndex, lastLogIndex } = cluster.node(0).status();
    expect(lastLogIndex - snapshotIndex).toBeLessThan(500);
    expect(firstLogIndex).toBe(snapshotIndex - 5 + 1);
  });

  test("S6: resumes where it was broken off", async () => {
    const cluster = await withLaggard();
    const chunks = watchChunks(cluster);
    cluster.heal();
    await cluster.until(() => isHalfWay(cluster, chunks));
    cluster.isolate(2);
    await cluster.clock.advance(5000);
    cluster.heal();
    await cluster.until(() => isCaughtUp(cluster));
    expect(cluster.store(2).receiveCount).toBe(1);
    expect(bytesOf(chunks)).toBeLessThanOrEqual((chunks[0]?.info.totalBytes ?? 0) + 500);
  });

  test("S6: gets through where every third message is lost", async () => {
    const cluster = await withLaggard();
    let count = 0;
    cluster.onTheWay = (_from, _to, request) => {
      count += 1;
      return request.kind === "snapshotChunk" && count % 3 === 0 ? null : request;
    };
    cluster.heal();
    await cluster.until(() => isCaughtUp(cluster), 60_000);
    expect(cluster.store(0).openSources).toBe(0);
  });

  test("S4: goes on from another leader, with the snapshot that this one has", async () => {
    const cluster = await withLaggard();
    const chunks = watchChunks(cluster);
    cluster.heal();
    await cluster.until(() => isHalfWay(cluster, chunks));
    cluster.isolate(0);
    await cluster.until(() => cluster.isReady(1));
    await cluster.until(() => cluster.node(2).appliedIndex === cluster.node(1).appliedIndex);
    expect(cluster.node(2).keyCount).toBe(300);
    expect(chunks.at(-1)?.leaderId).toBe(1);
    cluster.heal();
    await cluster.until(() => isCaughtUp(cluster) && cluster.store(0).openSources === 0);
  });

  test("S4: an own snapshot that is under way is given up when the leader's is installed", async () => {
    const cluster = new NodeCluster(3, { entries: 100, keepEntries: 5 });
    await cluster.clock.advance(ELECTION_MS);
    cluster.store(2).snapshotDelayMs = 1000;
    await fill(cluster, 0, 120, { valueLength: 100 });
    await cluster.until(() => cluster.store(2).prepared !== null);
    cluster.isolate(2);
    await fill(cluster, 0, 300, { first: 120, valueLength: 100 });
    await cluster.until(() => cluster.node(0).status().firstLogIndex > 150);
    cluster.heal();
    cluster.store(2).snapshotDelayMs = 1;
    await cluster.until(() => isCaughtUp(cluster));
    expect(cluster.count("installed", 2)).toBe(1);
    await cluster.until(() => cluster.store(2).prepared === null);
    expect(cluster.node(2).keyCount).toBe(420);
    expect(cluster.failures).toEqual([]);
  });

  test("S5: what was damaged on its way is refused, and sent again", async () => {
    const cluster = await withLaggard();
    let damaged = false;
    cluster.onTheWay = (_from, _to, request) => {
      if (damaged || request.kind !== "snapshotChunk" || request.offset === 0) return request;
      damaged = true;
      return { ...request, data: request.data.with(7, (request.data[7] ?? 0) ^ 1) };
    };
    cluster.heal();
    await cluster.until(() => isCaughtUp(cluster), 30_000);
    expect(cluster.count("snapshotRefused", 2)).toBe(1);
    expect(cluster.store(2).receiveCount).toBe(2);
  });

  test("S1: killed in the middle of it, the follower is what it was before", async () => {
    const cluster = await withLaggard();
    const chunks = watchChunks(cluster);
    const { appliedIndex } = cluster.node(2);
    cluster.heal();
    await cluster.until(() => isHalfWay(cluster, chunks));
    cluster.killAndStart(2);
    expect(cluster.store(2)).toMatchObject({ received: null, snapshot: null });
    expect(cluster.node(2).status().lastLogIndex).toBe(appliedIndex);
    await cluster.until(() => isCaughtUp(cluster));
  });
});

/** The last chunk that completed a transfer. */
async function afterTransfer(): Promise<{ cluster: NodeCluster; last: SnapshotChunk }> {
  const cluster = await withLaggard();
  const chunks = watchChunks(cluster);
  cluster.heal();
  await cluster.until(() => isCaughtUp(cluster));
  const last = chunks.at(-1);
  if (last === undefined) throw new Error("no chunk came");
  return { cluster, last };
}

function ask(cluster: NodeCluster, request: PeerRequest): Promise<unknown> {
  return cluster.finish(cluster.node(2).handleRequest(request));
}

describe("a piece of a snapshot", () => {
  test("S3: that comes again after the snapshot was installed moves the server nowhere", async () => {
    const { cluster, last } = await afterTransfer();
    await fill(cluster, 0, 20, { first: 2000 });
    await cluster.until(() => isCaughtUp(cluster));
    const { appliedIndex } = cluster.node(2);
    const receiveCount = cluster.store(2).receiveCount;
    expect(await ask(cluster, last)).toMatchObject({ installed: true, nextOffset: last.info.totalBytes });
    const older = { ...last.info, position: { index: 5, term: 1 } };
    expect(await ask(cluster, { ...last, offset: 0, info: older })).toMatchObject({ installed: true });
    expect(cluster.node(2).appliedIndex).toBe(appliedIndex);
    expect(cluster.store(2).receiveCount).toBe(receiveCount);
    expect(cluster.count("installed", 2)).toBe(1);
  });

  test("E5: of an older term is refused with the newer one", async () => {
    const { cluster, last } = await afterTransfer();
    const { currentTerm } = cluster.node(2).status();
    const stale = { ...last, term: currentTerm - 1 };
    expect(await ask(cluster, stale)).toMatchObject({ term: currentTerm, installed: false });
  });

  test("that does not follow what has come is answered with where the snapshot goes on", async () => {
    const { cluster, last } = await afterTransfer();
    const position = { index: cluster.node(2).appliedIndex + 1000, term: last.info.position.term };
    const chunk = { ...last, info: { ...last.info, position }, data: new Uint8Array(10) };
    expect(await ask(cluster, { ...chunk, offset: 10 })).toMatchObject({ nextOffset: 0 });
    expect(await ask(cluster, { ...chunk, offset: 0 })).toMatchObject({ nextOffset: 10 });
    expect(await ask(cluster, { ...chunk, offset: 0 })).toMatchObject({ nextOffset: 10 });
    expect(await ask(cluster, { ...chunk, data: new Uint8Array(0) })).toMatchObject({ nextOffset: 10 });
    // A newer one takes its place, and an older one does not take the place of that.
    const newer = { ...chunk.info, position: { ...position, index: position.index + 1 } };
    expect(await ask(cluster, { ...chunk, info: newer, offset: 0 })).toMatchObject({ nextOffset: 10 });
    expect(await ask(cluster, { ...chunk, offset: 10 })).toMatchObject({ nextOffset: 0 });
    expect(await ask(cluster, { ...chunk, info: newer, offset: 10 })).toMatchObject({ nextOffset: 20 });
  });

  test("S4: that comes twice at once is taken once, also the last one", async () => {
    const cluster = await withLaggard();
    cluster.onTheWay = (_from, to, request) => {
      if (request.kind === "snapshotChunk") void cluster.node(to).handleRequest(request);
      return request;
    };
    cluster.heal();
    await cluster.until(() => isCaughtUp(cluster));
    expect(cluster.store(2).receiveCount).toBe(1);
    expect(cluster.count("installed", 2)).toBe(1);
  });

  test("I3: is refused when too many others wait", async () => {
    const { cluster, last } = await afterTransfer();
    const position = { index: cluster.node(2).appliedIndex + 1000, term: last.info.position.term };
    const chunk = { ...last, info: { ...last.info, position }, offset: 0 };
    const answers = Array.from({ length: 10 }, () =>
      cluster
        .node(2)
        .handleRequest(chunk)
        .catch((error: unknown) => error),
    );
    await cluster.clock.advance(10);
    const codes = (await Promise.all(answers)).map((answer) =>
      "code" in Object(answer) ? Object(answer).code : "ok",
    );
    expect(codes.filter((code) => code === "overloaded")).toHaveLength(2);
  });
});

describe("a server that stops", () => {
  test("in the middle of receiving leaves nothing of it", async () => {
    const cluster = await withLaggard();
    const chunks = watchChunks(cluster);
    cluster.heal();
    await cluster.until(() => isHalfWay(cluster, chunks));
    const stopped = cluster.node(2).stop();
    await cluster.clock.advance(20);
    await stopped;
    expect(cluster.store(2).received).toBeNull();
    expect(cluster.failures).toEqual([]);
  });

  test("in the middle of sending closes what it sends", async () => {
    const cluster = await withLaggard();
    const chunks = watchChunks(cluster);
    cluster.heal();
    await cluster.until(() => isHalfWay(cluster, chunks));
    expect(cluster.store(0).openSources).toBe(1);
    const stopped = cluster.node(0).stop();
    await cluster.clock.advance(20);
    await stopped;
    expect(cluster.store(0).openSources).toBe(0);
    expect(cluster.failures).toEqual([]);
  });

  test("while it waits for the core's answer to a snapshot stops all the same", async () => {
    const cluster = await withLaggard();
    cluster.heal();
    await cluster.until(() => cluster.store(2).received !== null);
    cluster.store(2).delayMs = 500;
    await cluster.until(() => cluster.count("installed", 2) === 1);
    const stopped = cluster.node(2).stop();
    await cluster.clock.advance(1000);
    await stopped;
    expect(cluster.store(2).snapshotInfo?.position.index).toBe(cluster.node(2).appliedIndex);
    expect(cluster.failures).toEqual([]);
  });
});

test("a put to a leader that sends a snapshot takes no longer than usual", async () => {
  const cluster = await withLaggard(300, { transferBytesPerSecond: 20_000 });
  cluster.heal();
  await cluster.until(() => cluster.store(2).received !== null);
  const outcome = cluster.node(0).put(put("k", "v"));
  await cluster.clock.advance(10);
  expect((await outcome).kind).toBe("done");
  expect(cluster.store(2).received).toBe("unfinished");
});
