/**
 * What the core wants done, one batch a turn. The order is the safety argument of Raft:
 *
 *   1. `requests` and `replies` may leave at once, in parallel with 2: nothing in them claims durability.
 *   2. `persist` is made durable, whole and in order; then the core is told `persisted(sequence)`.
 *      Only then, in a later batch, does it release votes, append replies and its own acknowledgement.
 *   3. `install` replaces the state; then `committed` is applied in order. It is durable on a majority, perhaps not yet here.
 */
import type { Entry, LogIndex, ServerId } from "./entry.ts";
import type { RaftEvent } from "./event.ts";
import type { HardState } from "./hard-state.ts";
import type { Reply, Request } from "./message.ts";
import type { SnapshotPosition } from "./snapshot-position.ts";

/** A change to the log on disk. */
export type LogWrite<C> =
  /** `entries` follow the log's last entry without a gap. */
  | { readonly kind: "append"; readonly entries: readonly Entry<C>[] }
  /** The entry at `from` and all after it go; `from` is at least 1 and at most the last index. */
  | { readonly kind: "truncate"; readonly from: LogIndex }
  /** The prepared snapshot becomes the one that counts; then entries up to `through` (<= its index) may go. */
  | { readonly kind: "compact"; readonly snapshot: SnapshotPosition; readonly through: LogIndex }
  /** The received snapshot becomes the one that counts; then the whole log goes and goes on after it. */
  | { readonly kind: "install"; readonly snapshot: SnapshotPosition };

/** What has to be durable, in this order: hard state first, then the writes one after the other. */
export interface Persist<C> {
  /** null: unchanged. */
  readonly hardState: HardState | null;
  readonly writes: readonly LogWrite<C>[];
}

/** Names one incoming request, so that its reply finds the way back. Chosen by the driver. */
export type RpcId = number;

export interface OutgoingRequest<C> {
  readonly to: ServerId;
  readonly request: Request<C>;
}

export interface OutgoingReply {
  readonly rpc: RpcId;
  readonly reply: Reply;
}

/** Names one read. Chosen by the driver. */
export type ReadId = number;

export interface ReadOutcome {
  readonly read: ReadId;
  /** Whoever has applied the log up to here may answer it (dissertation §6.4); null: leadership was lost first. */
  readonly readIndex: LogIndex | null;
}

export interface Batch<C> {
  readonly requests: readonly OutgoingRequest<C>[];
  readonly replies: readonly OutgoingReply[];
  /** null: nothing to write. */
  readonly persist: (Persist<C> & { readonly sequence: number }) | null;
  /**
   * The state machine is to become what this snapshot holds, before `committed` is applied; null mostly. It
   * is one that was given to the core in an InstallSnapshot, so the driver has it.
   */
  readonly install: SnapshotPosition | null;
  /** What became of Raft.read, each once. */
  readonly reads: readonly ReadOutcome[];
  /** In order and contiguous with what earlier batches held. */
  readonly committed: readonly Entry<C>[];
  /** What happened, in order; for logs and traces only. */
  readonly events: readonly RaftEvent[];
}
