/**
 * Measures RaftKV beside etcd: `bun tests/bench/etcd-comparison.ts [LOAD…] [--rounds N] [--seconds N] [--warm-up N]
 * [--connections N] [--json]`, or `make compare`. Both run as three servers on this machine, on one file system,
 * and the same client program calls them in turn. It exits with 1 when RaftKV falls short of what is asked of it,
 * or one of the two acknowledges a put before it is on the disks of a majority.
 *
 * Both stay up all the time, and only one is called: what has been started afresh is slow for a while, and what is
 * idle has next to nothing to do but heartbeats. What that costs is told (idle CPU), and each bears the other's.
 *
 * It needs etcd (the distribution's etcd-server, or what ETCD_EXECUTABLE names) and strace.
 */
import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import {
  formatRound,
  formatSummaries,
  judge,
  summarise,
  WORKLOADS,
  type Round,
  type WorkloadName,
} from "./comparison.ts";
import {
  etcdContender,
  raftkvContenders,
  raftkvDirectories,
  startRaftkv,
  type Contender,
} from "./contender.ts";
import { checkSameDisk, observeSyncs, syncTimeMs, type SyncedCluster } from "./durability.ts";
import { ETCD_EXECUTABLE, EtcdCluster } from "./etcd-cluster.ts";
import { closedLoop, type LoadOptions } from "./load.ts";
import { measureRound } from "./measured-round.ts";
import { NumberTable, type NumberRow } from "./number-table.ts";

interface Options {
  readonly workloads: readonly WorkloadName[];
  readonly rounds: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
  readonly connections: number;
  readonly json: boolean;
}

const LOAD = { valueBytes: 256, keys: 10_000, timeoutMs: 10_000 };

/** Both systems, with all that has to be ended. */
interface Stage {
  readonly contenders: readonly Contender[];
  readonly synced: readonly (SyncedCluster & { readonly contender: Contender })[];
  readonly directory: string;
  readonly versions: Readonly<Record<string, string>>;
}

async function main(): Promise<number> {
  const options = parseOptions();
  for (const tool of [ETCD_EXECUTABLE, "strace"]) {
    if (Bun.which(tool) === null) throw new Error(`there is no ${tool}: install etcd-server and strace`);
  }
  const closers: (() => Promise<void>)[] = [];
  let closed: Promise<unknown> | null = null;
  const close = (): Promise<unknown> => {
    closed ??= Promise.allSettled(closers.map((closer) => closer()));
    return closed;
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => void close().finally(() => process.exit(1)));
  }
  try {
    const stage = await setUp(closers);
    return await compare(stage, options);
  } finally {
    await close();
  }
}

function parseOptions(): Options {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      rounds: { type: "string", default: "3" },
      seconds: { type: "string", default: "10" },
      "warm-up": { type: "string", default: "10" },
      connections: { type: "string", default: "1" },
      json: { type: "boolean", default: false },
    },
  });
  const all = Object.keys(WORKLOADS) as WorkloadName[];
  const unknown = positionals.filter((name) => !all.some((known) => known === name));
  if (unknown.length > 0) throw new Error(`no such load: ${unknown.join(", ")}; there are ${all.join(", ")}`);
  return {
    workloads: positionals.length === 0 ? all : all.filter((name) => positionals.includes(name)),
    rounds: wholeNumber("rounds", values.rounds),
    seconds: wholeNumber("seconds", values.seconds),
    warmUpSeconds: wholeNumber("warm-up", values["warm-up"]),
    connections: wholeNumber("connections", values.connections),
    json: values.json,
  };
}

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1) return value;
  throw new Error(`--${name} must be a whole number from 1 up, not ${JSON.stringify(text)}`);
}

