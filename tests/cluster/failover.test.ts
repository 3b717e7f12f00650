import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { Deployment } from "./deployment.ts";
import { waitFor } from "./waiting.ts";

setDefaultTimeout(90_000);

let cluster: Deployment;

beforeAll(async () => {
  cluster = await Deployment.create();
  await cluster.startFrontend();
});

afterAll(() => cluster.close());

beforeEach(async () => {
  await cluster.startRaft(3);
});

async function allAgreeOn(key: string, value: string): Promise<void> {
  for (const id of [0, 1, 2]) {
    await waitFor(`server ${id} has ${key}`, async () => (await cluster.getOn(id, key)) === value);
  }
}

describe("failures of real processes", () => {
  test("F7: the next put after the leader's death is served by another leader", async () => {
    await cluster.put("k", "before");
    const leader = await cluster.leader(3);
    await cluster.signal(leader.id, "SIGKILL");
    await cluster.put("k", "after");
    expect((await cluster.leader(3)).id).not.toBe(leader.id);
    expect(await cluster.get("k")).toBe("after");
  });

  test("F3, F6: a killed server stays dead until it is started, and then catches up", async () => {
    const { id } = await cluster.leader(3);
    for (let round = 0; round < 3; round += 1) {
      await cluster.signal(id, "SIGKILL");
      await cluster.put("round", String(round));
      expect(cluster.pids(id)).toEqual([]);
      expect((await cluster.startServer(id)).error).toBe("");
      expect(cluster.pids(id)).toHaveLength(1);
      await allAgreeOn("round", String(round));
    }
  });

  test("E8, C2: without a majority nothing is acknowledged, reads of one server go on, and it recovers", async () => {
    await cluster.put("k", "kept");
    const { id } = await cluster.leader(3);
    const others = [0, 1, 2].filter((other) => other !== id);
    await allAgreeOn("k", "kept");
    for (const other of others) await cluster.signal(other, "SIGKILL");
    const failed = await cluster.put("k", "lost?", 2000).then(
      () => "acknowledged",
      (error: unknown) => String(error),
    );
    expect(failed).toMatch(/outcome unknown|no leader/);
    expect(await cluster.getOn(id, "k")).toBe("kept");
    await waitFor("the leader has stepped down", async () => (await cluster.status(id)).role !== "leader");
    for (const other of others) await cluster.startServer(other);
    await cluster.put("k", "again");
    await allAgreeOn("k", "again");
  });

  test("E8, E11: a leader that was stopped is replaced; resumed, it follows and has the new value", async () => {
    await cluster.put("k", "old");
    const old = await cluster.leader(3);
    await cluster.signal(old.id, "SIGSTOP");
    await cluster.put("k", "new");
    await cluster.signal(old.id, "SIGCONT");
    await allAgreeOn("k", "new");
    const now = await cluster.leader(3);
    expect(now.id).not.toBe(old.id);
    expect(now.term).toBeGreaterThan(old.term);
  });

  test("E7, E11: a follower that was stopped comes back without an election", async () => {
    const leader = await cluster.leader(3);
    const follower = (leader.id + 1) % 3;
    await cluster.signal(follower, "SIGSTOP");
    await Bun.sleep(2000); // Longer than any election timeout: the case under test.
    await cluster.signal(follower, "SIGCONT");
    await cluster.put("k", "v");
    await allAgreeOn("k", "v");
    expect(await cluster.leader(3)).toMatchObject({ id: leader.id, term: leader.term });
  });

  test("P1: kill -9 of every server under load loses no acknowledged write", async () => {
    const acknowledged = new Map<string, string>();
    for (let round = 0; round < 3; round += 1) {
      const stop = new AbortController();
      const writers = Array.from({ length: 16 }, async (_, writer) => {
        for (let i = 0; !stop.signal.aborted; i += 1) {
          const key = `${round}-${writer}-${i}`;
          await cluster.put(key, key, 3000).then(
            () => acknowledged.set(key, key),
            () => null,
          );
        }
      });
      await waitFor("some writes", () => acknowledged.size >= (round + 1) * 100);
      await Promise.all([0, 1, 2].map((id) => cluster.signal(id, "SIGKILL")));
      stop.abort();
      await Promise.all(writers);
      for (const id of [0, 1, 2]) expect((await cluster.startServer(id)).error).toBe("");
    }
    for (const [key, value] of acknowledged) expect(await cluster.get(key)).toBe(value);
  });
});
