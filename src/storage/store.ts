import type { Command } from "../kv/command.ts";
import type { KvState } from "../kv/kv-state.ts";
import type { Configuration } from "../raft/configuration.ts";
import type { LogWrite, Persist } from "../raft/batch.ts";
import type { Entry, LogIndex, ServerId, Term } from "../raft/entry.ts";
import type { HardState } from "../raft/hard-state.ts";
import type { SnapshotPosition } from "../raft/snapshot-position.ts";

/** What a server's files belong to. It is written once, when the server is created. */
export interface Identity {
  /** Drawn anew by every StartRaft; tells clusters apart. */
  readonly clusterId: string;
  readonly serverId: ServerId;
  /** The cluster as this server was created; empty: it is to be added to one, and learns it from the log. */
  readonly members: Configuration;
  /**
   * From which entry on they were members, where the server was made anew in a cluster that had changed before; absent:
   * from the first on.
   */
  readonly membersFrom?: LogIndex;
}

/** What a server finds when it starts. */
export interface Recovered {
  readonly identity: Identity;
  readonly hardState: HardState;
  /** The state at the newest snapshot; null: there is none, and the state begins empty. */
  readonly snapshot: SnapshotContent | null;
  /** What there is of the log. It begins at or before the entry after the snapshot, and reaches the snapshot. */
  readonly log: {
    /** The entry before the first one here. */
    readonly base: SnapshotPosition;
    /** From base.index + 1, contiguous. */
    readonly entries: readonly Entry<Command>[];
  };
  /** What recovery mended (a torn tail cut off, a left-over file removed), one line each, for the log. */
  readonly repairs: readonly string[];
}

/** A snapshot that was read and found whole. */
export interface SnapshotContent {
  readonly info: SnapshotInfo;
  /** Who belongs to the cluster at its position. */
  readonly configuration: Configuration;
  readonly state: KvState;
}

/** A write that makes room on the disk. */
export type Compaction = Extract<LogWrite<Command>, { readonly kind: "compact" }>;

/** What waits behind a `persist`. */
export interface Later {
  /**
   * Takes the next compaction that was to be asked for later; null when there is none, when its snapshot is of an
   * entry behind `durableIndex`, or when it follows a truncation or an install.
   */
  readonly takeCompaction: (durableIndex: LogIndex) => Compaction | null;
  /** Whether there is something that an election needs in `currentTerm`, the last one that was saved. */
  readonly electionWaits: (currentTerm: Term) => boolean;
}

/** Names one snapshot file: two files with the same info hold the same bytes. */
export interface SnapshotInfo {
  readonly position: SnapshotPosition;
  /** Of the whole file. */
  readonly totalBytes: number;
  /** CRC-32 of the whole file, 8 lowercase hex digits. */
  readonly checksum: string;
}

/** A server's durable memory. One owner; `persist` is called once at a time, the snapshot calls beside it. */
export interface Store {
  /**
   * Resolves when all of it is durable. While the disk is full it waits (see OpenOptions.whenFull). Rejects
   * with RaftKvError "io" when the disk refused otherwise: what is on disk is then unknown, and the process
   * must end without acknowledging anything.
   *
   * A write "compact" needs a prepared snapshot of that position, finished; "install" a received one.
   *
   * `later` is asked before it waits for room: a compaction that it hands over is done first, and is not to be asked
   * for again; while an election waits, the reserve is given up first (reserve.ts).
   */
  persist(persist: Persist<Command>, later?: Later): Promise<void>;
  /** Bytes of log on disk. */
  readonly logBytes: number;
  /** The snapshot that counts; null when there is none. */
  readonly snapshotInfo: SnapshotInfo | null;
  /** Starts a snapshot file of this server's own state; at most one at a time. It counts after "compact". */
  prepareSnapshot(position: SnapshotPosition, configuration: Configuration): Promise<SnapshotWriter>;
  /** Starts to receive a leader's snapshot file; at most one at a time. It counts after "install". */
  receiveSnapshot(info: SnapshotInfo): Promise<SnapshotReceipt>;
  /** Opens the snapshot that counts, for sending; null when there is none. It stays readable until closed. */
  openSnapshot(): Promise<SnapshotSource | null>;
  close(): Promise<void>;
}

/** A snapshot being written. Rejects with "diskFull" when there is no room: abandon it then. "io": as persist. */
export interface SnapshotWriter {
  /** One section of KvState, in its order (kv-state.ts). */
  append(section: string): Promise<void>;
  /** Ends the file and makes its bytes durable. */
  finish(): Promise<void>;
  /** Removes it. Also after finish, as long as no "compact" was asked for. */
  abandon(): Promise<void>;
}

/** A snapshot being received. Errors as SnapshotWriter. */
export interface SnapshotReceipt {
  readonly info: SnapshotInfo;
  /** Bytes received so far. */
  readonly size: number;
  /** The bytes that follow `size`. */
  append(data: Uint8Array): Promise<void>;
  /**
   * Makes it durable, checks every checksum and reads what it holds. Rejects with RaftKvError "corruption" or
   * "failedPrecondition" when it is not the snapshot that `info` says, of this cluster: abandon it then.
   */
  finish(): Promise<SnapshotContent>;
  /** Removes it. Also after finish, as long as no "install" was asked for. */
  abandon(): Promise<void>;
}

/** A snapshot being read. */
export interface SnapshotSource {
  readonly info: SnapshotInfo;
  /** From `offset`; shorter than `maxBytes` only at the file's end. */
  read(offset: number, maxBytes: number): Promise<Uint8Array>;
  close(): Promise<void>;
}
