/** Changes of the configuration through the driver. Server 0 leads at first. */
import { describe, expect, test } from "bun:test";
import type { ChangeOutcome } from "../../src/node/waiting-clients.ts";
import { initialConfiguration, votersOf, type ConfigurationChange } from "../../src/raft/configuration.ts";
import type { ServerId } from "../../src/raft/entry.ts";
import { fill, ledByServer0, type NodeCluster, put } from "./node-cluster.ts";

/** Asks server `id` for the change, again and again as long as it is too early for one. */
async function change(
  cluster: NodeCluster,
  id: ServerId,
  wanted: ConfigurationChange,
): Promise<ChangeOutcome> {
  for (let i = 0; ; i += 1) {
    const outcome = await cluster.finish(cluster.node(id).changeConfiguration(wanted));
    if (outcome.kind !== "refused" || outcome.why !== "notReady" || i === 100) return outcome;
    await cluster.clock.advance(5);
  }
}

function add(id: ServerId): ConfigurationChange {
  return { kind: "add", id, address: "" };
}

/** Promotes server `id`, which may have to catch up first. */
async function promote(cluster: NodeCluster, leader: ServerId, id: ServerId): Promise<void> {
  for (let i = 0; i < 100; i += 1) {
    const outcome = await change(cluster, leader, { kind: "promote", id });
    if (outcome.kind === "done") return;
    expect(outcome).toEqual({ kind: "refused", why: "notCaughtUp" });
    await cluster.clock.advance(20);
  }
  throw new Error(`server ${id} does not catch up`);
}

function hasCaughtUp(cluster: NodeCluster, id: ServerId): boolean {
  return cluster.node(id).appliedIndex === cluster.node(0).appliedIndex;
}

describe("a server that waits to be added", () => {
  test("M5: neither stands for election nor answers for the cluster", async () => {
    const cluster = await ledByServer0(3);
    const node = cluster.join(3);
    await cluster.clock.advance(5000);
    expect(node.status()).toMatchObject({ role: "follower", currentTerm: 0, configuration: [] });
    expect(await cluster.finish(node.put(put("k", "v")))).toEqual({ kind: "notLeader", leaderId: null });
    expect(await cluster.finish(node.read())).toEqual({ kind: "notLeader", leaderId: null });
    expect(await change(cluster, 3, add(3))).toEqual({ kind: "notLeader", leaderId: null });
    expect(cluster.node(0).status()).toMatchObject({ role: "leader", currentTerm: 1 });
  });

  test("M5: gets the log from its beginning, votes once it is promoted, and reads as the others do", async () => {
    const cluster = await ledByServer0(3);
    await fill(cluster, 0, 50);
    cluster.join(3);
    expect(await change(cluster, 0, add(3))).toEqual({ kind: "done" });
    expect(votersOf(cluster.node(0).status().configuration)).toEqual([0, 1, 2]);
    await cluster.until(() => hasCaughtUp(cluster, 3));
    await promote(cluster, 0, 3);
    await cluster.until(() => votersOf(cluster.node(3).status().configuration).length === 4);
    expect(await cluster.finish(cluster.node(3).read())).toEqual({ kind: "ready" });
    expect(cluster.node(3).keyCount).toBe(50);
    // Three of four voters are a majority, and two of the first three are none.
    cluster.isolate(1);
    await fill(cluster, 0, 10);
    cluster.isolate(2);
    const outcome = cluster.node(0).put(put("k", "v"));
    expect((await cluster.finish(outcome)).kind).toBe("unknown");
  });

  test("S5, M5: gets a snapshot, which tells it who belongs to the cluster, also after a restart", async () => {
    const cluster = await ledByServer0(3, { entries: 100, keepEntries: 5 });
    await fill(cluster, 0, 300);
    await cluster.until(() => cluster.node(0).status().firstLogIndex > 50);
    cluster.join(3);
    expect(await change(cluster, 0, add(3))).toEqual({ kind: "done" });
    await cluster.until(() => hasCaughtUp(cluster, 3));
    expect(cluster.count("installed", 3)).toBe(1);
    await promote(cluster, 0, 3);
    await cluster.until(() => hasCaughtUp(cluster, 3));
    cluster.killAndStart(3);
    expect(cluster.node(3).status().configuration).toEqual(initialConfiguration([0, 1, 2, 3]));
    await fill(cluster, 0, 200, { first: 300 });
    await cluster.until(() => cluster.count("snapshotTaken", 3) > 0 && hasCaughtUp(cluster, 3));
    cluster.killAndStart(3);
    expect(cluster.node(3).status().configuration).toEqual(initialConfiguration([0, 1, 2, 3]));
    expect(cluster.failures).toEqual([]);
  });

  test("S5: takes no snapshot before it knows the cluster that it would name", async () => {
    const cluster = await ledByServer0(1, { entries: 50 });
    cluster.store(0).fullForSnapshots = true;
    await fill(cluster, 0, 300);
    const node = cluster.join(1);
    // The log comes a batch at a time; what says who belongs to the cluster stands at its end.
    cluster.onTheWay = (_from, to, request) => {
      if (to !== 1 || request.kind !== "appendEntries") return request;
      const entries = request.entries.slice(0, Math.max(0, 200 - request.prevLogIndex));
      return { ...request, entries };
    };
    await change(cluster, 0, add(1));
    await cluster.until(() => node.appliedIndex === 200);
    await cluster.clock.advance(100);
    const taken = node.takeSnapshot().catch((error: unknown) => error);
    expect(await cluster.finish(taken)).toMatchObject({ code: "unavailable" });
    expect(cluster.store(1).prepareCount).toBe(0);
    cluster.onTheWay = (_from, _to, request) => request;
    await cluster.until(() => cluster.count("snapshotTaken", 1) === 1);
    expect(cluster.failures).toEqual([]);
  });
});

