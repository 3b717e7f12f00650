/** What stays of the log behind a snapshot, for followers that still need it. */
import { entryByteLength, type Entry, type LogIndex } from "../raft/entry.ts";

export interface KeptLog {
  /** What the snapshot stands for. */
  readonly snapshotIndex: LogIndex;
  /** The first entry that the log holds. */
  readonly firstLogIndex: LogIndex;
  /** Entries after it are wanted. Above the snapshot: none is. */
  readonly wantedAfter: LogIndex;
  /** The most that they may take together, as `entryByteLength` counts. */
  readonly maxBytes: number;
  readonly entryAt: (index: LogIndex) => Entry<unknown>;
}

/**
 * The last entry that may go, at most the snapshot's. Of the entries that are wanted the newest stay, as many
 * as are within the bound.
 */
export function compactThrough(log: KeptLog): LogIndex {
  const { snapshotIndex, firstLogIndex, wantedAfter, maxBytes, entryAt } = log;
  const last = Math.max(wantedAfter, firstLogIndex - 1);
  let through = snapshotIndex;
  let bytes = 0;
  while (through > last) {
    bytes += entryByteLength(entryAt(through));
    if (bytes > maxBytes) break;
    through -= 1;
  }
  return through;
}
