import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { CurrentCluster } from "../../src/frontend/current-cluster.ts";
import { idsOf, type Cluster } from "../../src/frontend/cluster.ts";
import { Membership } from "../../src/frontend/membership.ts";
import type { Reply } from "../../src/frontend/reply.ts";
import { deadlineIn } from "../../src/frontend/waiting.ts";
import type { Member } from "../../src/raft/configuration.ts";
import type { GenericResponse } from "../../src/rpc/wire.ts";
import { FakeCluster, never, type FakeStore } from "./fake-store.ts";

setDefaultTimeout(30_000);

/** Long enough for a busy machine; where a test waits for it to pass, it is shorter. */
const PATIENT_MS = 20_000;
const BRIEF_MS = 1500;

const ADD = { id: 2, address: "", nonVoter: false };
const REFUSAL: Partial<GenericResponse> = {
  error: "another change of the cluster is under way",
  code: "FAILED_PRECONDITION",
};

/** A cluster of two that server 2 may be added to, and what a frontend makes of it. */
class Scene implements AsyncDisposable {
  readonly fakes: FakeCluster;
  readonly membership: Membership;
  readonly followed: Cluster[] = [];
  readonly clusters = new CurrentCluster({ onFollow: (cluster) => this.followed.push(cluster) });

  private constructor(fakes: FakeCluster) {
    this.fakes = fakes;
    this.membership = new Membership(this.clusters);
  }

  /** Server 0 leads. */
  static async create(): Promise<Scene> {
    const scene = new Scene(await FakeCluster.start(3));
    const { clusterId } = scene.fakes.cluster;
    scene.store(0).lead(1);
    scene.store(0).configure(scene.members(0, 1), 0);
    const cluster = { clusterId, members: scene.members(0, 1) };
    scene.clusters.setState({ kind: "running", cluster });
    return scene;
  }

  store(id: number): FakeStore {
    return this.fakes.store(id);
  }

  members(...ids: readonly number[]): readonly Member[] {
    return this.fakes.cluster.members.filter(({ id }) => ids.includes(id));
  }

  /** The leader is asked `attempts` times to add a server: it makes no more of it than this. */
  onAdd(answer: (attempt: number) => Promise<Partial<GenericResponse>>): () => number {
    let attempts = 0;
    this.store(0).onAdd = () => answer(++attempts);
    return () => attempts;
  }

  get known(): readonly number[] {
    const link = this.clusters.link;
    return link === null ? [] : idsOf(link.cluster);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.clusters.setState({ kind: "none" });
    await this.fakes[Symbol.asyncDispose]();
  }
}

/** Without its words. */
function codeOf({ wrongLeader, code }: Reply) {
  return [wrongLeader, code];
}

