import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { RpcClient } from "../../src/rpc/rpc-client.ts";
import type { ServerStatus, WireFounding } from "../../src/rpc/wire.ts";
import { createServer, type Newcomer } from "../../src/server/creation.ts";
import { MemoryDisk } from "../../src/storage/memory-file-system.ts";
import { openServerStore } from "../../src/storage/server-store.ts";
import { formatPeers } from "../../src/config/peers.ts";
import { freePorts } from "../cluster/free-ports.ts";
import { waitFor } from "../cluster/waiting.ts";
import { FakeMember, newcomer, STATE_DIR } from "./fake-member.ts";

setDefaultTimeout(30_000);

const OLD = "old";

let basePort: number;
const closers: (() => Promise<void>)[] = [];

beforeEach(async () => {
  basePort = await freePorts(3);
});

afterEach(async () => {
  await Promise.all(closers.splice(0).map((close) => close()));
});

function peers(ids: readonly number[]): readonly { readonly id: number; readonly address: string }[] {
  return ids.map((id) => ({ id, address: `127.0.0.1:${basePort + id}` }));
}

/** One of the founders `ids`; what came of it: the cluster's id, or why not. It serves afterwards. */
async function found(
  one: Newcomer,
  stop = new AbortController().signal,
  ids: readonly number[] = [0, 1, 2],
): Promise<unknown> {
  const members = peers(ids).map(({ id, address }) => ({ id, address, voter: true }));
  try {
    await createServer(one, { kind: "found", members }, stop);
    const { clusterId } = await identity(one);
    await fake(one.id, { clusterId, role: "follower" });
    return clusterId;
  } catch (error) {
    return error;
  }
}

async function identity({ fs, id }: Newcomer): Promise<{ readonly clusterId: string }> {
  const { store, recovered } = await openServerStore(fs, STATE_DIR, id);
  await store.close();
  return recovered.identity;
}

function founders(): readonly Newcomer[] {
  return [0, 1, 2].map((id) => newcomer(basePort, id));
}

async function fake(id: number, status: Partial<ServerStatus>): Promise<FakeMember> {
  const member = await FakeMember.start(basePort + id, { id, ...status });
  closers.push(() => member.close());
  return member;
}

/** As a founder tells that it waits; `clusterId` "": it has not seen all. */
function waits(draw: string, clusterId: string): Partial<ServerStatus> {
  const founding = { peers: formatPeers(peers([0, 1, 2])), draw, clusterId };
  return { role: clusterId === "" ? "gathering" : "gathered", founding };
}

/** What server `id` says of itself while it waits. */
async function statusOf(id: number): Promise<ServerStatus> {
  const client = new RpcClient("KeyValueStore", `127.0.0.1:${basePort + id}`);
  try {
    return await client.call("Status", {}, 1000);
  } finally {
    client.close();
  }
}

async function roleOf(id: number): Promise<string> {
  return (await statusOf(id)).role;
}

/** What server `id` waits for, once it has seen all others. */
async function gathered(id: number): Promise<WireFounding> {
  return waitFor(`server ${id} has seen all`, async () => {
    const { founding = null } = await statusOf(id);
    return founding !== null && founding.clusterId !== "" && founding;
  });
}

test("P9: servers that are started one after another found their cluster when all of them are there", async () => {
  const [first, second, third] = founders();
  if (first === undefined || second === undefined || third === undefined) throw new TypeError("three");
  const one = found(first);
  await waitFor("it waits", async () => (await roleOf(0)) === "gathering");
  const two = found(second);
  await waitFor("both wait", async () => (await roleOf(1)) === "gathering");
  expect(await first.fs.listDirectory(STATE_DIR)).toEqual([]);
  const [clusterId, ...others] = await Promise.all([one, two, found(third)]);
  expect(clusterId).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(others).toEqual([clusterId, clusterId]);
  const { recovered } = await openServerStore(second.fs, STATE_DIR, 1);
  expect(recovered).toMatchObject({
    identity: { clusterId, serverId: 1 },
    hardState: { currentTerm: 0, votedFor: null, abstainsThrough: 0 },
  });
});

test("P9: a founder that has lost its files does not come back by the same words", async () => {
  await fake(0, { clusterId: OLD, role: "follower" });
  await fake(2, { clusterId: OLD, role: "leader" });
  const one = newcomer(basePort, 1);
  expect(await found(one)).toMatchObject({
    code: "failedPrecondition",
    message: expect.stringMatching(
      /^server 1 cannot found its cluster: cluster old goes on already at .*--rejoin 3 --cluster-id old/,
    ),
  });
  expect(await one.fs.listDirectory(STATE_DIR)).toEqual([]);
});

test("P6: no cluster is founded with a server that cannot write", async () => {
  const stop = new AbortController();
  const disk = new MemoryDisk();
  disk.capacityBytes = 0;
  const full = { ...newcomer(basePort, 2), fs: disk.mount() };
  const others = [0, 1].map((id) => found(newcomer(basePort, id), stop.signal));
  expect(await found(full)).toMatchObject({ code: "diskFull" });
  expect(await waitFor("it waits", () => roleOf(0).catch(() => false as const))).toBe("gathering");
  stop.abort();
  for (const other of others) expect(await other).toMatchObject({ code: "unavailable" });
});

