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

/** Whether a name in the server's directory is part of its memory. The lock is ours too, but holds nothing. */
export function isServerData(name: string): boolean {
  return segmentFirstIndex(name) !== null || SNAPSHOT_NAME.test(name);
}

const STATE_FILE_NAME = /^server_(0|[1-9][0-9]{0,8})\.json$/;
const LOCK_NAME = "lock";
const SEGMENT_NAME = /^log-([0-9]{16})\.jsonl$/;
const SNAPSHOT_NAME = /^snapshot-[0-9]+\.json(\.tmp)?$/;
