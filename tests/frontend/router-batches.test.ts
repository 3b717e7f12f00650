/** PutMany through the frontend: routed, retried and bounded as a Put is, its writes passed on unopened. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { newCluster } from "../../src/frontend/cluster.ts";
import { CurrentCluster } from "../../src/frontend/current-cluster.ts";
import { Router } from "../../src/frontend/router.ts";
import { MAX_MESSAGE_BYTES } from "../../src/rpc/definition.ts";
import { RpcServer, type Handlers } from "../../src/rpc/rpc-server.ts";
import type { PutManyArgs } from "../../src/rpc/wire.ts";
import { encodeParts, encodeWrite } from "../../src/rpc/write-codec.ts";
import { freePorts } from "../cluster/free-ports.ts";
import { waitFor } from "../cluster/waiting.ts";
import { FakeCluster, never } from "./fake-store.ts";

setDefaultTimeout(30_000);

const PATIENT_MS = 20_000;
const BRIEF_MS = 1500;

const limits = { maxKeyBytes: 64, maxValueBytes: 1024, maxPendingBytes: 1 << 20 };

function routerTo(clusters: CurrentCluster): Router {
  return new Router({ clusters, limits, requestTimeoutMs: PATIENT_MS });
}

function routerToFakes(fakes: FakeCluster): Router {
  const clusters = new CurrentCluster();
  clusters.setState({ kind: "running", cluster: fakes.cluster });
  return routerTo(clusters);
}

const WRITES = [
  { key: "k", value: "v" },
  { key: "\ud800", value: "" },
  { key: "k", value: "later" },
].map(encodeWrite);

function batchOf(fields: Partial<PutManyArgs> = {}): PutManyArgs {
  const names = {
    clientId: 1,
    requestId: 1,
    routerId: 0,
    routerCall: 0,
    routerPending: 0,
    routerRetried: false,
  };
  return { writes: WRITES, ...names, ...fields };
}

/** A field that nobody knows, of so many bytes, for which the length takes four. */
function paddingOf(bytes: number): Buffer {
  const length = bytes - 5;
  const header = [0x1a, ...[0, 7, 14].map((shift) => 0x80 | ((length >> shift) & 0x7f)), length >> 21];
  return Buffer.concat([Buffer.from(header), Buffer.alloc(length)]);
}

test("a PutMany reaches the leader with its writes as they came, under the client's name and a name of ours", async () => {
  await using fakes = await FakeCluster.start(3);
  fakes.store(1).lead(1);
  const router = routerToFakes(fakes);
  expect(await router.putMany(batchOf({ routerId: 99, routerCall: 7 }), PATIENT_MS)).toMatchObject({
    code: "OK",
  });
  expect(fakes.stores.map(({ batches }) => batches.length)).toEqual([0, 1, 0]);
  const [batch] = fakes.store(1).batches;
  expect(batch?.writes.map((bytes) => Buffer.from(bytes))).toEqual(WRITES.map((bytes) => Buffer.from(bytes)));
  expect(batch).toMatchObject({
    clientId: 1,
    requestId: 1,
    routerCall: 1,
    routerPending: 1,
    routerRetried: false,
  });
  expect(batch?.routerId).not.toBe(99);
});

test("C1, F7: a batch in doubt is sent to the next leader under the same name, as a retry", async () => {
  await using fakes = await FakeCluster.start(3);
  fakes.store(0).lead(1);
  fakes.store(0).onPutMany = never;
  const reply = routerToFakes(fakes).putMany(batchOf(), PATIENT_MS);
  await waitFor("the attempt", () => fakes.store(0).batches.length === 1);
  fakes.store(1).lead(2);
  expect(await reply).toMatchObject({ code: "OK" });
  const [first, second] = [fakes.store(0).batches[0], fakes.store(1).batches[0]];
  expect(second).toMatchObject({
    routerId: first?.routerId,
    routerCall: first?.routerCall,
    routerRetried: true,
  });
});

