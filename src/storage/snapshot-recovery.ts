/** Reads what there is of snapshots and judges it; changes nothing. */
import type { Term } from "../raft/entry.ts";
import { ORIGIN, type SnapshotPosition } from "../raft/snapshot-position.ts";
import type { FileSystem } from "./file-system.ts";
import { corrupted, unusable } from "./refusal.ts";
import { isServerTemporary, snapshotIndex, snapshotName } from "./server-files.ts";
import { readSnapshotFile } from "./snapshot-reader.ts";
import type { SnapshotContent } from "./store.ts";

/** The snapshots of one server. */
export interface SnapshotsFound {
  /** The one that counts; null: there is none. */
  readonly newest: SnapshotContent | null;
  /** What a crash left of others, to be removed, each with what it is. */
  readonly leftOvers: readonly { readonly path: string; readonly what: string }[];
}

/**
 * Reads the newest snapshot in `directory`. It was whole and durable before it got its name, and log was removed
 * because of it: so damage is never passed over in favour of an older one. Rejects with RaftKvError "corruption"
 * with file and byte offset, or "failedPrecondition" for another cluster's or version's.
 */
export async function readSnapshots(
  fs: FileSystem,
  directory: string,
  clusterId: string,
  currentTerm: Term,
): Promise<SnapshotsFound> {
  const names = (await fs.listDirectory(directory)) ?? [];
  const newestIndex = Math.max(0, ...names.map((name) => snapshotIndex(name) ?? 0));
  const leftOvers = names.flatMap((name) => {
    const path = `${directory}/${name}`;
    if (isServerTemporary(name)) return [{ path, what: "an unfinished snapshot" }];
    const index = snapshotIndex(name);
    return index === null || index === newestIndex ? [] : [{ path, what: "an older snapshot" }];
  });
  if (newestIndex === 0) return { newest: null, leftOvers };
  const path = `${directory}/${snapshotName(newestIndex)}`;
  const { header, content } = await readSnapshotFile(fs, path);
  const { index, term } = header.position;
  if (header.clusterId !== clusterId) {
    throw unusable(path, `belongs to cluster ${header.clusterId}, the state file to cluster ${clusterId}`);
  }
  if (index !== newestIndex) throw corrupted(path, 0, `holds the state of entry ${index}`);
  if (term > currentTerm) {
    throw corrupted(path, 0, `is of term ${term}, but the state file knows only ${currentTerm}`);
  }
  return { newest: content, leftOvers };
}

/** What the snapshots stand for; ORIGIN when there is none. */
export function positionOf({ newest }: SnapshotsFound): SnapshotPosition {
  return newest?.info.position ?? ORIGIN;
}
