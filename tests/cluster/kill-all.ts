/**
 * Kills every server at once while clients write, starts them again, and looks for everything that was
 * acknowledged (P1, P8). Snapshots are taken all the time, so that kills hit them too (S1, S2).
 */
import type { Random } from "../../src/sim/random.ts";
import { Auditor } from "./auditor.ts";
import { Deployment } from "./deployment.ts";
import { Ledger } from "./ledger.ts";
import { frontendRoute, leaderRoute } from "./put-route.ts";
import { waitFor } from "./waiting.ts";
import { Writers } from "./writers.ts";

/** Thresholds so low that snapshots, compaction and transfers happen every second. */
export const FREQUENT_SNAPSHOTS = ["[Snapshot]", "entries = 500", "bytes = 65536", "keep_entries = 50"].join(
  "\n",
);

export interface KillAllResult {
  readonly rounds: number;
  readonly acknowledged: number;
  readonly unknown: number;
  readonly reads: number;
  /** One line each; empty: nothing was lost, and nothing wrong was read. */
  readonly complaints: readonly string[];
}

const SERVERS = [0, 1, 2] as const;
const MAX_WRITES_A_ROUND = 1000;
/** How often the servers are killed once more before they serve. */
const KILLED_WHILE_STARTING = 0.15;

/** Ends the rounds early when a server does not start; then the complaint says why. */
export async function killAll(rounds: number, random: Random): Promise<KillAllResult> {
  const deployment = await Deployment.create(FREQUENT_SNAPSHOTS);
  const ledger = new Ledger();
  try {
    await deployment.startFrontend();
    await deployment.startRaft(SERVERS.length);
    const straight = leaderRoute(deployment, SERVERS.length);
    const auditor = new Auditor(deployment, ledger, straight);
    const writers = new Writers(ledger, {
      clients: 16,
      routes: [frontendRoute(deployment), straight],
      keys: 256,
      valueBytes: () => 100,
      pauseMs: 0,
    });
    let round = 0;
    while (round < rounds && ledger.complaints.length === 0) {
      const enough = ledger.acknowledged + random.int(1, MAX_WRITES_A_ROUND);
      await waitFor("more writes are acknowledged", () => ledger.acknowledged >= enough);
      ledger.complaints.push(...(await restartAll(deployment, random)));
      if (ledger.complaints.length === 0) await auditor.check(SERVERS);
      round += 1;
    }
    await writers.stop();
    if (ledger.complaints.length === 0) await auditor.check(SERVERS);
    const { acknowledged, unknown, reads, complaints } = ledger;
    return { rounds: round, acknowledged, unknown, reads, complaints };
  } finally {
    await deployment.close();
  }
}

/** What the servers said that did not start. */
async function restartAll(deployment: Deployment, random: Random): Promise<readonly string[]> {
  await deployment.kill(SERVERS);
  if (random.chance(KILLED_WHILE_STARTING)) {
    for (const id of SERVERS) deployment.launch(id);
    await Bun.sleep(random.int(0, 300)); // The moment is what is varied; nothing is expected of it.
    await deployment.kill(SERVERS);
  }
  const servers = SERVERS.map((id) => deployment.launch(id));
  const ends = await Promise.all(servers.map((server) => deployment.serving(server)));
  return ends.flatMap((end, id) =>
    end === null ? [] : [`server ${id} does not start: ${end.stderr.trim()}`],
  );
}
