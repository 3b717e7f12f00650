import { expect, test } from "bun:test";
import { OpenSnapshots } from "../../src/server/open-snapshots.ts";
import { snapshotHandlers } from "../../src/server/snapshot-service.ts";
import type { SnapshotReply } from "../../src/rpc/wire.ts";
import { fill, NodeCluster } from "../node/node-cluster.ts";

const ELECTION_MS = 400;
const CONTEXT = { remainingMs: null };

interface Service {
  readonly cluster: NodeCluster;
  /** Those of server `id`. */
  readonly handlers: (id: number) => ReturnType<typeof snapshotHandlers>;
  /** Asks server `id` for a snapshot, and lets it take its time. */
  readonly take: (id: number) => Promise<Partial<SnapshotReply>>;
}

/** Three servers that hold fifty keys; server 0 leads. */
async function service(): Promise<Service> {
  const cluster = new NodeCluster(3);
  await cluster.clock.advance(ELECTION_MS);
  await fill(cluster, 0, 50);
  const open = [0, 1, 2].map(() => new OpenSnapshots(cluster.clock));
  const handlers: Service["handlers"] = (id) => {
    const snapshots = open[id];
    if (snapshots === undefined) throw new TypeError(`no server ${id}`);
    return snapshotHandlers(cluster.node(id), snapshots, () => {});
  };
  const take: Service["take"] = async (id) => {
    const reply = handlers(id).TakeSnapshot({}, CONTEXT);
    await cluster.clock.advance(200);
    return reply;
  };
  return { cluster, handlers, take };
}

/** The fields that name a snapshot. */
function named({ index = 0, term = 0, totalBytes = 0, checksum = "" }: Partial<SnapshotReply>) {
  return { index, term, totalBytes, checksum };
}

test("a leader's snapshot holds all that was acknowledged, and is read to its end", async () => {
  const { cluster, handlers, take } = await service();
  const snapshot = named(await take(0));
  expect(snapshot.index).toBe(51);
  const pieces: Uint8Array[] = [];
  for (let offset = 0; offset < snapshot.totalBytes;) {
    const { data = new Uint8Array(0) } = await handlers(0).ReadSnapshot({ ...snapshot, offset }, CONTEXT);
    pieces.push(data);
    offset += data.length;
  }
  expect(Buffer.concat(pieces)).toEqual(Buffer.from(cluster.store(0).snapshot?.bytes ?? []));
  const end = await handlers(0).ReadSnapshot({ ...snapshot, offset: snapshot.totalBytes }, CONTEXT);
  expect(end.data).toHaveLength(0);
});

test("a server that does not lead names the leader, and takes none", async () => {
  const { cluster, take } = await service();
  expect(await take(1)).toMatchObject({ code: "NOT_LEADER", leaderId: 0 });
  expect(cluster.store(1).prepareCount).toBe(0);
});

test("L1: a leader that nobody hears any more takes no snapshot: others may have acknowledged since", async () => {
  const { cluster, handlers } = await service();
  cluster.isolate(0);
  const reply = handlers(0).TakeSnapshot({}, CONTEXT);
  await cluster.clock.advance(10_000);
  expect(await reply).toMatchObject({ code: "NOT_LEADER" });
  expect(cluster.store(0).prepareCount).toBe(0);
});

test("L1: a leader that is deposed while it writes the snapshot still has all that was acknowledged before the call", async () => {
  const { cluster, handlers } = await service();
  cluster.store(0).snapshotDelayMs = 1000;
  const reply = handlers(0).TakeSnapshot({}, CONTEXT);
  await cluster.clock.advance(10);
  cluster.isolate(0);
  await cluster.clock.advance(10_000);
  expect(await reply).toMatchObject({ index: 51 });
});

test("P6: without room the answer says so", async () => {
  const { cluster, take } = await service();
  cluster.store(0).fullForSnapshots = true;
  expect(await take(0)).toMatchObject({ code: "UNAVAILABLE", error: "no space left on device" });
});

test("I2: what nobody has opened, and what is out of bounds, is refused", async () => {
  const { handlers, take } = await service();
  const snapshot = named(await take(0));
  const read = (change: object): Promise<object> =>
    handlers(0).ReadSnapshot({ ...snapshot, offset: 0, ...change }, CONTEXT);
  expect(read({ index: 12 })).rejects.toMatchObject({ code: "failedPrecondition" });
  expect(read({ offset: snapshot.totalBytes + 1 })).rejects.toMatchObject({ code: "invalidArgument" });
  expect(read({ offset: -1 })).rejects.toMatchObject({ code: "invalidArgument" });
  expect(read({ checksum: "x" })).rejects.toMatchObject({ code: "invalidArgument" });
});
