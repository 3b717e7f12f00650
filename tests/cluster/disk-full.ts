/**
 * Gives each server a small disk of its own and fills it, first one server's, then all of them, while clients write
 * (P6): nothing is acknowledged that is not on a majority, no process ends, reads go on, and when there is room
 * again, so do writes.
 */
import { join } from "node:path";
import { encodeText } from "../../src/rpc/text.ts";
import type { Random } from "../../src/sim/random.ts";
import { Auditor } from "./auditor.ts";
import { Deployment } from "./deployment.ts";
import { Ledger } from "./ledger.ts";
import { frontendRoute, leaderRoute } from "./put-route.ts";
import { SmallDisk } from "./small-disk.ts";
import { waitFor } from "./waiting.ts";
import { Writers } from "./writers.ts";

export interface DiskFullResult {
  readonly rounds: number;
  readonly acknowledged: number;
  /** From room on all disks to the next acknowledged write; the longest. */
  readonly recoveryMs: number;
  /** From one full disk, the leader's at times, to the next write acknowledged by the others; the longest. */
  readonly oneFullMs: number;
  /** One line each; empty: nothing was lost, refused wrongly, or ended. */
  readonly complaints: readonly string[];
}

const SERVERS = [0, 1, 2] as const;
const DISK_MEGABYTES = 64;
const WRITES_ON_TWO = 50;
const CALL_MS = 2000;
const CLEAR_REFUSAL = /disk is full|outcome unknown|no leader/;

/** One cluster whose servers keep their files on small disks. */
interface Scene {
  readonly deployment: Deployment;
  readonly disks: readonly SmallDisk[];
  readonly ledger: Ledger;
  readonly auditor: Auditor;
}

/** Whose disk is full first when all of them are to be: on machines of their own, or on one that they share. */
export type FillingOrder = "followersFirst" | "together";

/** Each round draws one of the orders. */
export async function fillDisks(
  rounds: number,
  random: Random,
  orders: readonly [FillingOrder, ...FillingOrder[]],
): Promise<DiskFullResult> {
  const deployment = await Deployment.create();
  const disks: SmallDisk[] = [];
  const ledger = new Ledger();
  const route = leaderRoute(deployment, SERVERS.length);
  const auditor = new Auditor(deployment, ledger, route);
  try {
    for (const id of SERVERS) {
      disks.push(await SmallDisk.create(join(deployment.directory, `disk_${id}`), DISK_MEGABYTES));
    }
    await startOnDisks(deployment, disks);
    await auditor.writeBarrier();
    const routes = [route, frontendRoute(deployment)] as const;
    const writers = new Writers(ledger, { clients: 8, routes, keys: 64, valueBytes: () => 200, pauseMs: 5 });
    const scene: Scene = { deployment, disks, ledger, auditor };
    const pids = SERVERS.map((id) => deployment.pids(id));
    let [round, recoveryMs, oneFullMs] = [0, 0, 0];
    while (round < rounds && ledger.complaints.length === 0) {
      oneFullMs = Math.max(oneFullMs, await fillOne(scene, random.pick(SERVERS)));
      recoveryMs = Math.max(recoveryMs, await fillAll(scene, random.pick(orders)));
      const pidsNow = SERVERS.map((id) => deployment.pids(id));
      if (!Bun.deepEquals(pids, pidsNow)) ledger.complaints.push("a server has ended");
      round += 1;
    }
    await writers.stop();
    const { acknowledged, complaints } = ledger;
    return { rounds: round, acknowledged, recoveryMs, oneFullMs, complaints };
  } finally {
    await deployment.close(() => disks.forEach((disk) => disk.unmount()));
  }
}

async function startOnDisks(deployment: Deployment, disks: readonly SmallDisk[]): Promise<void> {
  const bootstrap = { servers: SERVERS.length, clusterId: "small-disks" };
  const servers = disks.map(({ directory }, id) =>
    deployment.launch(id, { bootstrap, stateDirectory: join(directory, "raft_state") }),
  );
  await Promise.all(servers.map((server) => deployment.serving(server)));
  await deployment.startFrontend();
}

/** The others go on. Returns how long their next write took from then on, in milliseconds. */
async function fillOne(scene: Scene, victim: number): Promise<number> {
  const { deployment, disks, ledger, auditor } = scene;
  disks[victim]?.fill();
  await waitFor(`server ${victim} is full`, () => isFull(deployment, victim));
  const fromMs = performance.now();
  await auditor.writeBarrier();
  const tookMs = performance.now() - fromMs;
  const enough = ledger.acknowledged + WRITES_ON_TWO;
  await waitFor("the others take writes", () => ledger.acknowledged >= enough);
  await checkReads(scene);
  await disks[victim]?.free();
  await waitFor(`server ${victim} has room`, async () => !(await isFull(deployment, victim)));
  await auditor.check(SERVERS);
  return tookMs;
}

/** Nothing is acknowledged. Returns how long the next write took once there was room, in milliseconds. */
async function fillAll(scene: Scene, order: FillingOrder): Promise<number> {
  const { deployment, disks, ledger, auditor } = scene;
  const leader = await deployment.leader(SERVERS.length);
  if (order === "followersFirst") {
    const followers = SERVERS.filter((id) => id !== leader.id);
    for (const id of followers) disks[id]?.fill();
    for (const id of followers) await waitFor(`server ${id} is full`, () => isFull(deployment, id));
  }
  for (const disk of disks) disk.fill();
  await waitFor("a majority is full", async () => {
    const full = await Promise.all(SERVERS.map((id) => isFull(deployment, id)));
    return full.filter(Boolean).length > SERVERS.length / 2;
  });
  ledger.halted = true;
  const answer = await deployment.put("refused", "no room", CALL_MS).catch((error: unknown) => String(error));
  if (answer === undefined || !CLEAR_REFUSAL.test(answer)) {
    ledger.complaints.push(`with all disks full the answer is: ${answer ?? "done"}`);
  }
  await checkReads(scene);
  ledger.halted = false;
  await Promise.all(disks.map((disk) => disk.free()));
  const fromMs = performance.now();
  await auditor.writeBarrier();
  const tookMs = performance.now() - fromMs;
  await auditor.check(SERVERS);
  return tookMs;
}

async function isFull(deployment: Deployment, id: number): Promise<boolean> {
  return (await deployment.status(id)).diskFull;
}

/** Every server answers for itself, and the frontend for the leader. */
async function checkReads({ deployment, ledger }: Scene): Promise<void> {
  const key = ledger.keyAt(1);
  if (key === null) return;
  for (const id of SERVERS) {
    ledger.observe(key, await deployment.getOn(id, key), 0, `server ${id}, a disk being full`);
  }
  const floor = ledger.floor(key);
  const routed = await deployment.frontend.call("Get", { key: encodeText(key) }, CALL_MS);
  if (routed.error === "") {
    const value = routed.found ? routed.value.toString() : null;
    ledger.observe(key, value, floor, "the frontend, a disk being full");
  } else {
    const servers = await describeServers(deployment);
    ledger.complaints.push(`the frontend cannot read, a disk being full: ${routed.error} (${servers})`);
  }
}

async function describeServers(deployment: Deployment): Promise<string> {
  const statuses = await Promise.all(SERVERS.map((id) => deployment.status(id)));
  return statuses
    .map(({ id, role, term, commitIndex, lastLogIndex, diskFull }) => {
      return `server ${id}: ${role} of term ${term}, ${commitIndex} of ${lastLogIndex}, ${diskFull ? "full" : "room"}`;
    })
    .join("; ");
}
