import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { budgetMs } from "../../src/frontend/call-budget.ts";
import type { ClusterState } from "../../src/frontend/cluster.ts";
import { CurrentCluster } from "../../src/frontend/current-cluster.ts";
import { MAX_CALLS, Router } from "../../src/frontend/router.ts";
import type { Reply } from "../../src/frontend/reply.ts";
import type { GetKey, KeyValue } from "../../src/rpc/wire.ts";
import { freePorts } from "../cluster/free-ports.ts";
import { waitFor } from "../cluster/waiting.ts";
import { FakeCluster, never } from "./fake-store.ts";

setDefaultTimeout(30_000);

/** Long enough for a busy machine; where a test waits for it to pass, it is shorter. */
const PATIENT_MS = 20_000;
const BRIEF_MS = 1500;

const limits = { maxKeyBytes: 64, maxValueBytes: 1024, maxPendingBytes: 1 << 20 };

/** A router and the cluster that it routes to. */
class Routing {
  readonly clusters = new CurrentCluster();
  readonly #router = new Router({ clusters: this.clusters, limits, requestTimeoutMs: PATIENT_MS });

  setState(state: ClusterState): void {
    this.clusters.setState(state);
  }

  put(put: KeyValue, callerMs: number | null): Promise<Reply> {
    return this.#router.put(put, callerMs);
  }

  get(get: GetKey, callerMs: number | null): Promise<Reply> {
    return this.#router.get(get, callerMs);
  }
}

function routerTo(fakes: FakeCluster): Routing {
  const router = new Routing();
  router.setState({ kind: "running", cluster: fakes.cluster });
  return router;
}

function putOf(fields: Partial<KeyValue> = {}): KeyValue {
  return {
    key: Buffer.from("k"),
    value: Buffer.from("v"),
    clientId: 1,
    requestId: 1,
    routerId: 0,
    routerCall: 0,
    routerPending: 0,
    routerRetried: false,
    found: false,
    error: "",
    code: "OK",
    ...fields,
  };
}

function getOf(fields: Partial<GetKey> = {}): GetKey {
  return { key: Buffer.from("k"), clientId: 1, requestId: 1, consistency: "DEFAULT", ...fields };
}

/** What a reply means to a client that knows only the contract, and its code. */
function meaning({ wrongLeader, error, code }: Reply) {
  return { wrongLeader, isError: (error ?? "") !== "", code };
}

const SERVED = { wrongLeader: false, isError: false, code: "OK" } as const;
const UNKNOWN = { wrongLeader: true, isError: true, code: "UNKNOWN_OUTCOME" } as const;
const UNAVAILABLE = { wrongLeader: true, isError: true, code: "UNAVAILABLE" } as const;

function namesOf(puts: readonly KeyValue[]): readonly string[] {
  return puts.map(({ routerId, routerCall }) => `${routerId}/${routerCall}`);
}

