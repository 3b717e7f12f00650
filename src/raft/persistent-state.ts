import type { Configuration } from "./configuration.ts";
import type { Entry, LogIndex } from "./entry.ts";
import type { HardState } from "./hard-state.ts";
import type { SnapshotPosition } from "./snapshot-position.ts";

/** What recovery found on the disk of a server that starts (Raft figure 2, "Persistent state", and §7). */
export interface PersistentState<C> {
  readonly hardState: HardState;
  readonly log: {
    /** The entry before the first one here; at most the snapshot. */
    readonly base: SnapshotPosition;
    /** From base.index + 1, contiguous, at least up to the snapshot. */
    readonly entries: readonly Entry<C>[];
  };
  /** Of the newest snapshot; ORIGIN: there is none. */
  readonly snapshot: SnapshotPosition;
  /** As of that snapshot; without one, what the server was created with. */
  readonly configuration: Configuration;
  /**
   * Without a snapshot: from which entry on that is in effect; absent: from the first. A server made anew in a
   * cluster that goes on is told of today's configuration, and the log that it gets begins before it.
   */
  readonly configurationFrom?: LogIndex;
}
