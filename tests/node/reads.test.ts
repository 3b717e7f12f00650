/** Linearizable reads through the driver. Server 0 leads at first. */
import { describe, expect, test } from "bun:test";
import type { ReadOutcome } from "../../src/node/reads.ts";
import type { ServerId } from "../../src/raft/entry.ts";
import { fill, ledByServer0, type NodeCluster, put } from "./node-cluster.ts";

/** What a client that reads `key` at the server is told. */
async function read(cluster: NodeCluster, id: ServerId, key: string): Promise<string | undefined> {
  const outcome = await cluster.finish(cluster.node(id).read());
  expect(outcome).toEqual({ kind: "ready" });
  return cluster.node(id).get(key);
}

async function write(cluster: NodeCluster, id: ServerId, key: string, value: string): Promise<void> {
  expect(await cluster.finish(cluster.node(id).put(put(key, value)))).toMatchObject({ kind: "done" });
}

/** Begins to read; `outcome` is null as long as it waits. */
function begin(cluster: NodeCluster, id: ServerId): { outcome: ReadOutcome | null } {
  const reading: { outcome: ReadOutcome | null } = { outcome: null };
  void cluster
    .node(id)
    .read()
    .then((outcome) => (reading.outcome = outcome));
  return reading;
}

/** Nothing that server `id` is to append gets there; heartbeats do, and say no later commit index. */
function withholdEntries(cluster: NodeCluster, id: ServerId): void {
  const { commitIndex } = cluster.node(id).status();
  cluster.onTheWay = (_from, to, request) => {
    if (to !== id || request.kind !== "appendEntries") return request;
    return request.entries.length > 0 || request.leaderCommit > commitIndex ? null : request;
  };
}

/** Another leader than server 0 has written `value` to `key`, which server 0 has not heard of. */
async function deposeServer0(cluster: NodeCluster, key: string, value: string): Promise<ServerId> {
  cluster.isolate(0);
  await cluster.until(() => [1, 2].some((id) => cluster.isReady(id)));
  const leader = cluster.isReady(1) ? 1 : 2;
  await write(cluster, leader, key, value);
  return leader;
}

describe("a linearizable read", () => {
  test("L1: sees what was acknowledged before it, on the leader and on every follower", async () => {
    const cluster = await ledByServer0(3);
    for (const id of [0, 1, 2]) {
      await write(cluster, 0, "k", `v${id}`);
      expect(await read(cluster, id, "k")).toBe(`v${id}`);
    }
  });

  test("costs no entry and no fsync", async () => {
    const cluster = await ledByServer0(3);
    await cluster.clock.advance(100);
    const before = [0, 1, 2].map((id) => cluster.store(id).persists.length);
    for (const id of [0, 1, 2]) await read(cluster, id, "k");
    await cluster.clock.advance(100);
    expect([0, 1, 2].map((id) => cluster.store(id).persists.length)).toEqual(before);
  });

  test("of the only server asks nobody", async () => {
    const cluster = await ledByServer0(1);
    await write(cluster, 0, "k", "v");
    expect(await read(cluster, 0, "k")).toBe("v");
  });

  test("shares its round with all that are asked in one turn", async () => {
    const cluster = await ledByServer0(3);
    await cluster.clock.advance(51);
    const messages = cluster.watch("appendEntries");
    const reads = Array.from({ length: 64 }, () => cluster.node(0).read());
    const outcomes = await cluster.finish(Promise.all(reads));
    expect(new Set(outcomes.map(({ kind }) => kind))).toEqual(new Set(["ready"]));
    // One for the round, and perhaps a heartbeat that is due.
    expect(messages.length).toBeLessThanOrEqual(1 + 2);
  });

  test.each([0, 1])("of 64 clients who read on and on at server %d costs few messages", async (id) => {
    const cluster = await ledByServer0(3);
    const heartbeats = cluster.watch("appendEntries");
    const requests = cluster.watch("readIndex");
    const beganMs = cluster.clock.nowMs();
    const client = async (): Promise<void> => {
      for (let i = 0; i < 20; i += 1) expect(await cluster.node(id).read()).toEqual({ kind: "ready" });
    };
    await cluster.finish(Promise.all(Array.from({ length: 64 }, client)));
    // A round takes two milliseconds, and serves all 64; beside it there are the heartbeats that are due.
    const rounds = 20 + 1;
    const due = Math.ceil((cluster.clock.nowMs() - beganMs) / 50) + 1;
    expect(heartbeats.length).toBeLessThanOrEqual(rounds + 2 * due);
    expect(requests.length).toBeLessThanOrEqual(id === 0 ? 0 : rounds);
  });

  test("I3: beyond the limit is refused at once, also one that another server asks for", async () => {
    const cluster = await ledByServer0(3);
    const reads = Array.from({ length: 300 }, () => cluster.node(0).read());
    const asked = cluster
      .node(0)
      .handleRequest({ kind: "readIndex" })
      .catch((error: unknown) => error);
    expect(await cluster.finish(asked)).toMatchObject({ code: "overloaded" });
    const kinds = (await cluster.finish(Promise.all(reads))).map(({ kind }) => kind);
    expect(kinds.filter((kind) => kind === "ready")).toHaveLength(200);
    expect(kinds.slice(200)).toEqual(Array.from({ length: 100 }, () => "overloaded"));
    await read(cluster, 0, "k");
  });
});

