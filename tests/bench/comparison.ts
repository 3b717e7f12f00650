/** What two systems did under the same load, set beside each other. Pure. */
import type { NumberRow } from "./number-table.ts";

/** The loads, and what RaftKV's throughput is to be as a multiple of etcd's. */
export const WORKLOADS = {
  "put-64": { kind: "put", clients: 64, what: "puts, 64 clients", times: 2, judgesTail: true },
  "put-256": { kind: "put", clients: 256, what: "puts, 256 clients", times: 2, judgesTail: true },
  "put-1": { kind: "put", clients: 1, what: "puts, one client", times: 1, judgesTail: false },
  "get-64": {
    kind: "get",
    clients: 64,
    what: "linearizable gets, 64 clients",
    times: 1.5,
    judgesTail: false,
  },
  "get-256": {
    kind: "get",
    clients: 256,
    what: "linearizable gets, 256 clients",
    times: 1.5,
    judgesTail: false,
  },
} as const;

export type WorkloadName = keyof typeof WORKLOADS;

/** Whom a load calls: etcd's leader, RaftKV's leader, or RaftKV's frontend. */
export type ContenderName = "etcd" | "raftkv" | "frontend";

const MAX_RSS_MEGABYTES = 250;
/** Of the machine, for what else runs there. More of it, and the comparison is of how either bears being disturbed. */
const MAX_OTHERS_SHARE = 0.1;

/** One run of one load. What is said of each server is in their order. */
export interface Round {
  readonly workload: WorkloadName;
  readonly contender: ContenderName;
  readonly seconds: number;
  readonly operations: number;
  readonly errors: number;
  readonly firstError: string | null;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** The most that each server held while it was loaded. */
  readonly rssMegabytes: readonly number[];
  /** Used by each server, and by the frontend if it was called. */
  readonly cpuSeconds: readonly number[];
  readonly clientCpuSeconds: number;
  /** Used by the system that was not loaded. */
  readonly idleCpuSeconds: number;
  /** Used by everybody else, as a share (0..1) of the machine. */
  readonly othersShare: number;
}

/** All rounds of one load on one contender: medians, but for what is said. */
export interface Summary {
  readonly workload: WorkloadName;
  readonly contender: ContenderName;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** CPU time an operation costs the servers, and the client. */
  readonly serverMicroseconds: number;
  readonly clientMicroseconds: number;
  /** In all rounds. */
  readonly errors: number;
  /** The largest server's in any round. */
  readonly rssMegabytes: number;
  /** The largest in any round. */
  readonly othersShare: number;
}

/** In the order in which they first appear. */
export function summarise(rounds: readonly Round[]): readonly Summary[] {
  const groups = Map.groupBy(rounds, ({ workload, contender }) => `${workload} ${contender}`);
  return [...groups.values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined) return [];
    const { workload, contender } = first;
    return {
      workload,
      contender,
      perSecond: median(group.map(({ perSecond }) => perSecond)),
      p50Ms: median(group.map(({ p50Ms }) => p50Ms)),
      p99Ms: median(group.map(({ p99Ms }) => p99Ms)),
      serverMicroseconds: median(group.map((round) => microseconds(sum(round.cpuSeconds), round))),
      clientMicroseconds: median(group.map((round) => microseconds(round.clientCpuSeconds, round))),
      errors: sum(group.map(({ errors }) => errors)),
      rssMegabytes: Math.max(...group.flatMap(({ rssMegabytes }) => rssMegabytes)),
      othersShare: Math.max(...group.map(({ othersShare }) => othersShare)),
    };
  });
}

function microseconds(cpuSeconds: number, { operations }: Round): number {
  return (cpuSeconds / operations) * 1e6;
}