describe("to the leader", () => {
  test("a Put and a Get are served by the leader, whichever server that is", async () => {
    await using fakes = await FakeCluster.start(3);
    fakes.store(2).lead(1);
    fakes.store(2).onGet = async ({ consistency }) => ({ value: Buffer.from(consistency), found: true });
    const router = routerTo(fakes);
    expect(meaning(await router.put(putOf(), PATIENT_MS))).toEqual(SERVED);
    const { value, found, ...reply } = await router.get(getOf(), PATIENT_MS);
    expect([meaning(reply), value?.toString(), found]).toEqual([SERVED, "LINEARIZABLE", true]);
    expect(fakes.stores.map(({ puts }) => puts.length)).toEqual([0, 0, 1]);
  });

  test("C4: a missing key reads as an empty value that is not found", async () => {
    await using fakes = await FakeCluster.start(1);
    fakes.store(0).lead(1);
    const { value, found } = await routerTo(fakes).get(getOf(), PATIENT_MS);
    expect([value?.length, found]).toEqual([0, false]);
  });

  test("F7: a deposed leader in memory: the call finds the new one", async () => {
    await using fakes = await FakeCluster.start(3);
    fakes.store(0).lead(1);
    const router = routerTo(fakes);
    await router.put(putOf(), PATIENT_MS);
    fakes.store(0).role = "follower";
    fakes.store(1).lead(2);
    expect(meaning(await router.put(putOf(), PATIENT_MS))).toEqual(SERVED);
    expect(fakes.store(1).puts).toHaveLength(1);
  });

  test("F7: hints that are wrong or go in a circle do not hold a call up", async () => {
    await using fakes = await FakeCluster.start(3);
    fakes.store(0).lead(1);
    for (const { id } of fakes.stores) {
      const hint = (id + 1) % 2;
      fakes.store(id).onPut = async () => ({ code: "NOT_LEADER", error: `ask ${hint}`, leaderId: hint });
    }
    const router = routerTo(fakes);
    const reply = router.put(putOf(), PATIENT_MS);
    await waitFor("the first attempt", () => fakes.store(0).puts.length > 0);
    fakes.store(0).role = "follower";
    fakes.store(2).onPut = async () => ({ success: true });
    fakes.store(2).lead(2);
    expect(meaning(await reply)).toEqual(SERVED);
  });

  test("F7: a leader that stalls in mid-call: the call is sent to the next leader under the same name", async () => {
    await using fakes = await FakeCluster.start(3);
    fakes.store(0).lead(1);
    const router = routerTo(fakes);
    await router.put(putOf(), PATIENT_MS);
    fakes.store(0).stall();
    const reply = router.put(putOf(), PATIENT_MS);
    await waitFor("the stalled attempt", () => fakes.store(0).puts.length === 2);
    fakes.store(1).lead(2);
    expect(meaning(await reply)).toEqual(SERVED);
    expect(namesOf(fakes.store(1).puts)).toEqual(namesOf(fakes.store(0).puts).slice(1));
  });

  test("F7: a leader that dies in mid-call: the call is sent to the next leader", async () => {
    await using fakes = await FakeCluster.start(3);
    fakes.store(0).lead(1);
    fakes.store(0).onPut = never;
    const router = routerTo(fakes);
    const reply = router.put(putOf(), PATIENT_MS);
    await waitFor("the attempt", () => fakes.store(0).puts.length === 1);
    await fakes.store(0).close();
    fakes.store(2).lead(2);
    expect(meaning(await reply)).toEqual(SERVED);
  });

  test("F7: a server that stalls does not hold up the search for the leader", async () => {
    await using fakes = await FakeCluster.start(3);
    fakes.store(0).stall();
    fakes.store(1).stall();
    fakes.store(2).lead(4);
    expect(meaning(await routerTo(fakes).put(putOf(), PATIENT_MS))).toEqual(SERVED);
  });

  test("L1: a server that still claims an older leadership gets no calls", async () => {
    await using fakes = await FakeCluster.start(3);
    fakes.store(1).lead(5);
    const router = routerTo(fakes);
    await router.put(putOf(), PATIENT_MS);
    fakes.store(1).role = "follower";
    fakes.store(0).lead(3);
    expect(meaning(await router.put(putOf(), BRIEF_MS))).toEqual(UNAVAILABLE);
    expect(fakes.store(0).puts).toHaveLength(0);
  });

  test("F5: another cluster's server on the port of one of ours gets no calls", async () => {
    await using fakes = await FakeCluster.start(2);
    fakes.store(0).clusterId = "another";
    fakes.store(0).lead(9);
    fakes.store(1).lead(1);
    expect(meaning(await routerTo(fakes).put(putOf(), PATIENT_MS))).toEqual(SERVED);
    expect(fakes.store(0).puts).toHaveLength(0);
  });
});

describe("a local read", () => {
  const local = getOf({ consistency: "LOCAL" });

  test("is served without a leader, by one server after the other", async () => {
    await using fakes = await FakeCluster.start(3);
    for (const { id } of fakes.stores) {
      fakes.store(id).onGet = async ({ consistency }) => ({
        value: Buffer.from(`${consistency} ${id}`),
        found: true,
      });
    }
    const router = routerTo(fakes);
    const values = new Set<string | undefined>();
    for (let i = 0; i < 6; i++) values.add((await router.get(local, PATIENT_MS)).value?.toString());
    expect([...values].toSorted()).toEqual(["LOCAL 0", "LOCAL 1", "LOCAL 2"]);
  });

  test("is served by whoever answers", async () => {
    await using fakes = await FakeCluster.start(3);
    await fakes.store(0).close();
    fakes.store(1).stall();
    fakes.store(2).onGet = async () => ({ value: Buffer.from("v"), found: true });
    const router = routerTo(fakes);
    for (let i = 0; i < 3; i++) expect(meaning(await router.get(local, PATIENT_MS))).toEqual(SERVED);
  });

  test("F5: is never served by another cluster's server on the port of one of ours", async () => {
    await using fakes = await FakeCluster.start(2);
    fakes.store(0).clusterId = "another";
    for (const store of fakes.stores) {
      store.onGet = async () => ({ value: Buffer.from(store.clusterId), found: true });
    }
    const router = routerTo(fakes);
    for (let i = 0; i < 4; i++) expect((await router.get(local, PATIENT_MS)).value?.toString()).toBe("fake");
  });

  test("that nobody serves is told in time", async () => {
    await using fakes = await FakeCluster.start(1);
    fakes.store(0).stall();
    expect(meaning(await routerTo(fakes).get(local, BRIEF_MS))).toEqual(UNAVAILABLE);
  });
});

