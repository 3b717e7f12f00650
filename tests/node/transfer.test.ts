/** Leadership that goes to another server on purpose (dissertation §3.10). Server 0 leads at first. */
import { describe, expect, test } from "bun:test";
import type { TransferOutcome } from "../../src/node/handover.ts";
import type { PutOutcome } from "../../src/node/waiting-clients.ts";
import type { ServerId } from "../../src/raft/entry.ts";
import { fill, ledByServer0, type NodeCluster, put } from "./node-cluster.ts";

function transfer(cluster: NodeCluster, id: ServerId, to: ServerId | null): Promise<TransferOutcome> {
  return cluster.finish(cluster.node(id).transferLeadership(to));
}

describe("a transfer of leadership", () => {
  test.each([1, 2])("goes to server %d at once, in one term, without an election timeout", async (to) => {
    const cluster = await ledByServer0(3);
    await fill(cluster, 0, 10);
    const outcome = await cluster.finish(cluster.node(0).transferLeadership(to), 50);
    expect(outcome).toEqual({ kind: "done", leaderId: to });
    await cluster.until(() => cluster.isReady(to), 50);
    expect(cluster.node(to).status().currentTerm).toBe(2);
    await fill(cluster, to, 10);
  });

  test("goes to whoever has most of the log when nobody is named", async () => {
    const cluster = await ledByServer0(3);
    cluster.onTheWay = (_from, to, request) => {
      const carries = request.kind === "appendEntries" && request.entries.length > 0;
      return to === 1 && carries ? null : request;
    };
    await fill(cluster, 0, 10);
    expect(await transfer(cluster, 0, null)).toEqual({ kind: "done", leaderId: 2 });
  });

  test("C2: every put meanwhile is done, or was not done at all and says so", async () => {
    const cluster = await ledByServer0(3);
    const before = Array.from({ length: 20 }, (_, i) => cluster.node(0).put(put(`a${i}`, "v")));
    const transferred = cluster.node(0).transferLeadership(1);
    const refused = await cluster.node(0).put(put("b", "v"));
    expect(refused).toEqual({ kind: "transferring", to: 1 });
    const kinds = (await cluster.finish(Promise.all(before))).map(({ kind }) => kind);
    expect(new Set(kinds)).toEqual(new Set(["done"]));
    await cluster.finish(transferred);
    expect(await cluster.node(0).put(put("b", "v"))).toEqual({ kind: "notLeader", leaderId: 1 });
    await fill(cluster, 1, 1);
    expect(cluster.node(1).get("b")).toBeUndefined();
  });

  test("L1: reads go on during it, on every server", async () => {
    const cluster = await ledByServer0(3);
    await fill(cluster, 0, 10);
    cluster.store(1).delayMs = 30;
    void cluster.node(0).put(put("k", "v"));
    const transferred = cluster.node(0).transferLeadership(1);
    await cluster.clock.advance(1);
    expect(cluster.node(0).status().transferTo).toBe(1);
    for (const id of [0, 1, 2]) {
      expect(await cluster.finish(cluster.node(id).read())).toEqual({ kind: "ready" });
    }
    expect(cluster.node(0).status().transferTo).toBe(1);
    expect(await cluster.finish(transferred)).toEqual({ kind: "done", leaderId: 1 });
  });

  test("to one that does not answer is given up, and puts go on", async () => {
    const cluster = await ledByServer0(3);
    cluster.isolate(2);
    expect(await cluster.finish(cluster.node(0).transferLeadership(2), 1000)).toEqual({ kind: "failed" });
    expect(cluster.count("transferFailed", 0)).toBe(1);
    await fill(cluster, 0, 10);
    expect(await transfer(cluster, 0, 2)).toEqual({ kind: "refused", why: "silent" });
    expect(cluster.node(0).status().currentTerm).toBe(1);
  });

  test("that is impossible is refused, each with its reason", async () => {
    const cluster = await ledByServer0(3);
    expect(await transfer(cluster, 0, 0)).toEqual({ kind: "refused", why: "self" });
    expect(await transfer(cluster, 0, 7)).toEqual({ kind: "refused", why: "unknownMember" });
    expect(await transfer(cluster, 1, 2)).toEqual({ kind: "notLeader", leaderId: 0 });
    const first = cluster.node(0).transferLeadership(1);
    expect(await cluster.node(0).transferLeadership(2)).toEqual({ kind: "refused", why: "underWay" });
    const again = cluster.node(0).transferLeadership(1);
    expect(await cluster.finish(first)).toEqual({ kind: "done", leaderId: 1 });
    expect(await cluster.finish(again)).toEqual({ kind: "done", leaderId: 1 });
    const alone = await ledByServer0(1);
    expect(await transfer(alone, 0, null)).toEqual({ kind: "refused", why: "nobody" });
  });

  test("C5: ends for whoever waits for it when the server fails", async () => {
    const cluster = await ledByServer0(3);
    cluster.store(1).delayMs = 1000;
    void cluster.node(0).put(put("k", "v"));
    const transferred = cluster.node(0).transferLeadership(1);
    cluster.store(0).fails = true;
    expect(await cluster.finish(transferred, 100)).toEqual({ kind: "failed" });
    expect(await transfer(cluster, 0, 1)).toEqual({ kind: "notLeader", leaderId: null });
  });
});

