import { assert } from "../base/assert.ts";
import type { ServerId } from "./entry.ts";

/** What the core is told once. Times are in ticks, whose length only the driver knows. */
export interface RaftOptions {
  readonly id: ServerId;
  /** Election timeouts are drawn from min..max, both included (Raft §5.2, §9.3). */
  readonly electionTimeoutMinTicks: number;
  readonly electionTimeoutMaxTicks: number;
  readonly heartbeatTicks: number;
  /** Bounds of one AppendEntries; a single larger entry still travels, alone. */
  readonly maxBatchEntries: number;
  /** Also of the committed entries handed out in one batch: one entry may hold thousands of writes. */
  readonly maxBatchBytes: number;
  /** AppendEntries with entries under way to one follower at the same time. */
  readonly maxInflight: number;
  /** Committed entries handed out in one batch, so that applying a long log blocks nobody for long. */
  readonly maxCommittedPerBatch: number;
  /** A whole number in min..max, both included. */
  readonly randomInt: (min: number, max: number) => number;
}

export function checkOptions(options: RaftOptions): void {
  const { electionTimeoutMinTicks: min, electionTimeoutMaxTicks: max } = options;
  assert(
    options.heartbeatTicks >= 1 && options.heartbeatTicks < min,
    "heartbeats must come within a timeout",
  );
  assert(min < max, "election timeouts must vary");
  assert(options.maxBatchEntries >= 1 && options.maxInflight >= 1, "batches and windows hold at least one");
  assert(options.maxCommittedPerBatch >= 1, "a batch applies at least one entry");
}