describe("when the cluster's members change", () => {
  test("a leader that none of the known servers is anymore is found through one that knows it", async () => {
    await using fakes = await FakeCluster.start(3);
    const { clusterId, members } = fakes.cluster;
    fakes.store(1).configure(members, 7);
    fakes.store(2).lead(3);
    fakes.store(2).configure(members.slice(1), 8);
    const router = new Routing();
    router.setState({ kind: "running", cluster: { clusterId, members: members.slice(0, 2) } });
    expect(meaning(await router.put(putOf(), PATIENT_MS))).toEqual(SERVED);
    expect(fakes.store(2).puts).toHaveLength(1);
    expect(router.clusters.link?.cluster.members).toEqual(members.slice(1));
  });

  test("a leader that was moved while nobody looked is found through one that knows where it is", async () => {
    await using fakes = await FakeCluster.start(3);
    const { clusterId, members } = fakes.cluster;
    fakes.store(1).configure(members, 9);
    fakes.store(2).lead(3);
    fakes.store(2).configure(members, 9);
    const nowhere = `127.0.0.1:${await freePorts(1)}`;
    const before = members.map((member) => (member.id === 2 ? { ...member, address: nowhere } : member));
    const router = new Routing();
    router.setState({ kind: "running", cluster: { clusterId, members: before } });
    const idle = new CurrentCluster();
    idle.setState({ kind: "running", cluster: { clusterId, members: before } });
    expect(meaning(await router.put(putOf(), PATIENT_MS))).toEqual(SERVED);
    expect(fakes.store(2).puts).toHaveLength(1);
    expect(router.clusters.link?.cluster.members).toEqual(members);
    await waitFor("the new address without a call", async () => {
      await idle.refresh();
      return idle.link?.cluster.members[2]?.address === members[2]?.address;
    });
    idle.setState({ kind: "none" });
  });

  test("M4: a call that is under way at a leader that was removed is answered by it, or by the next one", async () => {
    await using fakes = await FakeCluster.start(2);
    const { members } = fakes.cluster;
    const [leader, next] = [fakes.store(0), fakes.store(1)];
    leader.lead(1);
    leader.configure(members, 1);
    const router = routerTo(fakes);
    await router.put(putOf(), PATIENT_MS);
    const answer = Promise.withResolvers<{ success: boolean }>();
    leader.onPut = () => answer.promise;
    const slow = router.put(putOf(), PATIENT_MS);
    await waitFor("the attempt", () => leader.puts.length === 2);
    leader.configure(members.slice(1), 2);
    await router.clusters.refresh();
    expect(router.clusters.link?.client(0)).toBeNull();
    const later = router.put(putOf(), PATIENT_MS);
    answer.resolve({ success: true });
    expect(meaning(await slow)).toEqual(SERVED);
    next.lead(2);
    expect(meaning(await later)).toEqual(SERVED);
    expect([leader.puts.length, next.puts.length]).toEqual([2, 1]);
  });
});