async function setUp(closers: (() => Promise<void>)[]): Promise<Stage> {
  const etcd = await EtcdCluster.start();
  closers.push(() => etcd.close());
  const { deployment, frontendPid } = await startRaftkv();
  closers.push(() => deployment.close());
  const theirs = etcdContender(etcd);
  const [ours, routed] = raftkvContenders(deployment, frontendPid);
  const [etcdLeader, raftkvLeader] = [await etcd.leader(), await deployment.leader(3)];
  const synced = [
    { contender: theirs, pids: theirs.pids, directories: etcd.directories },
    { contender: ours, pids: ours.pids, directories: raftkvDirectories(deployment) },
  ];
  checkSameDisk(synced.flatMap(({ directories }) => directories));
  return {
    contenders: [theirs, ours, routed],
    synced,
    directory: etcd.directory,
    versions: {
      etcd: `${etcdLeader.version}, led by ${etcdLeader.name}`,
      raftkv: `${raftkvLeader.version}, led by server ${raftkvLeader.id}`,
    },
  };
}

async function compare(stage: Stage, options: Options): Promise<number> {
  const { contenders, directory, versions } = stage;
  const [cpu] = cpus();
  const settings = {
    ...LOAD,
    ...options,
    ...versions,
    machine: `${cpus().length} × ${cpu?.model.trim() ?? "?"}, load average ${loadavg()[0]?.toFixed(1) ?? "?"}`,
    syncMs: await syncTimeMs(directory),
  };
  tell(
    Object.entries(settings)
      .map(([name, value]) => `${name} ${String(value)}`)
      .join("; "),
  );
  const durability = await judgeDurability(stage);
  await warmUp(contenders, options);
  const rounds: Round[] = [];
  for (const workload of options.workloads) {
    for (let round = 0; round < options.rounds; round += 1) {
      for (const contender of contenders) rounds.push(await run(contender, workload, contenders, options));
    }
  }
  const summaries = summarise(rounds);
  const rows = [...durability, ...judge(summaries)];
  if (options.json) {
    process.stdout.write(`${JSON.stringify({ settings, rounds, summaries, verdict: rows }, null, 2)}\n`);
  } else {
    process.stdout.write(`${formatSummaries(summaries)}\n`);
    const table = new NumberTable();
    for (const row of rows) table.add(row);
  }
  return rows.every(({ holds }) => holds) ? 0 : 1;
}

/** Before anything is measured: servers that were traced are slow, and have time to be as they were. */
async function judgeDurability({ synced }: Stage): Promise<readonly NumberRow[]> {
  const rows: NumberRow[] = [];
  for (const { contender, ...cluster } of synced) {
    const { puts, early, leastMarginMs, syncs } = await observeSyncs(cluster, await contender.target("put"));
    const counts = `${syncs.join(", ")} syncs`;
    rows.push({
      what: `${contender.name}: puts answered before a majority had synced them`,
      asked: "0",
      measured: `${early.length} of ${puts}; at least ${leastMarginMs.toFixed(2)} ms between; ${counts}`,
      holds: early.length === 0 && puts > 0,
    });
  }
  return rows;
}

/** Writes every key, too: gets ask for all of them. */
async function warmUp(contenders: readonly Contender[], options: Options): Promise<void> {
  for (const { name, target } of contenders) {
    const { connections, warmUpSeconds } = options;
    const load: LoadOptions = { ...LOAD, clients: 64, connections };
    const [puts, gets] = [await target("put"), await target("get")];
    const filled = await closedLoop(puts, { ...load, operations: LOAD.keys });
    if (filled.errors > 0) throw new Error(`${name} refuses puts: ${filled.firstError ?? ""}`);
    const durationMs = warmUpSeconds * 1000;
    for (const kind of [puts, gets]) await closedLoop(kind, { ...load, durationMs });
    tell(`${name} is warm`);
  }
}

async function run(
  contender: Contender,
  workload: WorkloadName,
  contenders: readonly Contender[],
  { connections, seconds }: Options,
): Promise<Round> {
  const { kind, clients } = WORKLOADS[workload];
  const load = { ...LOAD, clients, connections: Math.min(connections, clients), durationMs: seconds * 1000 };
  const everyone = new Set(contenders.flatMap(({ everyone }) => everyone));
  const idle = [...everyone.difference(new Set(contender.everyone))];
  const round = await measureRound(contender, workload, await contender.target(kind), load, idle);
  tell(formatRound(round));
  return round;
}

function tell(line: string): void {
  process.stderr.write(`${line}\n`);
}

try {
  process.exit(await main());
} catch (error) {
  tell(error instanceof Error ? error.message : String(error));
  process.exit(2);
}
