/** Servers in network namespaces, an address for each, with links that are cut, one-way and slow. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { eventually, HandMadeCluster } from "./hand-made-cluster.ts";
import { NetworkNamespaces, whyNoNamespaces } from "./network-namespaces.ts";

setDefaultTimeout(240_000);

const PORT = 9001;
const IDS = [0, 1, 2, 3, 4];
const CALL_MS = 1000;

const refused = whyNoNamespaces();
const where = "servers on machines of their own";

let network: NetworkNamespaces;
let cluster: HandMadeCluster;

/** The cluster as the test left it, also when it failed, ends here with all that belongs to it. */
async function tearDown(): Promise<void> {
  try {
    await cluster.close();
  } finally {
    await network.close();
  }
}

/** Splits the servers: no link between the two sides is left. */
function split(left: readonly number[], right: readonly number[]): void {
  for (const one of left) for (const other of right) network.cut(one, other);
}

/** Waits for a leader among `ids` that commits a write; its id. */
async function untilWritten(ids: readonly number[], key: string, value: string): Promise<number> {
  return eventually(`one of ${ids.join(", ")} takes ${key} = ${value}`, async () => {
    for (const id of ids) {
      const { success } = await cluster.put(id, key, value, CALL_MS).catch(() => ({ success: false }));
      if (success) return { id };
    }
    return null;
  }).then(({ id }) => id);
}

/** What the server answers for the cluster, once it does. */
async function read(id: number, key: string): Promise<string> {
  const answer = await eventually(`server ${id} answers for the cluster`, async () => ({
    value: await cluster.get(id, key, "LINEARIZABLE", CALL_MS),
  }));
  return answer.value;
}

/** Waits until every server has everything, answers for the cluster and takes one leader for it. */
async function untilWhole(key: string, value: string): Promise<number> {
  const { id } = await cluster.leader(IDS);
  await eventually("all servers hold the same", async () => {
    const all = await Promise.all(IDS.map((server) => cluster.status(server)));
    return all.every(({ lastApplied }) => lastApplied === all[0]?.commitIndex);
  });
  for (const server of IDS) expect(await read(server, key)).toBe(value);
  return id;
}

describe.skipIf(refused !== null)(refused === null ? where : `${where} (not here: ${refused})`, () => {
  beforeEach(async () => {
    network = await NetworkNamespaces.create(IDS);
    cluster = await HandMadeCluster.create((id) => ({
      address: `${network.addressOf(id)}:${PORT}`,
      prefix: network.prefixOf(id),
    }));
    try {
      await cluster.found(IDS);
    } catch (error) {
      await tearDown();
      throw error;
    }
  });

  afterEach(tearDown);

  test("E8, L1: of two sides of a cut the larger takes writes, the smaller answers no linearizable read, and both are one again", async () => {
    const { id: old } = await cluster.leader(IDS);
    const minority = [old, (old + 1) % IDS.length];
    const majority = IDS.filter((id) => !minority.includes(id));
    await cluster.put(old, "k", "1");

    split(minority, majority);
    await untilWritten(majority, "k", "2");
    for (const id of minority) {
      const reading = cluster.get(id, "k", "LINEARIZABLE", CALL_MS).then(
        (value) => value,
        () => "no answer",
      );
      expect(await reading).toBe("no answer");
      expect(await cluster.get(id, "k", "LOCAL")).toBe("1");
    }
    for (const id of majority) expect(await read(id, "k")).toBe("2");

    network.heal();
    await untilWhole("k", "2");
  });

  test("E8, E9: a leader that is heard by all and hears nobody makes way; the reads of all stay linearizable", async () => {
    const { id: old } = await cluster.leader(IDS);
    const others = IDS.filter((id) => id !== old);
    for (const other of others) network.cutOneWay(other, old);
    const next = await untilWritten(others, "k", "1");
    expect(next).not.toBe(old);
    await eventually(
      "the old one knows that it does not lead",
      async () => (await cluster.status(old)).role !== "leader",
    );
    for (const id of others) expect(await read(id, "k")).toBe("1");
    network.heal();
    await untilWhole("k", "1");
  });

  test("E7, E9: a follower that hears the leader no more disturbs nobody, and catches up when it does", async () => {
    const { id: leader } = await cluster.leader(IDS);
    const deaf = (leader + 1) % IDS.length;
    network.cutOneWay(leader, deaf);
    for (let i = 0; i < 20; i += 1) await untilWritten(IDS, "k", String(i));
    network.heal();
    await untilWhole("k", "19");
  });

  test("R7, I4: a follower at the end of a slow link holds up nobody, and has everything when the link is well", async () => {
    const { id: leader } = await cluster.leader(IDS);
    const slow = (leader + 1) % IDS.length;
    network.slow(slow, 64);
    const value = "v".repeat(10_000);
    for (let i = 0; i < 30; i += 1) await untilWritten(IDS, `k${i}`, value);
    for (const id of IDS.filter((server) => server !== slow)) expect(await read(id, "k29")).toBe(value);
    network.heal();
    await untilWhole("k29", value);
  });

  test("E10: servers that nobody connects elect nobody, and one leader soon when the links are back", async () => {
    await cluster.put((await cluster.leader(IDS)).id, "k", "1");
    for (const one of IDS)
      split(
        [one],
        IDS.filter((other) => other > one),
      );
    await eventually("nobody leads", async () => {
      const all = await Promise.all(IDS.map((id) => cluster.status(id)));
      return all.every(({ role }) => role !== "leader");
    });
    network.heal();
    await untilWhole("k", "1");
  });
});
