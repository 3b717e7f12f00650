/** What a run of `raftkv bench` is to be like, from its options. */
import { availableParallelism } from "node:os";
import type { ArgsDef } from "citty";
import type { Seed } from "../../frontend/seed-search.ts";
import { JSON_OPTION } from "../command.ts";
import { DEFAULT_ADDRESS } from "../frontend-client.ts";
import { parseAddress, parseSeeds, parseTimeoutMs, parseWholeNumber } from "../option-value.ts";
import { UsageError } from "../usage-error.ts";
import { WORKLOADS, type WorkloadKind } from "./workload.ts";

export interface BenchSettings {
  readonly target: TargetSettings;
  readonly workload: WorkloadKind;
  /** The share of gets in a mixed workload, 0..1; 0 for puts, 1 for gets. */
  readonly reads: number;
  readonly consistency: Consistency;
  readonly keys: number;
  readonly valueBytes: number;
  readonly seed: number;
  readonly clients: number;
  /** From `jobs` to `clients`. */
  readonly connections: number;
  /** Processes that make the load, at most one a client. */
  readonly jobs: number;
  /** Operations due each second; null: a closed loop. */
  readonly ratePerSecond: number | null;
  readonly warmUpMs: number;
  readonly end: RunEnd;
  readonly timeoutMs: number;
}

export type Consistency = "linearizable" | "local";

/** Who is asked: a frontend, or the servers themselves. */
export type TargetSettings =
  | { readonly kind: "frontend"; readonly address: string }
  | { readonly kind: "servers"; readonly seeds: readonly Seed[] };

/** What ends the measured stretch. */
export type RunEnd =
  | { readonly kind: "duration"; readonly durationMs: number }
  | { readonly kind: "count"; readonly operations: number };

export const BENCH_OPTIONS = {
  workload: {
    type: "enum",
    options: [...WORKLOADS],
    default: "put",
    description: "What the operations are; keys that are read are written first",
  },
  reads: {
    type: "string",
    valueHint: "share",
    description: "with --workload mixed: the share of gets, 0 to 1 (Default: 0.5)",
  },
  consistency: {
    type: "enum",
    options: ["linearizable", "local"],
    description: "Of the gets (Default: linearizable)",
  },
  keys: { type: "string", default: "10000", valueHint: "count", description: "bench/0, bench/1 and so on" },
  "value-size": { type: "string", default: "256", valueHint: "bytes", description: "Of every value" },
  clients: {
    type: "string",
    default: "64",
    valueHint: "count",
    description: "Callers, each with one operation at a time",
  },
  connections: {
    type: "string",
    valueHint: "count",
    description: "Taken in turn by the calls (Default: for each process one for every 256 of its clients)",
  },
  jobs: {
    type: "string",
    valueHint: "count",
    description: "Processes that make the load (Default: half the cores, at most 4)",
  },
  duration: { type: "string", valueHint: "seconds", description: "How long to measure (Default: 10)" },
  count: { type: "string", valueHint: "operations", description: "Measure so many instead" },
  "warm-up": {
    type: "string",
    default: "2",
    valueHint: "seconds",
    description: "Load before that which is not counted",
  },
  rate: {
    type: "string",
    valueHint: "per-second",
    description: "Open loop: operations are due at fixed times, and latency counts from these",
  },
  seed: { type: "string", default: "1", valueHint: "seed", description: "Draws keys and values" },
  address: {
    type: "string",
    valueHint: "host:port",
    description: `Where the frontend listens (Default: ${DEFAULT_ADDRESS})`,
  },
  servers: {
    type: "string",
    valueHint: "addresses",
    description: "Ask servers instead, without a frontend: host:port,… or 0=host:port,…",
  },
  timeout: { type: "string", default: "5", valueHint: "seconds", description: "How long a call may take" },
  ...JSON_OPTION,
} as const satisfies ArgsDef;

/** What citty makes of BENCH_OPTIONS. */
export interface BenchArgs {
  readonly workload: WorkloadKind;
  readonly reads?: string | undefined;
  readonly consistency?: Consistency | undefined;
  readonly keys: string;
  readonly "value-size": string;
  readonly clients: string;
  readonly connections?: string | undefined;
  readonly jobs?: string | undefined;
  readonly duration?: string | undefined;
  readonly count?: string | undefined;
  readonly "warm-up": string;
  readonly rate?: string | undefined;
  readonly seed: string;
  readonly address?: string | undefined;
  readonly servers?: string | undefined;
  readonly timeout: string;
}