describe("a leader that is one no more", () => {
  test("L1: answers no read while it is cut off, and C5: tells everybody at once when it steps down", async () => {
    const cluster = await ledByServer0(3);
    await write(cluster, 0, "k", "old");
    cluster.isolate(0);
    const readings = [begin(cluster, 0), begin(cluster, 0)];
    await cluster.until(() => cluster.isReady(1) || cluster.isReady(2));
    await cluster.until(() => {
      const leads = cluster.node(0).status().role === "leader";
      if (leads) expect(readings.map(({ outcome }) => outcome)).toEqual([null, null]);
      return !leads;
    });
    expect(readings.map(({ outcome }) => outcome?.kind)).toEqual(["notLeader", "notLeader"]);
  });

  test("L1: and is back among the others hears of the later one before it answers", async () => {
    const cluster = await ledByServer0(3);
    await write(cluster, 0, "k", "old");
    const leader = await deposeServer0(cluster, "k", "new");
    expect(cluster.node(0).status().role).toBe("leader");
    cluster.heal();
    const outcome = await cluster.finish(cluster.node(0).read());
    expect(outcome.kind).toBe("notLeader");
    await cluster.until(() => cluster.node(0).status().leaderId === leader);
    expect(await read(cluster, 0, "k")).toBe("new");
  });

  test("L1: tells a follower that still follows it nothing", async () => {
    const cluster = await ledByServer0(5);
    await write(cluster, 0, "k", "old");
    // Servers 0 and 1 on one side; the others elect a leader.
    cluster.onTheWay = (from, to, request) => (from < 2 === to < 2 ? request : null);
    await cluster.until(() => [2, 3, 4].some((id) => cluster.isReady(id)));
    expect(cluster.node(1).status().leaderId).toBe(0);
    const reading = begin(cluster, 1);
    await cluster.until(() => reading.outcome !== null);
    expect(reading.outcome?.kind).toBe("unavailable");
  });

  test("L3: counts no acknowledgement of an earlier round for a later read", async () => {
    const cluster = await ledByServer0(3);
    await cluster.clock.advance(100);
    cluster.replyLatencyMs = () => 100;
    const earlier = begin(cluster, 0);
    await cluster.clock.advance(10);
    // What server 0 sends from now on does not arrive; the replies to what it has sent do.
    cluster.onTheWay = (from, _to, request) => (from === 0 ? null : request);
    const later = begin(cluster, 0);
    await cluster.until(() => earlier.outcome !== null);
    expect(earlier.outcome).toEqual({ kind: "ready" });
    await cluster.until(() => later.outcome !== null);
    expect(later.outcome?.kind).toBe("notLeader");
  });

  test("L1: takes no snapshot for a client", async () => {
    const cluster = await ledByServer0(3);
    await fill(cluster, 0, 10);
    await deposeServer0(cluster, "k", "new");
    const taken = cluster
      .node(0)
      .takeSnapshot()
      .catch((error: unknown) => error);
    expect(await cluster.finish(taken)).toMatchObject({ code: "notLeader" });
    expect(cluster.store(0).prepareCount).toBe(0);
  });
});