test("C2: a leader that does not answer leaves the outcome of a batch unknown", async () => {
  await using fakes = await FakeCluster.start(1);
  fakes.store(0).lead(1);
  fakes.store(0).onPutMany = never;
  const reply = await routerToFakes(fakes).putMany(batchOf(), BRIEF_MS);
  expect(reply).toMatchObject({ wrongLeader: true, code: "UNKNOWN_OUTCOME" });
});

test("I2: what can never be served is refused at once, and nothing is sent", async () => {
  await using fakes = await FakeCluster.start(1);
  fakes.store(0).lead(1);
  const router = routerToFakes(fakes);
  const wrong = [
    [],
    [encodeWrite({ key: "", value: "v" })],
    [encodeWrite({ key: "k".repeat(65), value: "v" })],
    [Buffer.from([0x0a, 9])],
    // The largest that the frontend itself can take: with its name it would be too large for the leader.
    [Buffer.concat([encodeWrite({ key: "k", value: "v" }), paddingOf(MAX_MESSAGE_BYTES - 16)])],
  ];
  for (const writes of wrong) {
    const { wrongLeader, code, error } = await router.putMany(batchOf({ writes }), PATIENT_MS);
    expect([wrongLeader, code, error !== ""]).toEqual([false, "INVALID_ARGUMENT", true]);
  }
  expect(fakes.store(0).batches).toHaveLength(0);
});

test("I2: what only the leader sees is refused in its words", async () => {
  await using fakes = await FakeCluster.start(1);
  fakes.store(0).lead(1);
  fakes.store(0).onPutMany = async () => ({
    code: "INVALID_ARGUMENT",
    error: "write 1 of the batch: not text",
  });
  const writes = [encodeParts(Buffer.from("k"), Buffer.from([0xff]))];
  const reply = await routerToFakes(fakes).putMany(batchOf({ writes }), PATIENT_MS);
  expect(reply).toMatchObject({
    wrongLeader: false,
    code: "INVALID_ARGUMENT",
    error: "write 1 of the batch: not text",
  });
});

test("I3: batches beyond what the frontend may hold are refused at once as overloaded", async () => {
  await using fakes = await FakeCluster.start(1);
  fakes.store(0).lead(1);
  fakes.store(0).onPutMany = never;
  const router = routerToFakes(fakes);
  const half = batchOf({
    writes: Array.from({ length: 600 }, (_, n) => encodeWrite({ key: `${n}`, value: "v".repeat(1000) })),
  });
  const held = router.putMany(half, BRIEF_MS);
  expect(await router.putMany(half, BRIEF_MS)).toMatchObject({ wrongLeader: false, code: "OVERLOADED" });
  expect(await held).toMatchObject({ code: "UNKNOWN_OUTCOME" });
});

test("without a cluster a PutMany is refused at once", async () => {
  const clusters = new CurrentCluster();
  clusters.setState({ kind: "none" });
  const reply = await routerTo(clusters).putMany(batchOf(), PATIENT_MS);
  expect(reply).toMatchObject({ wrongLeader: true, code: "NO_CLUSTER" });
});

test("a leader of a version that does not know PutMany is told from one that failed: nothing was done", async () => {
  const port = await freePorts(1);
  const server = new RpcServer();
  const older: Partial<Handlers<"KeyValueStore">> = {
    Status: async () => ({ id: 0, clusterId: "old", role: "leader", term: 1 }),
  };
  server.add("KeyValueStore", older as Handlers<"KeyValueStore">);
  await server.listen(["127.0.0.1"], port);
  const clusters = new CurrentCluster();
  clusters.setState({ kind: "running", cluster: newCluster("old", 1, () => `127.0.0.1:${port}`) });
  const { wrongLeader, code, error } = await routerTo(clusters).putMany(batchOf(), PATIENT_MS);
  expect([wrongLeader, code]).toEqual([false, "FAILED_PRECONDITION"]);
  expect(error).toBe(`127.0.0.1:${port}: there is no method PutMany: is it of an older version?`);
  clusters.setState({ kind: "none" });
  await server.close();
});
