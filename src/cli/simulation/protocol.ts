/**
 * How a campaign talks with its workers, which are processes of this same program:
 *
 *   raftkv simulate-worker [--replay]
 *   stdin    "17\n"         run seed 17, after those that were asked before
 *   stdout   "{…}\n"        its report, in the order of asking
 *
 * A worker ends when its stdin does: with the campaign, however that ends.
 */
import { z } from "zod";
import { FAULT_KINDS } from "../../sim/swarm.ts";
import type { SeedReport } from "../../sim/tally.ts";
import type { Property } from "../../sim/violation.ts";

/** The hidden subcommand. */
export const WORKER_COMMAND = "simulate-worker";

const count = z.int().min(0);

const REPORT = z.strictObject({
  seed: count,
  hash: z.string(),
  events: count,
  virtualUs: count,
  elections: count,
  operations: z.strictObject({ done: count, unknown: count, failed: count }),
  faults: z.partialRecord(z.enum(FAULT_KINDS), count),
  violation: z.strictObject({ property: z.custom<Property>(isText), message: z.string() }).nullable(),
  replayHash: z.string().nullable(),
}) satisfies z.ZodType<SeedReport>;

function isText(value: unknown): boolean {
  return typeof value === "string";
}

export function writeReport(report: SeedReport): string {
  return `${JSON.stringify(report)}\n`;
}

/** A worker is the same program: anything but a report is a bug, and throws. */
export function readReport(line: string): SeedReport {
  return REPORT.parse(JSON.parse(line));
}