describe("a new leader", () => {
  test("L2: answers a read when its no-op is applied", async () => {
    const cluster = await ledByServer0(3);
    await write(cluster, 0, "k", "v");
    cluster.isolate(0);
    await cluster.until(() => cluster.node(1).status().role === "leader");
    expect(cluster.isReady(1)).toBe(false);
    cluster.store(1).delayMs = 40;
    cluster.store(2).delayMs = 40;
    const reading = begin(cluster, 1);
    await cluster.until(() => {
      if (!cluster.isReady(1)) expect(reading.outcome).toBeNull();
      return reading.outcome !== null;
    });
    expect(reading.outcome).toEqual({ kind: "ready" });
    expect(cluster.node(1).get("k")).toBe("v");
  });

  test("L2, C5: that is deposed before its no-op is committed answers those who wait for it", async () => {
    const cluster = await ledByServer0(3);
    cluster.isolate(0);
    for (const id of [1, 2]) cluster.store(id).delayMs = 5;
    await cluster.until(() => cluster.node(1).status().role === "leader");
    for (const id of [1, 2]) cluster.store(id).delayMs = null;
    const reading = begin(cluster, 1);
    await cluster.clock.advance(10);
    expect(reading.outcome).toBeNull();
    const { currentTerm } = cluster.node(1).status();
    void cluster.node(1).handleRequest({
      kind: "appendEntries",
      term: currentTerm + 1,
      leaderId: 2,
      prevLogIndex: 0,
      prevLogTerm: 0,
      entries: [],
      leaderCommit: 0,
      round: 0,
    });
    await cluster.clock.advance(1);
    expect(reading.outcome).toEqual({ kind: "notLeader", leaderId: 2 });
  });
});

