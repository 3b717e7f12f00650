import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { parseConfig, type Config } from "../../src/config/config.ts";
import { startFrontend, type Frontend } from "../../src/frontend/frontend.ts";
import { RpcClient } from "../../src/rpc/rpc-client.ts";
import { freePorts } from "../cluster/free-ports.ts";
import { waitFor } from "../cluster/waiting.ts";
import { FAKE_COMMAND, Supervised } from "./supervised.ts";

setDefaultTimeout(90_000);

const PATIENT_MS = 40_000;

let supervised: Supervised;
let config: Config;
let client: RpcClient<"FrontEnd">;
const running: Frontend[] = [];

beforeEach(async () => {
  supervised = await Supervised.create();
  const port = await freePorts(1);
  config = parseConfig(
    `[Global]
base_address = 127.0.0.1
[Servers]
base_port = ${supervised.basePort}
base_source_port = 7001
max_workers = 10
persistent_state_path = ${supervised.stateDirectory}
active = 0,1,2
[FrontEnd]
port = ${port}
`,
    "config.ini",
  );
  client = new RpcClient("FrontEnd", `127.0.0.1:${port}`);
});

afterEach(async () => {
  for (const frontend of running.splice(0)) await frontend.stop();
  client.close();
  await supervised[Symbol.asyncDispose]();
});

async function start(initialServers: number | null, its: Config = config): Promise<Frontend> {
  const timings = { startRaftMs: PATIENT_MS, startServerMs: PATIENT_MS, joinMs: PATIENT_MS };
  const frontend = await startFrontend({
    config: its,
    initialServers,
    version: "test",
    command: FAKE_COMMAND,
    timings,
  });
  running.push(frontend);
  return frontend;
}

function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port }, () => resolve(true));
    socket.on("error", () => resolve(false));
    socket.on("connect", () => socket.destroy());
  });
}

test("from no cluster to a served one, over the contract's RPCs", async () => {
  await start(null);
  const key = Buffer.from("k");
  expect(await client.call("Put", { key }, PATIENT_MS)).toMatchObject({
    wrongLeader: true,
    code: "NO_CLUSTER",
    error: "no cluster: call StartRaft first (raftkv start 3)",
  });
  expect(await client.call("Status", {}, PATIENT_MS)).toMatchObject({ clusterId: "", members: [] });
  expect(await client.call("StartRaft", { arg: 2 }, PATIENT_MS)).toMatchObject({
    wrongLeader: false,
    error: "",
  });
  expect(await client.call("Put", { key, value: Buffer.from("v") }, PATIENT_MS)).toMatchObject({
    wrongLeader: false,
    error: "",
  });
  const { value, found } = await client.call("Get", { key }, PATIENT_MS);
  expect([value.toString(), found]).toEqual(["v", true]);
  await supervised.kill(1);
  const { members, version } = await client.call("Status", {}, PATIENT_MS);
  expect(version).toBe("test");
  expect(members.map(({ id, reachable, server }) => [id, reachable, server?.role])).toEqual([
    [0, true, "leader"],
    [1, false, undefined],
  ]);
});

test("I2: administrative errors are in the answer, and blame no leader", async () => {
  await start(null);
  for (const [method, arg] of [
    ["StartRaft", -1],
    ["StartServer", -1],
    ["StartServer", 3],
  ] as const) {
    const reply = await client.call(method, { arg }, PATIENT_MS);
    expect(reply.wrongLeader).toBe(false);
    expect(reply.error).not.toBe("");
  }
});

test("it is reached by either loopback address", async () => {
  await start(null);
  const { port } = config.frontEnd;
  expect(await Promise.all(["127.0.0.1", "::1", "localhost"].map((host) => accepts(host, port)))).toEqual([
    true,
    true,
    true,
  ]);
});

test("F2: a taken port is a clear error, and nothing is touched", async () => {
  const foreign = createServer();
  await new Promise<void>((resolve) => foreign.listen(config.frontEnd.port, "127.0.0.1", resolve));
  try {
    await expect(start(1)).rejects.toMatchObject({
      code: "io",
      message: `port ${config.frontEnd.port} on 127.0.0.1 is in use by another process`,
    });
  } finally {
    foreign.close();
  }
  expect((await supervised.pids()).size).toBe(0);
});