const MAX_KEYS = 100_000_000;
/** The largest that `max_value_bytes` may be set to. */
const MAX_VALUE_BYTES = 4_194_304;
const MAX_CLIENTS = 100_000;
const MAX_JOBS = 256;
const MAX_COUNT = 1_000_000_000;
const MAX_RATE = 10_000_000;
const MAX_SEED = 999_999_999_999;

/** A server takes so many calls of one connection at a time; further ones would wait in this program. */
const CLIENTS_OF_A_CONNECTION = 256;

/** Throws UsageError for a bad value, and for options that contradict each other. */
export function parseBenchSettings(args: BenchArgs): BenchSettings {
  const { workload, rate, seed } = args;
  if (args.consistency !== undefined && workload === "put") {
    throw new UsageError("--consistency is for gets: add --workload get or --workload mixed");
  }
  return {
    target: parseTarget(args),
    workload,
    reads: parseReads(args),
    consistency: args.consistency ?? "linearizable",
    keys: parseWholeNumber("--keys", args.keys, 1, MAX_KEYS),
    valueBytes: parseWholeNumber("--value-size", args["value-size"], 0, MAX_VALUE_BYTES),
    seed: parseWholeNumber("--seed", seed, 0, MAX_SEED),
    ...parseCallers(args),
    ratePerSecond: rate === undefined ? null : parseWholeNumber("--rate", rate, 1, MAX_RATE),
    warmUpMs: parseWarmUpMs(args["warm-up"]),
    end: parseEnd(args),
    timeoutMs: parseTimeoutMs("--timeout", args.timeout),
  };
}

function parseTarget({ address, servers }: BenchArgs): TargetSettings {
  if (servers === undefined) {
    return { kind: "frontend", address: parseAddress("--address", address ?? DEFAULT_ADDRESS) };
  }
  if (address !== undefined) throw new UsageError("--address is of a frontend, and --servers asks none");
  return { kind: "servers", seeds: parseSeeds("--servers", servers) };
}

function parseReads({ workload, reads }: BenchArgs): number {
  if (workload !== "mixed") {
    if (reads !== undefined) throw new UsageError("--reads is for --workload mixed only");
    return workload === "get" ? 1 : 0;
  }
  const share = reads === undefined ? 0.5 : /^\d(\.\d{1,6})?$/.test(reads) ? Number(reads) : Number.NaN;
  if (share >= 0 && share <= 1) return share;
  throw new UsageError(`--reads must be a share from 0 to 1, as 0.9, not ${JSON.stringify(reads)}`);
}

function parseCallers(args: BenchArgs): Pick<BenchSettings, "clients" | "connections" | "jobs"> {
  const clients = parseWholeNumber("--clients", args.clients, 1, MAX_CLIENTS);
  const given = {
    connections: parseUpToClients("--connections", args.connections, clients, MAX_CLIENTS),
    jobs: parseUpToClients("--jobs", args.jobs, clients, MAX_JOBS),
  };
  const jobs = given.jobs ?? Math.min(defaultJobs(), given.connections ?? clients);
  const clientsOfAJob = Math.ceil(clients / jobs);
  const connections = given.connections ?? jobs * Math.ceil(clientsOfAJob / CLIENTS_OF_A_CONNECTION);
  if (connections >= jobs) return { clients, connections, jobs };
  throw new UsageError(`--connections must be at least --jobs, which is ${jobs}: each process has its own`);
}

/**
 * One process makes more calls a second than a small cluster answers, and where the cluster runs on the same
 * cores, every further one takes time from it. The result says how busy they were.
 */
function defaultJobs(): number {
  return Math.min(4, Math.max(1, Math.floor(availableParallelism() / 2)));
}

/** null: not given. */
function parseUpToClients(
  name: string,
  text: string | undefined,
  clients: number,
  max: number,
): number | null {
  if (text === undefined) return null;
  const number = parseWholeNumber(name, text, 1, max);
  if (number <= clients) return number;
  throw new UsageError(`${name} must be at most --clients, which is ${clients}, not ${number}`);
}

function parseWarmUpMs(text: string): number {
  if (/^0(\.0{1,3})?$/.test(text)) return 0;
  try {
    return parseTimeoutMs("--warm-up", text);
  } catch {
    throw new UsageError(`--warm-up must be seconds, from 0 to 3600, not ${JSON.stringify(text)}`);
  }
}

function parseEnd({ duration, count }: BenchArgs): RunEnd {
  if (count === undefined) {
    return { kind: "duration", durationMs: parseTimeoutMs("--duration", duration ?? "10") };
  }
  if (duration !== undefined) throw new UsageError("--count and --duration: give one, which ends the run");
  return { kind: "count", operations: parseWholeNumber("--count", count, 1, MAX_COUNT) };
}
