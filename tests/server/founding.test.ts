import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { RpcClient } from "../../src/rpc/rpc-client.ts";
import { createServer, type Newcomer } from "../../src/server/creation.ts";
import { openServerStore } from "../../src/storage/server-store.ts";
import { freePorts } from "../cluster/free-ports.ts";
import { waitFor } from "../cluster/waiting.ts";
import { FakeMember, newcomer, STATE_DIR } from "./fake-member.ts";

setDefaultTimeout(30_000);

const CLUSTER_ID = "new";

let basePort: number;
const closers: (() => Promise<void>)[] = [];

beforeEach(async () => {
  basePort = await freePorts(3);
});

afterEach(async () => {
  await Promise.all(closers.splice(0).map((close) => close()));
});

/** One of three founders; what came of it. It serves afterwards. */
async function found(one: Newcomer, stop = new AbortController().signal): Promise<unknown> {
  const members = [0, 1, 2].map((id) => ({ id, address: `127.0.0.1:${basePort + id}`, voter: true }));
  try {
    await createServer(one, { kind: "found", clusterId: CLUSTER_ID, members }, stop);
    await fake(one.id, "follower");
    return "founded";
  } catch (error) {
    return error;
  }
}

function founders(): readonly Newcomer[] {
  return [0, 1, 2].map((id) => newcomer(basePort, id));
}

/** A server that has founded the cluster, or is about to, as its `role` says. */
async function fake(id: number, role: string): Promise<FakeMember> {
  const member = await FakeMember.start(basePort + id, { id, clusterId: CLUSTER_ID, role });
  closers.push(() => member.close());
  return member;
}

/** What server `id` says of itself while it waits. */
async function roleOf(id: number): Promise<string> {
  const client = new RpcClient("KeyValueStore", `127.0.0.1:${basePort + id}`);
  try {
    return (await client.call("Status", {}, 1000)).role;
  } finally {
    client.close();
  }
}

test("P9: servers that are started one after another found their cluster when all of them are there", async () => {
  const [first, second, third] = founders();
  if (first === undefined || second === undefined || third === undefined) throw new TypeError("three");
  const one = found(first);
  await waitFor("it waits", async () => (await roleOf(0)) === "gathering");
  const two = found(second);
  await waitFor("both wait", async () => (await roleOf(1)) === "gathering");
  expect(await first.fs.listDirectory(STATE_DIR)).toBeNull();
  expect(await Promise.all([one, two, found(third)])).toEqual(["founded", "founded", "founded"]);
  const { recovered } = await openServerStore(second.fs, STATE_DIR, 1);
  expect(recovered).toMatchObject({
    identity: { clusterId: CLUSTER_ID, serverId: 1 },
    hardState: { currentTerm: 0, votedFor: null, abstainsThrough: 0 },
  });
});

test("P9: a founder that has lost its files does not come back by the same words", async () => {
  await fake(0, "follower");
  await fake(2, "leader");
  const one = newcomer(basePort, 1);
  expect(await found(one)).toMatchObject({
    code: "failedPrecondition",
    message: expect.stringMatching(/^server 1 cannot found its cluster: cluster new goes on already/),
  });
  expect(await one.fs.listDirectory(STATE_DIR)).toBeNull();
});

test("P9: two that have lost their files wait for the third, which knows that they are no founders", async () => {
  const stop = new AbortController();
  const ends = [newcomer(basePort, 0), newcomer(basePort, 1)].map((one) => found(one, stop.signal));
  await waitFor("they wait", async () => (await roleOf(1)) === "gathering");
  await fake(2, "follower");
  for (const end of await Promise.all(ends)) {
    expect(end).toMatchObject({ message: expect.stringMatching(/goes on already|was stopped/) });
  }
});

test("a founder follows those that it has seen before and that founded first", async () => {
  const other = await fake(0, "gathered");
  const last = await fake(2, "gathering");
  const end = found(newcomer(basePort, 1));
  await waitFor("it has seen them", async () => (await roleOf(1)) === "gathered");
  other.status = { ...other.status, role: "leader" };
  last.status = { ...last.status, role: "gathered" };
  expect(await end).toBe("founded");
});

test("P10: another cluster's server at the address of a founder is refused", async () => {
  const other = await fake(0, "leader");
  other.status = { ...other.status, clusterId: "old" };
  expect(await found(newcomer(basePort, 1))).toMatchObject({
    message: expect.stringMatching(/there is server 0 of cluster old, not server 0 of cluster new$/),
  });
});

test("a founder that is stopped while it waits has written nothing", async () => {
  const stop = new AbortController();
  const one = newcomer(basePort, 1);
  const end = found(one, stop.signal);
  stop.abort();
  expect(await end).toMatchObject({ code: "unavailable" });
  expect(await one.fs.listDirectory(STATE_DIR)).toBeNull();
});

test("P7: a founder that is there goes on with its files, and waits for nobody", async () => {
  const all = founders();
  await Promise.all(all.map((founder) => found(founder)));
  await Promise.all(closers.splice(0).map((close) => close()));
  for (const founder of all) expect(await found(founder)).toBe("founded");
});