test("F4: --start makes a cluster once; the next frontend brings the recorded one up and erases nothing", async () => {
  const first = await start(2);
  const { clusterId } = await client.call("Status", {}, PATIENT_MS);
  expect((await supervised.pids()).size).toBe(2);
  await first.stop();
  expect((await supervised.pids()).size).toBe(0);
  running.length = 0;
  await start(3);
  const status = await client.call("Status", {}, PATIENT_MS);
  expect([status.clusterId, status.members.map(({ reachable }) => reachable)]).toEqual([
    clusterId,
    [true, true],
  ]);
});

test("--start on a cluster that is there starts its servers side by side, not one after the other", async () => {
  await (await start(3)).stop();
  running.length = 0;
  supervised.plan({ held: [0, 1, 2] });
  const restart = start(3);
  await waitFor("three processes", async () => (await supervised.pids()).size === 3);
  await supervised.release();
  await restart;
  const { members } = await client.call("Status", {}, PATIENT_MS);
  expect(members.map(({ reachable }) => reachable)).toEqual([true, true, true]);
});

test("ReplaceServer says in its answer where the old files are, or why it did nothing", async () => {
  await start(3);
  const { stateDirectory } = supervised;
  await supervised.kill(1);
  const reply = await client.call("ReplaceServer", { arg: 1 }, PATIENT_MS);
  expect(reply).toMatchObject({ wrongLeader: false, error: "", code: "OK" });
  expect(reply.value.toString()).toStartWith(`${stateDirectory}/server_1.replaced-`);
  expect(await client.call("ReplaceServer", { arg: 1 }, PATIENT_MS)).toMatchObject({
    wrongLeader: false,
    error: "server 1 runs: stop it first, if it is to be replaced",
    code: "FAILED_PRECONDITION",
  });
});

test("P7: --start erases nothing when the record is lost: the state files tell the cluster", async () => {
  const first = await start(2);
  const { clusterId } = await client.call("Status", {}, PATIENT_MS);
  await first.stop();
  running.length = 0;
  await rm(join(supervised.stateDirectory, "cluster.json"));
  await start(3);
  const status = await client.call("Status", {}, PATIENT_MS);
  expect([status.clusterId, status.members.length]).toEqual([clusterId, 2]);
});

test("F1: a second frontend on the state directory is refused in one line, and touches nothing", async () => {
  const first = await start(2);
  const pids = await supervised.pids();
  const frontEnd = { ...config.frontEnd, port: await freePorts(1) };
  const error: unknown = await start(1, { ...config, frontEnd }).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code: "failedPrecondition" });
  expect(String(error)).toMatch(/^RaftKvError: \S+raft_state: another frontend [^\n]+$/);
  expect(await accepts("127.0.0.1", frontEnd.port)).toBe(false);
  expect(await supervised.pids()).toEqual(pids);
  await first.stop();
  running.length = 0;
  await start(null, { ...config, frontEnd });
});

test("--start: calls that come before the first cluster serves wait for it", async () => {
  supervised.plan({ held: [0] });
  const starting = start(1);
  await waitFor("a process", async () => (await supervised.pids()).size === 1);
  const put = client.call("Put", { key: Buffer.from("k"), value: Buffer.from("v") }, PATIENT_MS);
  const brief = await client.call("Get", { key: Buffer.from("k") }, 500);
  expect([brief.wrongLeader, brief.code]).toEqual([true, "UNAVAILABLE"]);
  await supervised.release();
  expect(await put).toMatchObject({ wrongLeader: false, code: "OK" });
  await starting;
});

test("M5: members come and go over the RPCs, a server that was removed is stopped, and Status tells", async () => {
  await start(2);
  const served = { wrongLeader: false, error: "", code: "OK" } as const;
  expect(await client.call("StartServer", { arg: 3 }, PATIENT_MS)).toMatchObject(served);
  expect(await client.call("RemoveMember", { arg: 1 }, PATIENT_MS)).toMatchObject(served);
  expect([...(await supervised.pids()).keys()]).toEqual([0, 3]);
  expect(await client.call("AddMember", { id: 2, nonVoter: true, address: "" }, PATIENT_MS)).toMatchObject(
    served,
  );
  const voters = async () => {
    const { members } = await client.call("Status", {}, PATIENT_MS);
    return members.map(({ id, voter }) => [id, voter]);
  };
  expect(await voters()).toEqual([
    [0, true],
    [2, false],
    [3, true],
  ]);
  expect(await client.call("PromoteMember", { arg: 2 }, PATIENT_MS)).toMatchObject(served);
  expect((await voters())[1]).toEqual([2, true]);
  const transfer = await client.call("TransferLeadership", {}, PATIENT_MS);
  expect([transfer.code, transfer.value.toString()]).toEqual(["OK", "0"]);
});