describe("a change of the cluster", () => {
  test("goes to the leader as it was asked for, and the frontend follows it before it answers", async () => {
    await using scene = await Scene.create();
    const { membership } = scene;
    const leader = scene.store(0);
    const asked: unknown[] = [];
    leader.onAdd = async (args) => {
      asked.push(args);
      leader.configure(scene.members(0, 1, 2), 5);
      return { success: true };
    };
    leader.onPromote = async (id) => {
      asked.push(id);
      return { success: true };
    };
    leader.onRemove = async (id) => {
      asked.push(id);
      leader.configure(scene.members(0, 2), 6);
      return { success: true };
    };
    const add = { id: 2, address: "10.0.0.3:9001", nonVoter: true };
    expect(await membership.add(add, PATIENT_MS)).toEqual({ wrongLeader: false, code: "OK" });
    expect(scene.known).toEqual([0, 1, 2]);
    expect(codeOf(await membership.promote(2, PATIENT_MS))).toEqual([false, "OK"]);
    expect(codeOf(await membership.remove(1, null))).toEqual([false, "OK"]);
    expect(scene.known).toEqual([0, 2]);
    expect(asked).toEqual([add, 2, 1]);
    expect(scene.followed.map(idsOf)).toEqual([
      [0, 1, 2],
      [0, 2],
    ]);
  });

  test("M2: is told why the leader refuses it, at once and in its words", async () => {
    await using scene = await Scene.create();
    const attempts = scene.onAdd(async () => REFUSAL);
    expect(await scene.membership.add(ADD, PATIENT_MS)).toEqual({ wrongLeader: false, ...REFUSAL });
    expect(attempts()).toBe(1);
  });

  test("M1: is tried again while the leader is not ready, and where leadership has gone", async () => {
    await using scene = await Scene.create();
    const attempts = scene.onAdd(async (attempt) => {
      if (attempt < 3) return { code: "UNAVAILABLE", error: "just elected" };
      scene.store(0).role = "follower";
      scene.store(1).lead(2);
      return { code: "NOT_LEADER", error: "not the leader" };
    });
    scene.store(1).onAdd = async () => ({ success: true });
    expect(codeOf(await scene.membership.add(ADD, PATIENT_MS))).toEqual([false, "OK"]);
    expect(attempts()).toBe(3);
  });

  test("without a leader nothing is changed, and the caller is told in time", async () => {
    await using scene = await Scene.create();
    scene.store(0).role = "follower";
    const reply = await scene.membership.remove(1, BRIEF_MS);
    expect(codeOf(reply)).toEqual([true, "UNAVAILABLE"]);
    expect(reply.error).toMatch(/^no leader served the call within \d+ ms: nothing was changed; /);
  });

  test("without a cluster the answer comes at once", async () => {
    const clusters = new CurrentCluster();
    clusters.setState({ kind: "none" });
    expect(codeOf(await new Membership(clusters).add(ADD, null))).toEqual([true, "NO_CLUSTER"]);
  });
});

describe("a change in doubt", () => {
  test("C2: is not made twice: if the cluster is as wanted, it is done", async () => {
    await using scene = await Scene.create();
    const attempts = scene.onAdd(async () => {
      scene.store(0).role = "follower";
      scene.store(1).lead(2);
      scene.store(1).configure(scene.members(0, 1, 2), 5);
      return { code: "UNKNOWN_OUTCOME", error: "" };
    });
    expect(codeOf(await scene.membership.add(ADD, PATIENT_MS))).toEqual([false, "OK"]);
    expect(attempts()).toBe(1);
  });

  test("C2: is not done while the leader has not committed it", async () => {
    await using scene = await Scene.create();
    scene.onAdd(async () => {
      scene.store(0).configure(scene.members(0, 1, 2), 5);
      scene.store(0).commitIndex = 4;
      return { code: "UNKNOWN_OUTCOME", error: "outcome unknown: too slow" };
    });
    const reply = await scene.membership.add(ADD, BRIEF_MS);
    expect(codeOf(reply)).toEqual([true, "UNKNOWN_OUTCOME"]);
    expect(reply.error).toBe("outcome unknown: too slow; now server 2 is a voter, and server 0 leads");
  });

  test("C2: otherwise the caller is told how the cluster is now", async () => {
    await using scene = await Scene.create();
    const leader = scene.store(0);
    leader.onRemove = never;
    const reply = await scene.membership.remove(1, BRIEF_MS);
    expect(codeOf(reply)).toEqual([true, "UNKNOWN_OUTCOME"]);
    expect(reply.error).toMatch(
      /^outcome unknown: no leader .*; now server 1 is a voter, and server 0 leads$/,
    );
  });
});

