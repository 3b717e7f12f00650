import type { Command } from "../kv/command.ts";
import type { Persist } from "../raft/batch.ts";
import type { Entry, ServerId } from "../raft/entry.ts";
import type { HardState } from "../raft/hard-state.ts";

/** What a server's files belong to. It is written once, when the server is created. */
export interface Identity {
  /** Drawn anew by every StartRaft; tells clusters apart. */
  readonly clusterId: string;
  readonly serverId: ServerId;
  /** The ids of the cluster's voters, this one among them, ascending. */
  readonly servers: readonly ServerId[];
}

/** What a server finds when it starts. */
export interface Recovered {
  readonly identity: Identity;
  readonly hardState: HardState;
  /** The whole log, from index 1, contiguous. */
  readonly entries: readonly Entry<Command>[];
  /** What recovery mended (a torn tail cut off, a left-over file removed), one line each, for the log. */
  readonly repairs: readonly string[];
}

/** A server's durable memory. One owner, one call at a time. */
export interface Store {
  /**
   * Resolves when all of it is durable. Rejects with RaftKvError "io" when the disk refused: what is
   * on disk is then unknown, and the process must end without acknowledging anything.
   */
  persist(persist: Persist<Command>): Promise<void>;
  /** Bytes of log on disk. */
  readonly logBytes: number;
  close(): Promise<void>;
}