describe("outcomes", () => {
  test("C1: every attempt at one call has the same name, and no two calls have one", async () => {
    await using fakes = await FakeCluster.start(1);
    const leader = fakes.store(0);
    leader.lead(1);
    leader.onPut = async () =>
      leader.puts.length < 3 ? { code: "UNKNOWN_OUTCOME", error: "stepped down" } : { success: true };
    const router = routerTo(fakes);
    expect(meaning(await router.put(putOf(), PATIENT_MS))).toEqual(SERVED);
    await router.put(putOf(), PATIENT_MS);
    const names = namesOf(leader.puts);
    expect(names.map((name) => names.indexOf(name))).toEqual([0, 0, 0, 3]);
    expect(leader.puts.every(({ routerId, routerCall }) => routerId > 0 && routerCall > 0)).toBe(true);
  });

  test("C1: a name that a client puts into its request is replaced by ours", async () => {
    await using fakes = await FakeCluster.start(1);
    fakes.store(0).lead(1);
    await routerTo(fakes).put(putOf({ routerId: 5, routerCall: 2 ** 60 }), PATIENT_MS);
    expect(fakes.store(0).puts[0]).toMatchObject({ routerCall: 1, clientId: 1, requestId: 1 });
  });

  test("C2: a leader that leads and does not answer: the outcome is unknown, and all it was sent is one call", async () => {
    await using fakes = await FakeCluster.start(3);
    fakes.store(0).lead(1);
    const router = routerTo(fakes);
    await router.put(putOf(), PATIENT_MS);
    fakes.store(0).onPut = never;
    expect(meaning(await router.put(putOf(), BRIEF_MS))).toEqual(UNKNOWN);
    expect(new Set(fakes.store(0).puts.map(({ routerCall }) => routerCall)).size).toBe(2);
  });

  test.each(["OVERLOADED", "INVALID_ARGUMENT", "FAILED_PRECONDITION"] as const)(
    "C2: a write in doubt stays in doubt, also when a later attempt is refused as %s",
    async (code) => {
      await using fakes = await FakeCluster.start(1);
      const leader = fakes.store(0);
      leader.lead(1);
      leader.onPut = async () =>
        leader.puts.length === 1 ? { code: "UNKNOWN_OUTCOME" } : { code, error: "the value is too long" };
      const reply = await routerTo(fakes).put(putOf(), PATIENT_MS);
      expect(meaning(reply)).toEqual(UNKNOWN);
      expect(reply.error).toMatch(/the value is too long; the write may still take effect$/);
    },
  );

  test("P6: a leader that can serve no write says why, and the caller is told; one that can is found", async () => {
    await using fakes = await FakeCluster.start(2);
    const leader = fakes.store(0);
    leader.lead(1);
    leader.onPut = async () => ({ code: "UNAVAILABLE", error: "the disk is full; nothing was written" });
    const router = routerTo(fakes);
    const reply = await router.put(putOf(), BRIEF_MS);
    expect(meaning(reply)).toEqual(UNAVAILABLE);
    expect(reply.error).toContain("the last one said: the disk is full; nothing was written");
    const { length } = leader.puts;
    const later = router.put(putOf(), PATIENT_MS);
    await waitFor("another attempt", () => leader.puts.length > length);
    leader.role = "follower";
    fakes.store(1).lead(2);
    expect(meaning(await later)).toEqual(SERVED);
  });

  test("a bug is no answer: the call rejects, and whoever serves it ends the process", async () => {
    const broken = {
      ...limits,
      get maxKeyBytes(): number {
        throw new TypeError("a bug");
      },
    };
    const router = new Router({
      clusters: new CurrentCluster(),
      limits: broken,
      requestTimeoutMs: PATIENT_MS,
    });
    await expect(router.put(putOf(), PATIENT_MS)).rejects.toThrow(TypeError);
    await expect(router.get(getOf(), PATIENT_MS)).rejects.toThrow(TypeError);
  });

  test("without a leader a call ends in its time, and nothing was done", async () => {
    await using fakes = await FakeCluster.start(3);
    const router = routerTo(fakes);
    const replies = await Promise.all([router.put(putOf(), BRIEF_MS), router.get(getOf(), BRIEF_MS)]);
    expect(replies.map(meaning)).toEqual([UNAVAILABLE, UNAVAILABLE]);
    expect(fakes.stores.flatMap(({ puts }) => puts)).toHaveLength(0);
  });

  test("a read is never in doubt", async () => {
    await using fakes = await FakeCluster.start(1);
    fakes.store(0).lead(1);
    fakes.store(0).onGet = never;
    expect(meaning(await routerTo(fakes).get(getOf(), BRIEF_MS))).toEqual(UNAVAILABLE);
  });

  test("C6: a call whose time has passed is not sent", async () => {
    await using fakes = await FakeCluster.start(1);
    fakes.store(0).lead(1);
    const router = routerTo(fakes);
    await router.put(putOf(), PATIENT_MS);
    expect(meaning(await router.put(putOf(), 0))).toEqual(UNAVAILABLE);
    expect(fakes.store(0).puts).toHaveLength(1);
  });

  test("I3: the leader's overload is told at once, and not pressed", async () => {
    await using fakes = await FakeCluster.start(1);
    fakes.store(0).lead(1);
    fakes.store(0).onPut = async () => ({ code: "OVERLOADED", error: "overloaded" });
    const reply = await routerTo(fakes).put(putOf(), PATIENT_MS);
    expect(reply).toEqual({ wrongLeader: false, code: "OVERLOADED", error: "overloaded" });
    expect(fakes.store(0).puts).toHaveLength(1);
  });

  test("I2: what the leader calls a bad argument is passed on", async () => {
    await using fakes = await FakeCluster.start(1);
    fakes.store(0).lead(1);
    fakes.store(0).onPut = async () => ({ code: "INVALID_ARGUMENT", error: "no" });
    const reply = await routerTo(fakes).put(putOf(), PATIENT_MS);
    expect(reply).toEqual({ wrongLeader: false, code: "INVALID_ARGUMENT", error: "no" });
  });
});

