/**
 * Kills a server that is alone, so that nothing but its own disk can bring back what it acknowledged, right after
 * files appear, are renamed or vanish: while it snapshots, compacts and starts new segments (P1, P2, S1, S2).
 */
import { watch } from "node:fs";
import { join } from "node:path";
import type { Random } from "../../src/sim/random.ts";
import { Auditor } from "./auditor.ts";
import { Deployment } from "./deployment.ts";
import { Ledger } from "./ledger.ts";
import { hasEnded } from "./process-end.ts";
import { leaderRoute } from "./put-route.ts";
import { waitFor } from "./waiting.ts";
import { Writers } from "./writers.ts";

/** What a file in the server's directory is, by its name. */
type FileKind = (typeof FILE_KINDS)[number];

export interface CrashPointsResult {
  readonly rounds: number;
  /** How many kills came right after a change to a file of that kind. */
  readonly after: Readonly<Record<FileKind, number>>;
  readonly acknowledged: number;
  /** One line each; empty: nothing was lost, and nothing wrong was read. */
  readonly complaints: readonly string[];
}

const FILE_KINDS = ["log", "snapshot", "temporary"] as const;
const SNAPSHOTS = ["[Snapshot]", "entries = 100", "bytes = 262144", "keep_entries = 10"].join("\n");
const MAX_CHANGES = 3;
const MAX_DELAY_MS = 3;
/** Now and then a large value, so that segments fill up. */
const LARGE_VALUE_BYTES = 500_000;
const LARGE_VALUES = 0.05;

export async function crashPoints(rounds: number, random: Random): Promise<CrashPointsResult> {
  const deployment = await Deployment.create(SNAPSHOTS);
  const ledger = new Ledger();
  const route = leaderRoute(deployment, 1);
  const auditor = new Auditor(deployment, ledger, route);
  const after = { log: 0, snapshot: 0, temporary: 0 };
  try {
    const bootstrap = { servers: 1, clusterId: "alone" };
    await deployment.serving(deployment.launch(0, { bootstrap }));
    await auditor.writeBarrier();
    const valueBytes = (): number => (random.chance(LARGE_VALUES) ? LARGE_VALUE_BYTES : 100);
    const writers = new Writers(ledger, { clients: 8, routes: [route], keys: 32, valueBytes, pauseMs: 0 });
    let round = 0;
    while (round < rounds && ledger.complaints.length === 0) {
      after[await killAtChange(deployment, random)] += 1;
      const end = await deployment.serving(deployment.launch(0));
      if (end === null) await auditor.check([0]);
      else ledger.complaints.push(`the server does not start: ${end.stderr.trim()}`);
      round += 1;
    }
    await writers.stop();
    const { acknowledged, complaints } = ledger;
    return { rounds: round, after, acknowledged, complaints };
  } finally {
    await deployment.close();
  }
}

/** Kills the server at one of the next changes to the names of some kind of file, and tells which kind. */
async function killAtChange(deployment: Deployment, random: Random): Promise<FileKind> {
  const [pid] = deployment.pids(0);
  if (pid === undefined) throw new Error("the server does not run");
  const kind = random.pick(FILE_KINDS);
  let changesLeft = random.int(1, MAX_CHANGES);
  // Timers are no finer than a millisecond; a disk is.
  const delayMs = random.int(0, 100) * 0.01 * MAX_DELAY_MS;
  const watcher = watch(join(deployment.stateDirectory, "server_0"), (event, name) => {
    if (event !== "rename" || name === null || kindOf(String(name)) !== kind) return;
    changesLeft -= 1;
    if (changesLeft !== 0) return;
    const until = performance.now() + delayMs;
    while (performance.now() < until);
    process.kill(pid, "SIGKILL");
  });
  try {
    await waitFor("the server is killed", () => changesLeft <= 0 && hasEnded(pid));
  } finally {
    watcher.close();
  }
  return kind;
}

function kindOf(name: string): FileKind {
  if (name.startsWith("log-")) return "log";
  return name.endsWith(".json") ? "snapshot" : "temporary";
}
