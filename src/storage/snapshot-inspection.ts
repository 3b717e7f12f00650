import type { Configuration } from "../raft/configuration.ts";
import type { LogIndex } from "../raft/entry.ts";
import type { SnapshotPosition } from "../raft/snapshot-position.ts";
import type { FileSystem } from "./file-system.ts";
import type { Damage } from "./refusal.ts";
import { inspectSnapshotFile } from "./snapshot-reader.ts";

/** What a snapshot file is and where it is damaged. */
export interface SnapshotInspection {
  readonly kind: "snapshot";
  readonly path: string;
  readonly bytes: number;
  /** What its first line says; all of it null when that is damaged. */
  readonly clusterId: string | null;
  readonly position: SnapshotPosition | null;
  readonly members: Configuration | null;
  /** How many it holds; null when it is not whole. */
  readonly keys: number | null;
  /** CRC-32 of the whole file, 8 lowercase hex digits; null when it is not whole. */
  readonly checksum: string | null;
  readonly damage: readonly Damage[];
}

/** What a snapshot in a server's directory is to be; null: not known. */
export interface SnapshotPlace {
  readonly clusterId: string | null;
  readonly index: LogIndex | null;
}

/**
 * Reads the whole file and every checksum in it, up to the first damage: of a damaged snapshot nothing counts.
 * Resolves to null when there is no such file. Rejects with RaftKvError "io".
 */
export async function inspectSnapshot(
  fs: FileSystem,
  path: string,
  { clusterId, index }: SnapshotPlace,
): Promise<SnapshotInspection | null> {
  const finding = await inspectSnapshotFile(fs, path);
  if (finding === null) return null;
  const isWhole = finding.kind === "whole";
  const { header } = finding;
  const faults: Damage[] = [];
  if (!isWhole) faults.push({ path, offset: finding.damage.offset, what: finding.damage.what });
  if (header !== null && clusterId !== null && header.clusterId !== clusterId) {
    faults.push({ path, offset: 0, what: `belongs to cluster ${header.clusterId}, not to ${clusterId}` });
  }
  if (header !== null && index !== null && header.position.index !== index) {
    faults.push({ path, offset: 0, what: `stands for entry ${header.position.index}, not for ${index}` });
  }
  return {
    kind: "snapshot",
    path,
    bytes: isWhole ? finding.content.info.totalBytes : finding.totalBytes,
    clusterId: header?.clusterId ?? null,
    position: header?.position ?? null,
    members: header?.configuration ?? null,
    keys: isWhole ? finding.content.state.data.size : null,
    checksum: isWhole ? finding.content.info.checksum : null,
    damage: faults,
  };
}