describe("a follower", () => {
  test("L4: answers when it has applied what the leader had committed", async () => {
    const cluster = await ledByServer0(3);
    await write(cluster, 0, "k", "old");
    await cluster.clock.advance(100);
    withholdEntries(cluster, 1);
    await write(cluster, 0, "k", "new");
    const reading = begin(cluster, 1);
    await cluster.clock.advance(100);
    expect(reading.outcome).toBeNull();
    expect(cluster.node(1).get("k")).toBe("old");
    cluster.onTheWay = (_from, _to, request) => request;
    await cluster.until(() => reading.outcome !== null);
    expect(reading.outcome).toEqual({ kind: "ready" });
    expect(cluster.node(1).get("k")).toBe("new");
  });

  test("L4: that gets a snapshot instead of the entries answers when it is installed", async () => {
    const cluster = await ledByServer0(3, { entries: 100, keepEntries: 5 });
    cluster.isolate(2);
    await fill(cluster, 0, 300);
    await cluster.until(() => cluster.node(0).status().firstLogIndex > 50);
    cluster.heal();
    await cluster.until(() => cluster.node(2).status().leaderId === 0);
    const reading = begin(cluster, 2);
    await cluster.until(() => reading.outcome !== null);
    expect(reading.outcome).toEqual({ kind: "ready" });
    expect(cluster.count("installed", 2)).toBeGreaterThan(0);
    expect(cluster.node(2).keyCount).toBe(300);
  });

  test("I3: keeps nobody waiting who is far behind its leader, and answers when it is not any more", async () => {
    const cluster = await ledByServer0(3);
    const { commitIndex } = cluster.node(1).status();
    cluster.onTheWay = (_from, to, request) => {
      if (to !== 1 || request.kind !== "appendEntries") return request;
      return request.entries.length > 0 ? null : { ...request, leaderCommit: commitIndex };
    };
    await write(cluster, 0, "k", "v");
    const late = begin(cluster, 1);
    await cluster.until(() => late.outcome !== null, 3000);
    expect(late.outcome).toEqual({ kind: "unavailable", why: "this server is behind the leader" });
    cluster.onTheWay = (_from, _to, request) => request;
    expect(await read(cluster, 1, "k")).toBe("v");
  });

  test("C5: answers at once when the leader is gone whose entries it waits for", async () => {
    const cluster = await ledByServer0(3);
    await cluster.clock.advance(100);
    withholdEntries(cluster, 1);
    await write(cluster, 0, "k", "new");
    const reading = begin(cluster, 1);
    await cluster.clock.advance(50);
    expect(reading.outcome).toBeNull();
    cluster.isolate(0);
    await cluster.until(() => {
      const follows = cluster.node(1).status().leaderId === 0;
      if (follows) expect(reading.outcome).toBeNull();
      return !follows;
    });
    expect(reading.outcome).toEqual({ kind: "unavailable", why: "server 0 does not lead any more" });
  });

  test("says so when its question or the answer to it is lost, and asks anew for the next", async () => {
    const cluster = await ledByServer0(3);
    await write(cluster, 0, "k", "v");
    cluster.onTheWay = (_from, _to, request) => (request.kind === "readIndex" ? null : request);
    expect(await cluster.finish(cluster.node(1).read())).toEqual({
      kind: "unavailable",
      why: "server 0 did not answer",
    });
    cluster.onTheWay = (_from, _to, request) => request;
    expect(await read(cluster, 1, "k")).toBe("v");
  });

  test("C5: that hears late, or never, from a leader that is gone has told its readers already, each once", async () => {
    const cluster = await ledByServer0(3);
    cluster.isolate(0);
    await cluster.clock.advance(100);
    expect(cluster.node(1).status().leaderId).toBe(0);
    const reading = begin(cluster, 1);
    await cluster.until(() => cluster.node(1).status().leaderId !== 0, 190);
    expect(reading.outcome).toEqual({ kind: "unavailable", why: "server 0 does not lead any more" });
    await cluster.until(() => cluster.isReady(1) || cluster.isReady(2));
    await cluster.clock.advance(300);
    const reads = Array.from({ length: 300 }, () => cluster.node(1).read());
    const kinds = (await cluster.finish(Promise.all(reads))).map(({ kind }) => kind);
    expect(kinds.filter((kind) => kind === "ready")).toHaveLength(200);
  });

  test("has its readers who come while a question is out wait for the next one", async () => {
    const cluster = await ledByServer0(3);
    const questions = cluster.watch("readIndex");
    cluster.replyLatencyMs = (from, _to, { kind }) => (from === 1 && kind === "readIndex" ? 100 : 1);
    const first = begin(cluster, 1);
    await cluster.clock.advance(10);
    const others = [begin(cluster, 1), begin(cluster, 1)];
    await cluster.until(() => first.outcome !== null);
    expect(others.map(({ outcome }) => outcome)).toEqual([null, null]);
    await cluster.until(() => others.every(({ outcome }) => outcome?.kind === "ready"));
    expect(questions).toHaveLength(2);
  });

  test("that knows no leader says so at once", async () => {
    const cluster = await ledByServer0(3);
    for (const id of [0, 1, 2]) cluster.isolate(id);
    await cluster.until(() => cluster.node(1).status().leaderId === null);
    expect(await cluster.finish(cluster.node(1).read(), 1)).toEqual({ kind: "notLeader", leaderId: null });
  });

  test("that is asked for another server's readers does not answer for the leader", async () => {
    const cluster = await ledByServer0(3);
    const asked = cluster.node(1).handleRequest({ kind: "readIndex" });
    expect(await cluster.finish(asked)).toEqual({ kind: "readIndexReply", readIndex: null });
  });
});

describe("a server that starts or stops", () => {
  test("L4: never answers from an empty state", async () => {
    const cluster = await ledByServer0(3);
    await write(cluster, 0, "k", "v");
    for (const id of [0, 1, 2]) cluster.killAndStart(id);
    const values = new Set<string | undefined>();
    for (let ms = 0; ms < 1000; ms += 1) {
      for (const id of [0, 1, 2]) {
        const node = cluster.node(id);
        void node.read().then(({ kind }) => kind === "ready" && values.add(node.get("k")));
      }
      await cluster.clock.advance(1);
    }
    expect([...values]).toEqual(["v"]);
  });

  test("C5: tells those who wait to read, and whoever comes later", async () => {
    const cluster = await ledByServer0(3);
    cluster.onTheWay = (_from, _to, request) => (request.kind === "readIndex" ? null : request);
    const reading = begin(cluster, 1);
    await cluster.clock.advance(10);
    const later = begin(cluster, 1);
    await cluster.finish(cluster.node(1).stop());
    expect([reading.outcome, later.outcome]).toEqual([{ kind: "stopping" }, { kind: "stopping" }]);
    expect(await cluster.node(1).read()).toEqual({ kind: "stopping" });
  });
});
