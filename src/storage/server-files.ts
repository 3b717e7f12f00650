/** The names of what a server keeps in the state directory; server-store.ts says what is in them. */
import type { LogIndex, ServerId } from "../raft/entry.ts";
import { temporaryPath } from "./atomic-file.ts";

/** The version of everything that a server keeps on disk; it stands in the state file and in each segment. */
export const FORMAT = 1;

/** Where one server's files are. */
export interface ServerFiles {
  readonly stateDir: string;
  /** Its existence is what makes a server. */
  readonly stateFile: string;
  readonly stateFileTemporary: string;
  /** Log, snapshots, lock. */
  readonly directory: string;
  readonly lock: string;
  /** Room for elections on a full disk; it holds nothing (reserve.ts). */
  readonly reserve: string;
}

export function serverFiles(stateDir: string, serverId: ServerId): ServerFiles {
  const directory = `${stateDir}/server_${serverId}`;
  const stateFile = `${directory}.json`;
  return {
    stateDir,
    stateFile,
    stateFileTemporary: temporaryPath(stateFile),
    directory,
    lock: `${directory}/${LOCK_NAME}`,
    reserve: `${directory}/${RESERVE_NAME}`,
  };
}

/** Whose state file has the name; null for the name of anything else. */
export function stateFileServer(name: string): ServerId | null {
  const digits = STATE_FILE_NAME.exec(name)?.[1];
  return digits === undefined ? null : Number(digits);
}

/** The segment whose first entry is `firstIndex`; padded, so that the names sort as the log runs. */
export function segmentName(firstIndex: LogIndex): string {
  return `log-${String(firstIndex).padStart(16, "0")}.jsonl`;
}

/** The first index of the segment so named; null for the name of anything else. */
export function segmentFirstIndex(name: string): LogIndex | null {
  const digits = SEGMENT_NAME.exec(name)?.[1];
  if (digits === undefined) return null;
  const firstIndex = Number(digits);
  return Number.isSafeInteger(firstIndex) && firstIndex >= 1 ? firstIndex : null;
}

/** Of the state after the entry `index`; no padding: what counts is the index, not how the names sort. */
export function snapshotName(index: LogIndex): string {
  return `snapshot-${index}.json`;
}

/** Where that snapshot is while this server writes it. */
export function preparedSnapshotName(index: LogIndex): string {
  return temporaryPath(snapshotName(index));
}

/** Where that snapshot is while a leader sends it. */
export function receivedSnapshotName(index: LogIndex): string {
  return `${snapshotName(index)}.part`;
}

/** The index of the snapshot so named; null for the name of anything else, also of an unfinished one. */
export function snapshotIndex(name: string): LogIndex | null {
  const match = SNAPSHOT_NAME.exec(name);
  if (match === null || match[2] !== undefined) return null;
  const index = Number(match[1]);
  return Number.isSafeInteger(index) ? index : null;
}

/** Whether a name in the server's directory is an unfinished snapshot's. After a crash it means nothing. */
export function isServerTemporary(name: string): boolean {
  return SNAPSHOT_NAME.exec(name)?.[2] !== undefined;
}

/** Whether a name in the server's directory is part of its memory. Lock and reserve are ours too, but hold nothing. */
export function isServerData(name: string): boolean {
  return segmentFirstIndex(name) !== null || snapshotIndex(name) !== null || isServerTemporary(name);
}

const STATE_FILE_NAME = /^server_(0|[1-9][0-9]{0,8})\.json$/;
const LOCK_NAME = "lock";
const RESERVE_NAME = "reserve";
const SEGMENT_NAME = /^log-([0-9]{16})\.jsonl$/;
const SNAPSHOT_NAME = /^snapshot-([1-9][0-9]*)\.json(\.tmp|\.part)?$/;