describe("a transfer of leadership", () => {
  test("names who leads then", async () => {
    await using scene = await Scene.create();
    const leader = scene.store(0);
    const asked: unknown[] = [];
    leader.onTransfer = async ({ to }) => {
      asked.push(to);
      leader.role = "follower";
      scene.store(1).lead(2);
      return { success: true, leaderId: 1 };
    };
    const reply = await scene.membership.transfer(null, PATIENT_MS);
    expect([codeOf(reply), reply.value?.toString()]).toEqual([[false, "OK"], "1"]);
    scene.store(1).onTransfer = async ({ to }) => ({ success: true, leaderId: to ?? 9 });
    expect((await scene.membership.transfer(0, PATIENT_MS)).value?.toString()).toBe("0");
    expect(asked).toEqual([undefined]);
  });

  test("that fails is told, and not tried again: meanwhile no write is served", async () => {
    await using scene = await Scene.create();
    let attempts = 0;
    scene.store(0).onTransfer = async () => {
      attempts += 1;
      return { code: "UNAVAILABLE", error: "no other server took over in time" };
    };
    const reply = await scene.membership.transfer(1, PATIENT_MS);
    expect([codeOf(reply), reply.error]).toEqual([
      [true, "UNAVAILABLE"],
      "no other server took over in time",
    ]);
    expect(attempts).toBe(1);
  });

  test("whose answer is lost is done if the right server leads", async () => {
    await using scene = await Scene.create();
    scene.store(0).onTransfer = () => {
      scene.store(0).role = "follower";
      scene.store(1).lead(2);
      return never();
    };
    const { value, ...rest } = await scene.membership.transfer(1, PATIENT_MS);
    expect([codeOf(rest), value?.toString()]).toEqual([[false, "OK"], "1"]);
  });
});

describe("a server that is to be a voter in any case", () => {
  test("is added, promoted, or left as it is, whatever it is now", async () => {
    await using scene = await Scene.create();
    const leader = scene.store(0);
    const [voting] = scene.members(2);
    const nonVoter = { ...voting, id: 2, address: voting?.address ?? "", voter: false };
    const calls: string[] = [];
    leader.onAdd = async () => {
      calls.push("add");
      leader.configure([...scene.members(0, 1), nonVoter], 3);
      return { code: "UNKNOWN_OUTCOME", error: "it has not caught up" };
    };
    leader.onPromote = async () => {
      calls.push("promote");
      if (calls.length < 3) return { code: "FAILED_PRECONDITION", error: "it has not caught up" };
      leader.configure(scene.members(0, 1, 2), 4);
      return { success: true };
    };
    await Promise.all([
      scene.membership.admit(2, deadlineIn(PATIENT_MS)),
      scene.membership.admit(2, deadlineIn(PATIENT_MS)),
    ]);
    expect(calls).toEqual(["add", "promote", "promote"]);
    expect(scene.known).toEqual([0, 1, 2]);
  });

  test("M2: waits a moment for another change, and is told when it is refused all the same", async () => {
    await using scene = await Scene.create();
    const attempts = scene.onAdd(async () => REFUSAL);
    await expect(scene.membership.admit(2, deadlineIn(PATIENT_MS))).rejects.toMatchObject({
      code: "failedPrecondition",
      message: REFUSAL.error,
    });
    expect(attempts()).toBe(3);
  });

  test("without a leader it is told in time", async () => {
    await using scene = await Scene.create();
    scene.store(0).role = "follower";
    await expect(scene.membership.admit(2, deadlineIn(BRIEF_MS))).rejects.toMatchObject({
      code: "unavailable",
    });
  });

  test("is not added to another cluster than the one it was meant for", async () => {
    await using scene = await Scene.create();
    await using fresh = await FakeCluster.start(1, "fresh");
    const attempts = scene.onAdd(async () => {
      scene.clusters.setState({ kind: "running", cluster: fresh.cluster });
      return REFUSAL;
    });
    fresh.store(0).lead(1);
    let isAsked = false;
    fresh.store(0).onAdd = async () => {
      isAsked = true;
      return { success: true };
    };
    await expect(scene.membership.admit(2, deadlineIn(PATIENT_MS))).rejects.toMatchObject({
      code: "unavailable",
      message: "the cluster was replaced or stopped",
    });
    expect([attempts(), isAsked]).toEqual([1, false]);
  });
});
