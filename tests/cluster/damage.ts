/**
 * Damages a file of one stopped server while the others serve, and starts it (P3, P4, P7). It rejoins, or refuses
 * with one clear line, and is then given its own good files back; it never answers wrongly, nor makes the others.
 */
import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Random } from "../../src/sim/random.ts";
import { Auditor } from "./auditor.ts";
import { Deployment } from "./deployment.ts";
import { applyDamage, describeDamage, drawDamage } from "./file-damage.ts";
import { FREQUENT_SNAPSHOTS } from "./kill-all.ts";
import { Ledger } from "./ledger.ts";
import { leaderRoute } from "./put-route.ts";
import { Reader } from "./reader.ts";
import type { ServerEnd } from "./server-process.ts";
import { Writers } from "./writers.ts";

export interface DamageResult {
  readonly rounds: number;
  readonly rejoined: number;
  readonly refused: number;
  readonly acknowledged: number;
  readonly reads: number;
  /** One line each; empty: no wrong answer, no lost write, no unclear refusal. */
  readonly complaints: readonly string[];
}

const SERVERS = [0, 1, 2] as const;
/** How often a server is asked to stop, instead of being killed. */
const STOPPED_CLEANLY = 0.3;
const ENOUGH_COMPLAINTS = 10;

export async function damageFiles(rounds: number, random: Random): Promise<DamageResult> {
  const deployment = await Deployment.create(FREQUENT_SNAPSHOTS);
  const ledger = new Ledger();
  const route = leaderRoute(deployment, SERVERS.length);
  const auditor = new Auditor(deployment, ledger, route);
  try {
    await createCluster(deployment);
    await auditor.writeBarrier();
    const options = { clients: 4, routes: [route], keys: 64, valueBytes: () => 100, pauseMs: 5 } as const;
    const writers = new Writers(ledger, options);
    const readers = SERVERS.map((id) => new Reader(deployment, ledger, id));
    const results = { rejoined: 0, refused: 0 };
    while (results.rejoined + results.refused < rounds && ledger.complaints.length < ENOUGH_COMPLAINTS) {
      const victim = random.pick(SERVERS);
      const restart = (): void => readers[victim]?.serverStarts();
      results[await damageOnce(deployment, ledger, auditor, { victim, random, restart })] += 1;
    }
    await Promise.all([writers.stop(), ...readers.map((reader) => reader.stop())]);
    await auditor.check(SERVERS);
    const { acknowledged, reads, complaints } = ledger;
    return { ...results, rounds: results.rejoined + results.refused, acknowledged, reads, complaints };
  } finally {
    await deployment.close();
  }
}

/** Starts a new cluster of the servers, each by hand. */
async function createCluster(deployment: Deployment): Promise<void> {
  const bootstrap = { servers: SERVERS.length, clusterId: "damaged" };
  const servers = SERVERS.map((id) => deployment.launch(id, { bootstrap }));
  await Promise.all(servers.map((server) => deployment.serving(server)));
}

interface Round {
  readonly victim: number;
  readonly random: Random;
  /** To be called before the victim is started. */
  readonly restart: () => void;
}

async function damageOnce(
  deployment: Deployment,
  ledger: Ledger,
  auditor: Auditor,
  { victim, random, restart }: Round,
): Promise<"rejoined" | "refused"> {
  const start = (): Promise<ServerEnd | null> => {
    restart();
    return deployment.serving(deployment.launch(victim));
  };
  await deployment.signal(victim, random.chance(STOPPED_CLEANLY) ? "SIGTERM" : "SIGKILL");
  // The others now hold everything that the victim had helped to commit: its copy is one too many.
  await auditor.writeBarrier();
  await copyServer(deployment.stateDirectory, goodCopy(deployment), victim);
  const damage = await drawDamage(random, deployment.stateDirectory, victim);
  await applyDamage(damage);
  const what = `server ${victim}, ${describeDamage(damage)}`;

  const refusal = await start();
  if (refusal !== null) {
    if (!isClearRefusal(refusal, deployment)) {
      ledger.complaints.push(`${what}: no clear line, code ${refusal.code}: ${refusal.stderr.trim()}`);
    }
    await copyServer(goodCopy(deployment), deployment.stateDirectory, victim);
    const again = await start();
    if (again !== null) {
      throw new Error(`${what}: with its good files back it does not start: ${again.stderr.trim()}`);
    }
  }
  await auditor.check([victim]).catch((error: unknown) => {
    throw new Error(`${what}: after that it does not catch up`, { cause: error });
  });
  return refusal === null ? "rejoined" : "refused";
}

function goodCopy(deployment: Deployment): string {
  return join(deployment.directory, "good");
}

/** Replaces the server's files in `to` by those in `from`. */
async function copyServer(from: string, to: string, id: number): Promise<void> {
  for (const name of [`server_${id}.json`, `server_${id}`]) {
    await rm(join(to, name), { recursive: true, force: true });
    await cp(join(from, name), join(to, name), { recursive: true });
  }
}

/** One line that names a file of the server, after nothing but the log; and no stack. */
function isClearRefusal({ code, stderr }: ServerEnd, deployment: Deployment): boolean {
  const lines = stderr.trim().split("\n");
  const words = lines.filter((line) => !line.startsWith("{"));
  return (
    code === 1 && words.length === 1 && words[0]?.startsWith(`raftkv: ${deployment.stateDirectory}/`) === true
  );
}