describe("before a server is asked", () => {
  const nowhere = new Routing();
  const refused = { wrongLeader: false, isError: true, code: "INVALID_ARGUMENT" } as const;

  test.each([
    ["an empty key", { key: Buffer.alloc(0) }],
    ["an oversized key", { key: Buffer.alloc(65, "k") }],
    ["a key that is not text", { key: Buffer.from([0xc0]) }],
    ["an id that is no exact number", { requestId: 2 ** 60 }],
  ])("I2: %s is refused", async (_, fields) => {
    expect(meaning(await nowhere.put(putOf(fields), PATIENT_MS))).toEqual(refused);
    expect(meaning(await nowhere.get(getOf(fields), PATIENT_MS))).toEqual(refused);
  });

  test("I2: an oversized value is refused", async () => {
    const put = putOf({ value: Buffer.alloc(1025) });
    expect(meaning(await nowhere.put(put, PATIENT_MS))).toEqual(refused);
  });

  test("without a cluster the answer comes at once", async () => {
    const router = new Routing();
    router.setState({ kind: "none" });
    const expected = { wrongLeader: true, isError: true, code: "NO_CLUSTER" } as const;
    expect(meaning(await router.put(putOf(), null))).toEqual(expected);
    expect(meaning(await router.get(getOf(), null))).toEqual(expected);
  });

  test("I3: calls in flight are bounded, by number and by bytes", async () => {
    const router = new Routing();
    const waiting = Array.from({ length: MAX_CALLS }, () => router.get(getOf(), null));
    expect((await router.get(getOf(), null)).code).toBe("OVERLOADED");
    router.setState({ kind: "none" });
    const codes = new Set((await Promise.all(waiting)).map(({ code }) => code));
    expect([...codes]).toEqual(["NO_CLUSTER"]);

    const heavy = new Routing();
    const value = Buffer.alloc(1024, "v");
    const heavyPuts = Array.from({ length: 1023 }, () => heavy.put(putOf({ value }), null));
    expect((await heavy.put(putOf({ value }), null)).code).toBe("OVERLOADED");
    heavy.setState({ kind: "none" });
    await Promise.all(heavyPuts);
  });

  test("a caller's deadline leaves time for our answer; without one there is a default, and a cap", () => {
    expect(budgetMs(5000, 100)).toBe(4900);
    expect(budgetMs(200, 100)).toBe(180);
    expect(budgetMs(5, 100)).toBe(0);
    expect(budgetMs(null, 100)).toBe(100);
    expect(budgetMs(10 * 60_000, 100)).toBe(60_000);
    expect(budgetMs(null, 600_000)).toBe(60_000);
  });
});

describe("when the cluster is replaced", () => {
  test("calls that come while it is started wait for the new one", async () => {
    await using fakes = await FakeCluster.start(1);
    fakes.store(0).lead(1);
    const router = new Routing();
    router.setState({ kind: "changing" });
    const reply = router.put(putOf(), PATIENT_MS);
    router.setState({ kind: "running", cluster: fakes.cluster });
    expect(meaning(await reply)).toEqual(SERVED);
  });

  test("and are told in time when there is none", async () => {
    const router = new Routing();
    expect(meaning(await router.put(putOf(), 300))).toEqual(UNAVAILABLE);
  });

  test("C2: a write that is under way in the old one is answered, and never sent to the new one", async () => {
    await using old = await FakeCluster.start(1, "old");
    await using fresh = await FakeCluster.start(1, "fresh");
    old.store(0).lead(1);
    old.store(0).onPut = never;
    fresh.store(0).lead(1);
    const router = new Routing();
    router.setState({ kind: "running", cluster: old.cluster });
    const doubtful = router.put(putOf(), PATIENT_MS);
    await waitFor("the attempt", () => old.store(0).puts.length === 1);
    router.setState({ kind: "changing" });
    await old.store(0).close();
    router.setState({ kind: "running", cluster: fresh.cluster });
    expect(meaning(await doubtful)).toEqual(UNKNOWN);
    expect(fresh.store(0).puts).toHaveLength(0);
  });

  test("a call that found no leader in the old one is answered", async () => {
    await using fakes = await FakeCluster.start(1);
    const router = routerTo(fakes);
    const reply = router.put(putOf(), PATIENT_MS);
    router.setState({ kind: "none" });
    expect(meaning(await reply)).toEqual(UNAVAILABLE);
  });
});
