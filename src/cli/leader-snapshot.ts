import { describeError, RaftKvError, type ErrorCode } from "../base/errors.ts";
import type { Interruption } from "./interruption.ts";
import { parseTimeoutMs } from "./option-value.ts";
import { findLeader, SnapshotSource, type Leader } from "./snapshot-source.ts";

/** How often it begins anew when the leader steps down or dies in the middle. */
const MAX_ATTEMPTS = 5;
const RETRY_PAUSE_MS = 200;

/** What may be over when another leader, or the same one, is asked anew. None of them comes from our own disk. */
const PASSING: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "notLeader",
  "unavailable",
  "unknownOutcome",
  "overloaded",
  "failedPrecondition",
  "corruption",
]);

export interface SnapshotOrigin {
  /** The frontend's "host:port". */
  readonly address: string;
  /** In seconds, for each answer. */
  readonly timeout: string;
  readonly interruption: Interruption;
}

/**
 * Has whoever leads take a snapshot, and reads it. When that fails for a reason that may pass it begins anew, after
 * `restart` has thrown away what came so far, being told why; when `restart` rejects it does not. Rejects with
 * RaftKvError as findLeader and `read`, and as the cluster says after some attempts.
 */
export async function withLeaderSnapshot<T>(
  { address, timeout, interruption }: SnapshotOrigin,
  read: (leader: Leader, source: SnapshotSource) => Promise<T>,
  restart: (why: string) => Promise<void>,
): Promise<T> {
  const { signal } = interruption;
  const timeoutMs = parseTimeoutMs("--timeout", timeout);
  for (let attempt = 1; ; attempt++) {
    const leader = await interruption.or(findLeader({ address, timeout }, timeoutMs, signal));
    try {
      const source = await interruption.or(SnapshotSource.open(leader, timeoutMs));
      try {
        return await read(leader, source);
      } finally {
        source.close();
      }
    } catch (error) {
      const mayPass = error instanceof RaftKvError && PASSING.has(error.code) && !signal.aborted;
      if (!mayPass || attempt === MAX_ATTEMPTS) throw error;
      await restart(describeError(error));
      await interruption.or(Bun.sleep(RETRY_PAUSE_MS));
    }
  }
}
