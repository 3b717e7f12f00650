/** What snapshots cost, and what they save: disk, restart, catching up, and the latency of puts meanwhile. */
import { join } from "node:path";
import type { Deployment } from "../cluster/deployment.ts";
import { waitFor } from "../cluster/waiting.ts";
import { percentile, putAtServer, type LoadOptions } from "./load.ts";
import { formatMs, type NumberTable } from "./number-table.ts";
import { directoryBytes } from "./process-usage.ts";

const SERVERS = [0, 1, 2] as const;
const PUTS = 1_000_000;
const KEYS = 100_000;
const MANY_KEYS = 500_000;
const VALUE_BYTES = 256;
const SEGMENT_BYTES = 16 * 1024 * 1024;
const MIB = 1024 * 1024;
/** Many at once, so that few fsyncs carry many puts; a retry for what an election refused comes from the loop. */
const LOADING: LoadOptions = { clients: 256, valueBytes: VALUE_BYTES, keys: KEYS, timeoutMs: 10_000 };
const LOAD_STEP = 20_000;
const CATCH_UP_MS = 60_000;
/** How far behind the leader a server is that has caught up, at most: one that gets along is always a little. */
const LAG_MS = 100;
const LATENCY_MS = 20_000;
const SNAPSHOT_TIMEOUT_MS = 60_000;

/** A million puts over a tenth as many keys, while one server is down, which then comes back. */
export async function measureCompaction(deployment: Deployment, table: NumberTable): Promise<void> {
  await deployment.startRaft(SERVERS.length);
  const absent = ((await deployment.leader(SERVERS.length)).id + 1) % SERVERS.length;
  await deployment.kill([absent]);
  await putMany(deployment, PUTS, KEYS);

  const enough = new AbortController();
  const load = (async () => {
    while (!enough.signal.aborted) await putMany(deployment, LOAD_STEP, KEYS);
  })();
  const fromMs = performance.now();
  const started = await deployment.startServer(absent);
  if (started.error !== "") throw new Error(started.error);
  await catchUp(deployment, absent);
  table.addTime("a server that missed 1,000,000 puts, to caught up", performance.now() - fromMs, 10_000);
  enough.abort();
  await load;

  for (const id of SERVERS) await catchUp(deployment, id);
  const liveBytes = KEYS * (VALUE_BYTES + "key-99999".length);
  const limitBytes = 3 * liveBytes + 2 * SEGMENT_BYTES;
  const usedBytes = Math.max(
    ...SERVERS.map((id) => directoryBytes(join(deployment.stateDirectory, `server_${id}`))),
  );
  table.add({
    what: "disk after 1,000,000 puts over 100,000 keys, the largest of three",
    asked: `≤ ${Math.round(limitBytes / MIB)} MiB`,
    measured: `${Math.round(usedBytes / MIB)} MiB for ${Math.round(liveBytes / MIB)} MiB of data`,
    holds: usedBytes <= limitBytes,
  });
  await measureRestart(deployment, table);
}

async function measureRestart(deployment: Deployment, table: NumberTable): Promise<void> {
  const tookMs: number[] = [];
  for (const id of SERVERS) {
    await deployment.kill([id]);
    const fromMs = performance.now();
    const end = await deployment.serving(deployment.launch(id));
    if (end !== null) throw new Error(end.stderr);
    tookMs.push(performance.now() - fromMs);
    await catchUp(deployment, id);
  }
  table.addTime("restart of a server then, to serving, the longest of three", Math.max(...tookMs), 2000);
}

/** Waits until the server has applied what the leader had committed a moment before. */
async function catchUp(deployment: Deployment, id: number): Promise<void> {
  const hasCaughtUp = async (): Promise<boolean> => {
    const { commitIndex } = await deployment.leader(SERVERS.length);
    await Bun.sleep(LAG_MS);
    return (await deployment.status(id)).lastApplied >= commitIndex;
  };
  await waitFor(`server ${id} has caught up`, hasCaughtUp, CATCH_UP_MS);
}

/** The latency of puts while the leader takes one snapshot after the other, against that without. */
export async function measureSnapshotLatency(deployment: Deployment, table: NumberTable): Promise<void> {
  await deployment.startRaft(SERVERS.length);
  await putMany(deployment, MANY_KEYS, MANY_KEYS);
  const { id } = await deployment.leader(SERVERS.length);
  const { address } = deployment.server(id);
  const options = { ...LOADING, clients: 64, keys: MANY_KEYS, durationMs: LATENCY_MS };
  // None is due soon after one: what comes next is without.
  await takeSnapshot(deployment, id);
  const without = await putAtServer(address, options);
  const enough = new AbortController();
  let snapshots = 0;
  const snapshotting = (async () => {
    while (!enough.signal.aborted) {
      await takeSnapshot(deployment, id);
      snapshots += 1;
    }
  })();
  const during = await putAtServer(address, options);
  enough.abort();
  await snapshotting;
  const [before, after] = [without, during].map(({ latenciesMs }) => percentile(latenciesMs, 0.99));
  const ratio = (after ?? NaN) / (before ?? NaN);
  table.add({
    what: `put p99, 64 clients, while snapshots of 500,000 keys are taken (${snapshots})`,
    asked: "≤ 3 × that without",
    measured: `${ratio.toFixed(2)} × (${formatMs(after ?? NaN)}, ${formatMs(before ?? NaN)}), ${during.errors} errors`,
    holds: ratio <= 3 && during.errors === 0 && snapshots > 0,
  });
}

async function takeSnapshot(deployment: Deployment, id: number): Promise<void> {
  const reply = await deployment.server(id).call("TakeSnapshot", {}, SNAPSHOT_TIMEOUT_MS);
  if (reply.error !== "") throw new Error(`TakeSnapshot: ${reply.error}`);
}

/** So many puts over so many keys at whoever leads, as fast as it takes them. */
async function putMany(deployment: Deployment, puts: number, keys: number): Promise<void> {
  for (let done = 0; done < puts;) {
    const { id } = await deployment.leader(SERVERS.length);
    const options = { ...LOADING, keys, firstKey: done, operations: Math.min(LOAD_STEP, puts - done) };
    const { operations, errors } = await putAtServer(deployment.server(id).address, options);
    done += errors === 0 ? operations : 0;
  }
}