describe("a change", () => {
  test("M2: while another is not committed is refused, and harms nothing", async () => {
    const cluster = await ledByServer0(3);
    await cluster.clock.advance(100);
    for (const id of [3, 4]) cluster.join(id);
    const first = cluster.node(0).changeConfiguration(add(3));
    expect(await cluster.node(0).changeConfiguration(add(4))).toEqual({ kind: "refused", why: "underWay" });
    expect(await cluster.finish(first)).toEqual({ kind: "done" });
    expect(await change(cluster, 0, add(4))).toEqual({ kind: "done" });
    expect(
      cluster
        .node(0)
        .status()
        .configuration.map(({ id }) => id),
    ).toEqual([0, 1, 2, 3, 4]);
  });

  test("on a follower is refused, and the leader named", async () => {
    const cluster = await ledByServer0(3);
    expect(await change(cluster, 1, add(3))).toEqual({ kind: "notLeader", leaderId: 0 });
  });

  test("C2, M3: that a deposed leader had in its log is unknown to whoever asked, and gone when it was truncated", async () => {
    const cluster = await ledByServer0(3);
    await cluster.clock.advance(100);
    cluster.isolate(0);
    const outcome = await change(cluster, 0, add(3));
    expect(outcome.kind).toBe("unknown");
    expect(cluster.node(0).status().configuration).toHaveLength(4);
    cluster.heal();
    await cluster.until(() => cluster.node(0).status().configuration.length === 3);
    expect(cluster.count("configurationChanged", 0)).toBe(2);
  });

  test("C5: ends as unknown when the disk is full or the server stops, and is refused afterwards", async () => {
    const cluster = await ledByServer0(1);
    cluster.store(0).full = true;
    expect((await change(cluster, 0, add(1))).kind).toBe("unknown");
    expect(await change(cluster, 0, add(2))).toEqual({ kind: "diskFull" });
    const other = await ledByServer0(1);
    other.store(0).delayMs = 1000;
    const outcome = other.node(0).changeConfiguration(add(1));
    const stopped = other.node(0).stop();
    expect((await other.finish(outcome, 500)).kind).toBe("unknown");
    await other.finish(stopped);
    expect(await change(other, 0, add(2))).toEqual({ kind: "stopping" });
  });
});

describe("the members", () => {
  test("M4: a removed leader sees its removal committed and makes way for another, which nobody waits for long", async () => {
    const cluster = await ledByServer0(3);
    await fill(cluster, 0, 10);
    expect(await change(cluster, 0, { kind: "remove", id: 0 })).toEqual({ kind: "done" });
    await cluster.until(() => [1, 2].some((id) => cluster.isReady(id)), 100);
    const leader = cluster.isReady(1) ? 1 : 2;
    const { currentTerm } = cluster.node(leader).status();
    await fill(cluster, leader, 10);
    const messages = cluster.watch("appendEntries");
    await cluster.clock.advance(5000);
    expect(cluster.node(leader).status()).toMatchObject({ role: "leader", currentTerm });
    expect(cluster.node(0).status().role).not.toBe("leader");
    // Two are left, and nothing goes to the third: a heartbeat in 50 ms, and no more.
    expect(messages.length).toBeLessThanOrEqual(101);
    expect((await cluster.finish(cluster.node(0).read())).kind).not.toBe("ready");
  });

  test("M4: a removed server does not disturb the others, not even when it starts again", async () => {
    const cluster = await ledByServer0(3);
    cluster.isolate(2);
    expect(await change(cluster, 0, { kind: "remove", id: 2 })).toEqual({ kind: "done" });
    cluster.heal();
    cluster.killAndStart(2);
    await cluster.clock.advance(5000);
    expect(cluster.node(0).status()).toMatchObject({ role: "leader", currentTerm: 1 });
    await fill(cluster, 0, 10);
  });

  test("grow from one to three and shrink to two while clients write", async () => {
    const cluster = await ledByServer0(1);
    let writes = 0;
    const writing = { over: false };
    const client = async (): Promise<void> => {
      while (!writing.over) {
        expect(await cluster.node(0).put(put(`k${writes % 7}`, `${writes}`))).toMatchObject({ kind: "done" });
        writes += 1;
      }
    };
    const clients = Promise.all([client(), client()]);
    for (const id of [1, 2]) {
      cluster.join(id);
      expect(await change(cluster, 0, add(id))).toEqual({ kind: "done" });
      await promote(cluster, 0, id);
    }
    expect(await change(cluster, 0, { kind: "remove", id: 1 })).toEqual({ kind: "done" });
    writing.over = true;
    await cluster.finish(clients);
    expect(writes).toBeGreaterThan(50);
    expect(votersOf(cluster.node(0).status().configuration)).toEqual([0, 2]);
    await cluster.until(() => hasCaughtUp(cluster, 2));
    expect(cluster.node(0).status().currentTerm).toBe(1);
  });
});