describe("a leader that is stopped", () => {
  test("hands over first, so that nobody waits for an election timeout", async () => {
    const cluster = await ledByServer0(3);
    await fill(cluster, 0, 10);
    await cluster.finish(cluster.node(0).stop(), 50);
    await cluster.until(() => cluster.isReady(1) || cluster.isReady(2), 50);
    const leader = cluster.isReady(1) ? 1 : 2;
    expect(cluster.node(leader).status().currentTerm).toBe(2);
    await fill(cluster, leader, 10);
  });

  test("answers the puts that wait, and refuses those that come", async () => {
    const cluster = await ledByServer0(3);
    const waiting = Array.from({ length: 20 }, (_, i) => cluster.node(0).put(put(`a${i}`, "v")));
    const stopped = cluster.node(0).stop();
    expect((await cluster.node(0).put(put("b", "v"))).kind).toBe("transferring");
    const kinds = (await cluster.finish(Promise.all(waiting))).map(({ kind }) => kind);
    expect(new Set(kinds)).toEqual(new Set(["done"]));
    await cluster.finish(stopped);
    expect((await cluster.node(0).put(put("b", "v"))).kind).toBe("stopping");
  });

  test("when nobody is there to take over stops all the same, soon", async () => {
    const cluster = await ledByServer0(3);
    for (const id of [1, 2]) cluster.isolate(id);
    const waiting = cluster.node(0).put(put("k", "v"));
    await cluster.finish(cluster.node(0).stop(), 600);
    expect((await waiting).kind).toBe("unknown");
    const alone = await ledByServer0(1);
    await alone.finish(alone.node(0).stop(), 20);
  });

  test("joins a transfer that is under way, and stops once, however often it is told", async () => {
    const cluster = await ledByServer0(3);
    const transferred = cluster.node(0).transferLeadership(2);
    const stopped = [cluster.node(0).stop(), cluster.node(0).stop()];
    expect(await cluster.finish(transferred)).toEqual({ kind: "done", leaderId: 2 });
    await cluster.finish(Promise.all(stopped));
    expect(cluster.failures).toEqual([]);
  });

  test("F4: and all others after it, one by one, lose no put of clients who go where they are told", async () => {
    const cluster = await ledByServer0(3);
    const kinds = new Set<string>();
    const running = { over: false };
    let at: ServerId = 0;
    const client = async (name: string): Promise<number> => {
      let done = 0;
      while (!running.over) {
        const outcome: PutOutcome = await cluster.node(at).put(put(name, `${done}`));
        kinds.add(outcome.kind);
        if (outcome.kind === "done") done += 1;
        else {
          at = [0, 1, 2].find((id) => cluster.node(id).status().role === "leader") ?? at;
          await new Promise<void>((resolve) => void cluster.clock.setTimer(1, resolve));
        }
      }
      return done;
    };
    const clients = ["a", "b", "c"].map(client);
    for (const id of [0, 1, 2]) {
      await cluster.clock.advance(100);
      await cluster.restart(id);
      await cluster.until(() => [0, 1, 2].some((other) => cluster.isReady(other)));
    }
    running.over = true;
    const counts = await cluster.finish(Promise.all(clients));
    expect(Math.min(...counts)).toBeGreaterThan(50);
    expect(kinds).not.toContain("unknown");
    expect(cluster.failures).toEqual([]);
  });
});
