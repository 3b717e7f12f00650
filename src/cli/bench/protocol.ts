/**
 * How `raftkv bench` talks with its workers, which are processes of this same program and make the load:
 *
 *   raftkv bench-worker
 *   stdin    {"kind":"prepare",…}   what the load is; the worker writes the keys that are to be read
 *   stdout   {"kind":"ready"}       when that is done
 *   stdin    {"kind":"go",…}        when, on the wall clock of the machine, the warm-up begins
 *   stdin    {"kind":"stop"}        end now, with what there is
 *   stdout   {"kind":"result",…}    what was measured
 *
 * A line each. Before its result a worker tells {"kind":"progress",…} a few times a second; in place of "ready"
 * or "result" it may tell {"kind":"failed",…}. It ends when its stdin does: with whom it works for, however
 * that ends.
 */
import { z } from "zod";
import type { MeasurementRecord } from "./measurement.ts";
import type { RunEnd } from "./settings.ts";
import type { CallSettings, TargetAddress } from "./target.ts";
import { WORKLOADS, type WorkloadOptions } from "./workload.ts";

/** The hidden subcommand. */
export const BENCH_WORKER_COMMAND = "bench-worker";

export const WORKER_STAGES = ["loading", "warming up", "measuring"] as const;

export type WorkerStage = (typeof WORKER_STAGES)[number];

/** What the load of one worker is. */
export interface WorkerLoad {
  readonly target: TargetAddress;
  readonly calls: CallSettings;
  readonly workload: WorkloadOptions;
  readonly clients: number;
  /** This is process number `process` of `processes`, from 0. */
  readonly process: number;
  readonly processes: number;
  /** Of all processes together; null: a closed loop. */
  readonly ratePerSecond: number | null;
  readonly warmUpMs: number;
  /** Of this process. */
  readonly end: RunEnd;
}

export type WorkerOrder =
  | { readonly kind: "prepare"; readonly load: WorkerLoad }
  | { readonly kind: "go"; readonly atWallMs: number }
  | { readonly kind: "stop" };

/** Operations of the stage so far. */
export interface WorkerProgress {
  readonly stage: WorkerStage;
  readonly answered: number;
  readonly failed: number;
}

export interface WorkerResult {
  readonly measurement: MeasurementRecord;
  /** How long was measured. */
  readonly measuredMs: number;
  /** As BenchResult has it. */
  readonly answeredMeanwhile: number;
  /** Processor time in that, as a share of one core. */
  readonly cpuShare: number;
}

export type WorkerReport =
  | ({ readonly kind: "progress" } & WorkerProgress)
  | { readonly kind: "ready" }
  | ({ readonly kind: "result" } & WorkerResult)
  | { readonly kind: "failed"; readonly message: string };

const count = z.int().min(0);
const positive = z.int().min(1);
const amount = z.number().min(0);
const address = z.string();

const LOAD = z.strictObject({
  target: z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("frontend"), address }),
    z.strictObject({
      kind: z.literal("servers"),
      servers: z.array(z.strictObject({ id: count, address })).min(1),
      leaderId: count.nullable(),
    }),
  ]),
  calls: z.strictObject({
    connections: positive,
    consistency: z.enum(["linearizable", "local"]),
    timeoutMs: positive,
  }),
  workload: z.strictObject({
    kind: z.enum(WORKLOADS),
    reads: z.number().min(0).max(1),
    keys: positive,
    valueBytes: count,
    seed: count,
    stream: count,
  }),
  clients: positive,
  process: count,
  processes: positive,
  ratePerSecond: amount.nullable(),
  warmUpMs: count,
  end: z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("duration"), durationMs: positive }),
    z.strictObject({ kind: z.literal("count"), operations: count }),
  ]),
}) satisfies z.ZodType<WorkerLoad>;

const ORDER = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("prepare"), load: LOAD }),
  z.strictObject({ kind: z.literal("go"), atWallMs: amount }),
  z.strictObject({ kind: z.literal("stop") }),
]) satisfies z.ZodType<WorkerOrder>;

const HISTOGRAM = z.strictObject({
  sumUs: count,
  maxUs: count,
  buckets: z.array(z.strictObject({ upToUs: count, count: positive })),
});

const MEASUREMENT = z.strictObject({
  puts: HISTOGRAM,
  gets: HISTOGRAM,
  found: count,
  errors: z.array(z.strictObject({ error: z.string(), count: positive, example: z.string() })),
  unsent: count,
  longestLagMs: amount,
  unanswered: z.strictObject({ calls: count, longestMs: amount }),
}) satisfies z.ZodType<MeasurementRecord>;

const REPORT = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("progress"),
    stage: z.enum(WORKER_STAGES),
    answered: count,
    failed: count,
  }),
  z.strictObject({ kind: z.literal("ready") }),
  z.strictObject({
    kind: z.literal("result"),
    measurement: MEASUREMENT,
    measuredMs: amount,
    answeredMeanwhile: count,
    cpuShare: amount,
  }),
  z.strictObject({ kind: z.literal("failed"), message: z.string() }),
]) satisfies z.ZodType<WorkerReport>;

export function writeLine(message: WorkerOrder | WorkerReport): string {
  return `${JSON.stringify(message)}\n`;
}

/** Both sides are the same program: anything but an order is a bug, and throws. So with readReport. */
export function readOrder(line: string): WorkerOrder {
  return ORDER.parse(JSON.parse(line));
}

export function readReport(line: string): WorkerReport {
  return REPORT.parse(JSON.parse(line));
}