/** The middle one; of an even number, the mean of the middle two; NaN of none. */
export function median(values: readonly number[]): number {
  const ascending = values.toSorted((a, b) => a - b);
  const half = ascending.length / 2;
  const [lower = NaN, upper = NaN] = [ascending[Math.ceil(half) - 1], ascending[Math.floor(half)]];
  return (lower + upper) / 2;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** What was asked of RaftKV at its leader, as far as it was measured. What goes through the frontend is only told. */
export function judge(summaries: readonly Summary[]): readonly NumberRow[] {
  const find = (workload: WorkloadName, contender: ContenderName): Summary | undefined =>
    summaries.find((summary) => summary.workload === workload && summary.contender === contender);
  const rows = (Object.keys(WORKLOADS) as WorkloadName[]).flatMap((workload) => {
    const [etcd, raftkv] = [find(workload, "etcd"), find(workload, "raftkv")];
    return etcd === undefined || raftkv === undefined ? [] : judgeWorkload(workload, etcd, raftkv);
  });
  return [...rows, ...judgeMemory(summaries), judgeErrors(summaries), judgeMachine(summaries)];
}

function judgeWorkload(workload: WorkloadName, etcd: Summary, raftkv: Summary): readonly NumberRow[] {
  const { what, times, judgesTail } = WORKLOADS[workload];
  const ratio = raftkv.perSecond / etcd.perSecond;
  const speeds = `${formatRate(raftkv.perSecond)} to ${formatRate(etcd.perSecond)} /s`;
  const tail = raftkv.p99Ms / etcd.p99Ms;
  const throughput = {
    what,
    asked: times === 1 ? "no slower than etcd" : `≥ ${times} × etcd's`,
    measured: `${ratio.toFixed(2)} × (${speeds})`,
    holds: ratio >= times,
  };
  if (!judgesTail) return [throughput];
  const p99 = {
    what: `${what}, p99`,
    asked: "no worse than etcd's",
    measured: `${tail.toFixed(2)} × (${raftkv.p99Ms.toFixed(1)} to ${etcd.p99Ms.toFixed(1)} ms)`,
    holds: tail <= 1,
  };
  return [throughput, p99];
}

/** A call that fails costs less than one that is served: then nothing is compared. */
function judgeErrors(summaries: readonly Summary[]): NumberRow {
  const failed = summaries.filter(({ errors }) => errors > 0);
  const found = failed.map(({ workload, contender, errors }) => `${errors} of ${contender} in ${workload}`);
  return {
    what: "calls that failed",
    asked: "0",
    measured: found.join(", ") || "0",
    holds: failed.length === 0,
  };
}

function judgeMemory(summaries: readonly Summary[]): readonly NumberRow[] {
  const ours = summaries.filter(({ contender }) => contender !== "etcd");
  if (ours.length === 0) return [];
  const most = Math.max(...ours.map(({ rssMegabytes }) => rssMegabytes));
  return [
    {
      what: "memory of a RaftKV server, the largest at any time",
      asked: `≤ ${MAX_RSS_MEGABYTES} MB`,
      measured: `${most.toFixed(0)} MB`,
      holds: most <= MAX_RSS_MEGABYTES,
    },
  ];
}

function judgeMachine(summaries: readonly Summary[]): NumberRow {
  const most = Math.max(...summaries.map(({ othersShare }) => othersShare));
  return {
    what: "what else ran on the machine, at any time",
    asked: `≤ ${MAX_OTHERS_SHARE * 100} % of it`,
    measured: `${(most * 100).toFixed(0)} %`,
    holds: most <= MAX_OTHERS_SHARE,
  };
}

/** One line. */
export function formatRound(round: Round): string {
  const { workload, contender, errors, firstError, rssMegabytes, othersShare } = round;
  const servers = round.cpuSeconds.map((used) => used.toFixed(1)).join(" + ");
  const [client, idle] = [round.clientCpuSeconds.toFixed(1), round.idleCpuSeconds.toFixed(1)];
  const parts = [
    `${workload} ${contender}: ${formatRate(round.perSecond)} /s`,
    `p50 ${round.p50Ms.toFixed(2)} ms, p99 ${round.p99Ms.toFixed(2)} ms`,
    `CPU s in ${round.seconds}: servers ${servers}, client ${client}, idle ${idle}`,
    `others ${(othersShare * 100).toFixed(0)} %`,
    `${rssMegabytes.map((held) => held.toFixed(0)).join("/")} MB`,
  ];
  return parts.concat(errors === 0 ? [] : `${errors} errors: ${firstError ?? ""}`).join("; ");
}

const COLUMNS = [
  "load",
  "called",
  "/s",
  "× etcd",
  "p50 ms",
  "p99 ms",
  "server µs",
  "client µs",
  "MB",
] as const;

/** One line a summary, under one of headings. */
export function formatSummaries(summaries: readonly Summary[]): string {
  const lines = summaries.map((summary) => {
    const { workload, contender } = summary;
    const etcd = summaries.find((other) => other.workload === workload && other.contender === "etcd");
    return [
      workload,
      contender,
      formatRate(summary.perSecond),
      etcd === undefined ? "" : (summary.perSecond / etcd.perSecond).toFixed(2),
      summary.p50Ms.toFixed(2),
      summary.p99Ms.toFixed(2),
      summary.serverMicroseconds.toFixed(0),
      summary.clientMicroseconds.toFixed(0),
      summary.rssMegabytes.toFixed(0),
    ];
  });
  const table = [[...COLUMNS], ...lines];
  const widths = COLUMNS.map((_, at) => Math.max(...table.map((line) => line[at]?.length ?? 0)));
  const padded = table.map((line) =>
    line.map((cell, at) => (at < 2 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0))),
  );
  return padded.map((line) => `${line.join("  ")}\n`).join("");
}

function formatRate(perSecond: number): string {
  return Math.round(perSecond).toLocaleString("en");
}
