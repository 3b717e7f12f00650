/** A frontend of servers that others start. */
import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { parseConfig, type Config } from "../../src/config/config.ts";
import { startPointedFrontend, type Frontend } from "../../src/frontend/frontend.ts";
import type { Seed } from "../../src/frontend/seed-search.ts";
import { RpcClient } from "../../src/rpc/rpc-client.ts";
import { freePorts } from "../cluster/free-ports.ts";
import { FakeCluster } from "./fake-store.ts";

setDefaultTimeout(60_000);

const PATIENT_MS = 20_000;
const PUT = { key: Buffer.from("k"), value: Buffer.from("v") };
const SERVED = { wrongLeader: false, error: "", code: "OK" } as const;

let config: Config;
let client: RpcClient<"FrontEnd">;
let fakes: FakeCluster;
let frontend: Frontend | null = null;

beforeEach(async () => {
  const port = await freePorts(1);
  config = parseConfig(
    `[Global]
base_address = 127.0.0.1
[Servers]
base_port = 40001
base_source_port = 7001
max_workers = 10
persistent_state_path = /nowhere
active = 0
[FrontEnd]
port = ${port}
`,
    "config.ini",
  );
  client = new RpcClient("FrontEnd", `127.0.0.1:${port}`);
  fakes = await FakeCluster.start(3);
  fakes.store(1).lead(2);
  for (const store of fakes.stores) store.configure(fakes.cluster.members, 4);
});

afterEach(async () => {
  await frontend?.stop();
  frontend = null;
  client.close();
  await fakes[Symbol.asyncDispose]();
});

async function point(...seeds: readonly Seed[]): Promise<void> {
  frontend = await startPointedFrontend({ config, seeds, version: "test" });
}

test("one address of any server is enough to find all of them and their leader", async () => {
  await point({ id: null, address: fakes.addressOf(2) });
  expect(await client.call("Put", PUT, PATIENT_MS)).toMatchObject(SERVED);
  const { clusterId, members } = await client.call("Status", {}, PATIENT_MS);
  expect(clusterId).toBe("fake");
  expect(members.map(({ id, reachable, voter }) => [id, reachable, voter])).toEqual([
    [0, true, true],
    [1, true, true],
    [2, true, true],
  ]);
});

test("an address that names its server is used for it, whatever the cluster says", async () => {
  const elsewhere = fakes.cluster.members.map((member) => ({ ...member, address: "127.0.0.1:1" }));
  for (const store of fakes.stores) store.configure(elsewhere, 5);
  await point(...[0, 1].map((id) => ({ id, address: fakes.addressOf(id) })));
  expect(await client.call("Put", PUT, PATIENT_MS)).toMatchObject(SERVED);
  const { members } = await client.call("Status", {}, PATIENT_MS);
  expect(members.map(({ reachable }) => reachable)).toEqual([true, true, false]);
});

test("servers that come later are found, and calls wait for them in their time", async () => {
  const port = await freePorts(1);
  await point({ id: null, address: `127.0.0.1:${port}` });
  expect(await client.call("Get", { key: PUT.key }, 400)).toMatchObject({
    wrongLeader: true,
    code: "UNAVAILABLE",
  });
  expect(await client.call("Status", {}, PATIENT_MS)).toMatchObject({ clusterId: "", code: "UNAVAILABLE" });
  const put = client.call("Put", PUT, PATIENT_MS);
  const late = await FakeCluster.start(1, "late");
  try {
    late.store(0).lead(1);
    late.store(0).configure(late.cluster.members, 0);
    await late.store(0).listenAlsoOn(port);
    expect(await put).toMatchObject(SERVED);
  } finally {
    await late[Symbol.asyncDispose]();
  }
});

test("another server at the address of a named one, or of another cluster, is not taken", async () => {
  await point({ id: 0, address: fakes.addressOf(1) });
  expect(await client.call("Put", PUT, 800)).toMatchObject({ code: "UNAVAILABLE" });
  await frontend?.stop();
  fakes.store(2).clusterId = "another";
  await point(...[1, 2].map((id) => ({ id, address: fakes.addressOf(id) })));
  expect(await client.call("Put", PUT, 800)).toMatchObject({ code: "UNAVAILABLE" });
  expect(fakes.stores.flatMap(({ puts }) => puts)).toEqual([]);
});

test("it starts no servers, and says so", async () => {
  await point({ id: null, address: fakes.addressOf(0) });
  for (const method of ["StartRaft", "StartServer", "ReplaceServer"] as const) {
    expect(await client.call(method, { arg: 1 }, PATIENT_MS)).toMatchObject({
      wrongLeader: false,
      code: "FAILED_PRECONDITION",
      error: expect.stringMatching(/^this frontend starts no servers: /),
    });
  }
});

test("it changes who belongs to the cluster, and follows", async () => {
  await point({ id: null, address: fakes.addressOf(0) });
  const leader = fakes.store(1);
  leader.onRemove = async (id) => {
    leader.configure(
      fakes.cluster.members.filter((member) => member.id !== id),
      9,
    );
    return { success: true };
  };
  expect(await client.call("RemoveMember", { arg: 2 }, PATIENT_MS)).toMatchObject(SERVED);
  const { members } = await client.call("Status", {}, PATIENT_MS);
  expect(members.map(({ id }) => id)).toEqual([0, 1]);
});