test("P9: of two founders, one whose files are not here is not sent to --rejoin, which takes three", async () => {
  await fake(0, { clusterId: OLD, role: "follower" });
  expect(await found(newcomer(basePort, 1), undefined, [0, 1])).toMatchObject({
    message: expect.stringMatching(
      /cluster old goes on already .*remove the other's files and start both again$/,
    ),
  });
});

test("P9: two that have lost their files wait for the third, which knows that they are no founders", async () => {
  const stop = new AbortController();
  const ends = [newcomer(basePort, 0), newcomer(basePort, 1)].map((one) => found(one, stop.signal));
  await waitFor("they wait", async () => (await roleOf(1)) === "gathering");
  await fake(2, { clusterId: OLD, role: "follower" });
  for (const end of await Promise.all(ends)) {
    expect(end).toMatchObject({ message: expect.stringMatching(/goes on already|was stopped/) });
  }
});

test("P9, P10: what the same words found once all founders have lost their files is another cluster", async () => {
  for (const ids of [[0], [0, 1]]) {
    const clusterIds: unknown[] = [];
    for (let life = 0; life < 2; life += 1) {
      const ends = await Promise.all(ids.map((id) => found(newcomer(basePort, id), undefined, ids)));
      clusterIds.push(...new Set(ends));
      await Promise.all(closers.splice(0).map((close) => close()));
    }
    expect(clusterIds).toEqual([expect.any(String), expect.any(String)]);
    expect(clusterIds[0]).not.toBe(clusterIds[1]);
  }
});

test("P9: a founder takes nobody's word for another id, and follows the later draw of one that began anew", async () => {
  const other = await fake(0, waits("a", ""));
  const last = await fake(2, waits("b", ""));
  const end = found(newcomer(basePort, 1));
  const before = await gathered(1);
  other.status = { ...other.status, ...waits("a", before.clusterId) };
  last.status = { ...last.status, ...waits("anew", "") };
  const after = await waitFor("it has seen the later draw", async () => {
    const founding = await gathered(1);
    return founding.clusterId !== before.clusterId && founding;
  });
  expect(after.draw).toBe(before.draw);
  last.status = { ...last.status, ...waits("anew", after.clusterId) };
  let looks = 0;
  other.onStatus = () => (looks += 1);
  await waitFor("it has looked again at the one with the old id", () => looks > 2);
  expect(await roleOf(1)).toBe("gathered");
  other.status = { ...other.status, ...waits("a", after.clusterId) };
  expect(await end).toBe(after.clusterId);
});

test("P9: a founder that another has seen before that one founded goes by its id, whoever began anew since", async () => {
  const other = await fake(0, waits("a", ""));
  const last = await fake(2, waits("b", ""));
  const end = found(newcomer(basePort, 1));
  const { clusterId } = await gathered(1);
  last.status = { ...last.status, ...waits("anew", "") };
  await waitFor("it has seen the later draw", async () => (await gathered(1)).clusterId !== clusterId);
  other.status = { id: 0, role: "leader", clusterId };
  expect(await end).toBe(clusterId);
});

test("a founder follows those that it has seen before and that founded first", async () => {
  const other = await fake(0, waits("a", ""));
  await fake(2, waits("b", ""));
  const end = found(newcomer(basePort, 1));
  const { clusterId } = await gathered(1);
  other.status = { id: 0, role: "leader", clusterId };
  expect(await end).toBe(clusterId);
});

test("P10: whoever else is at the address of a founder, or was told of other servers, is refused", async () => {
  const other = await fake(0, { id: 7, clusterId: OLD, role: "leader" });
  expect(await found(newcomer(basePort, 1))).toMatchObject({
    message: expect.stringMatching(/there is server 7, not server 0$/),
  });
  const founding = { peers: "0=127.0.0.1:1", draw: "a", clusterId: "" };
  other.status = { id: 0, role: "gathering", founding };
  expect(await found(newcomer(basePort, 1))).toMatchObject({
    message: expect.stringMatching(/server 0 at .* was told of other --peers: 0=127.0.0.1:1$/),
  });
});

test("a founder that is stopped while it waits leaves no file", async () => {
  const stop = new AbortController();
  const one = newcomer(basePort, 1);
  const end = found(one, stop.signal);
  stop.abort();
  expect(await end).toMatchObject({ code: "unavailable" });
  expect(await one.fs.listDirectory(STATE_DIR)).toEqual([]);
});

test("P7: a founder that is there goes on with its files, and waits for nobody", async () => {
  const all = founders();
  const [clusterId] = await Promise.all(all.map((founder) => found(founder)));
  await Promise.all(closers.splice(0).map((close) => close()));
  for (const founder of all) expect(await found(founder)).toBe(clusterId);
});
