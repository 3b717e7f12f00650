/** What a node is made of, and the numbers that it keeps to. */
import type { KvStateMachine } from "../kv/state-machine.ts";
import type { RaftOptions } from "../raft/options.ts";
import type { Recovered, Store } from "../storage/store.ts";
import type { Clock } from "./clock.ts";
import type { DiskRoom } from "./disk-room.ts";
import type { NodeEvent } from "./node-event.ts";
import type { SnapshotThresholds } from "./snapshotter.ts";
import type { Transport } from "./transport.ts";

export interface NodeLimits {
  /** Puts in the log and not applied, in number and bytes; beyond that they are refused as overloaded. */
  readonly maxPendingProposals: number;
  readonly maxPendingBytes: number;
  /** Linearizable reads that wait, also on behalf of other servers; beyond that they are refused as overloaded. */
  readonly maxPendingReads: number;
  /** Peers' requests that wait for this server's disk. */
  readonly maxPendingRpcs: number;
}

export interface SnapshotOptions extends SnapshotThresholds {
  /**
   * Entries that stay in the log behind a snapshot, for followers that are a little slow: no more of them than
   * half of `bytes`, or half of what the last snapshot takes.
   */
  readonly keepEntries: number;
  /** Of all transfers together. */
  readonly transferBytesPerSecond: number;
  /** Of one message of a transfer, at most MAX_CHUNK_BYTES. */
  readonly chunkBytes: number;
}

export interface NodeParts {
  readonly raftOptions: RaftOptions;
  readonly tickMs: number;
  readonly limits: NodeLimits;
  readonly snapshots: SnapshotOptions;
  readonly clock: Clock;
  readonly transport: Transport;
  readonly store: Store;
  /** The one whose `whenFull` the store was given. */
  readonly diskRoom: DiskRoom;
  /** Without any entry applied; it becomes what the recovered snapshot holds. */
  readonly machine: KvStateMachine;
  /** What the store was opened with; not kept. */
  readonly recovered: Recovered;
  readonly onEvent: (event: NodeEvent) => void;
  /** The disk failed: what it holds is unknown, nothing more is acknowledged, the process must end. */
  readonly onFailure: (error: unknown) => void;
}
