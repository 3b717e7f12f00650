/**
 * What is in a state directory and whether all of it is as it was written. It looks and changes nothing:
 * no file is opened for writing, no lock is taken, so it works beside running servers, too. Every file is
 * checked by itself, also behind the first damage. What a start would do is not described but tried, with
 * recovery's own code on a file system whose changes stay in memory (dry-run-file-system.ts).
 */
import { describeError, RaftKvError } from "../base/errors.ts";
import type { ServerId } from "../raft/entry.ts";
import { DryRunFileSystem } from "./dry-run-file-system.ts";
import type { FileSystem } from "./file-system.ts";
import { FileRefusal, type Damage } from "./refusal.ts";
import { inspectSegment, type SegmentInspection } from "./segment-inspection.ts";
import {
  isServerTemporary,
  segmentFirstIndex,
  serverFiles,
  snapshotIndex,
  stateFileServer,
} from "./server-files.ts";
import { openServerStore } from "./server-store.ts";
import { inspectSnapshot, type SnapshotInspection } from "./snapshot-inspection.ts";
import { decodeStateFile, type ServerState } from "./state-file.ts";

/** What a start of the server would do. */
export type StartOutcome =
  /** Serve, after the repairs, one line each; mostly there are none. */
  | { readonly kind: "starts"; readonly repairs: readonly string[] }
  | { readonly kind: "refuses"; readonly why: string }
  /** Nothing: it runs. What it is writing just now may look torn. */
  | { readonly kind: "runs" };

export interface StateFileInspection {
  readonly kind: "state";
  readonly path: string;
  readonly bytes: number;
  /** null when the file is damaged. */
  readonly state: ServerState | null;
  readonly damage: readonly Damage[];
}

/** The operating system did not let us read it. */
export interface UnreadableFile {
  readonly kind: "unreadable";
  readonly path: string;
  readonly damage: readonly Damage[];
}

export type FileInspection = StateFileInspection | SegmentInspection | SnapshotInspection | UnreadableFile;

export interface ServerInspection {
  readonly serverId: ServerId;
  /** State file, then snapshots, then the log, as they follow each other. */
  readonly files: readonly FileInspection[];
  /** Temporaries that a crash left. They mean nothing; a start removes them. */
  readonly leftOvers: readonly string[];
  /** Paths in the server's directory that are not a server's. They are left alone. */
  readonly strangers: readonly string[];
  readonly start: StartOutcome;
}

const SERVER_DIRECTORY = /^server_(0|[1-9][0-9]{0,8})$/;

/** How often a running server is looked at again when a file seems damaged: it may have been in motion. */
const MAX_LOOKS = 3;

/** The ids of the servers that have a state file or a directory in `stateDir`, ascending. Rejects as `FileSystem`. */
export async function listServers(fs: FileSystem, stateDir: string): Promise<readonly ServerId[]> {
  const ids = new Set<ServerId>();
  for (const name of (await fs.listDirectory(stateDir)) ?? []) {
    const id = stateFileServer(name) ?? SERVER_DIRECTORY.exec(name)?.[1];
    if (id !== undefined) ids.add(Number(id));
  }
  return [...ids].toSorted((left, right) => left - right);
}

/**
 * Inspects one server of `stateDir`; `runs` says whether its process is there. Rejects with RaftKvError "io"
 * when a file cannot be read; whatever a file holds is no reason to reject.
 */
export async function inspectServer(
  fs: FileSystem,
  stateDir: string,
  serverId: ServerId,
  runs: boolean,
): Promise<ServerInspection> {
  for (let look = 1; ; look++) {
    const inspection = await lookAt(fs, stateDir, serverId, runs);
    if (!runs || look === MAX_LOOKS || isSound(inspection)) return inspection;
  }
}

/** Whether nothing is damaged and a start would serve. */
export function isSound({ files, start }: ServerInspection): boolean {
  return files.every(({ damage }) => damage.length === 0) && start.kind !== "refuses";
}

async function lookAt(
  fs: FileSystem,
  stateDir: string,
  serverId: ServerId,
  runs: boolean,
): Promise<ServerInspection> {
  const { stateFile, stateFileTemporary, directory, lock, reserve } = serverFiles(stateDir, serverId);
  const siblings = new Set((await fs.listDirectory(stateDir)) ?? []);
  const leftOvers = siblings.has(stateFileTemporary.slice(stateDir.length + 1)) ? [stateFileTemporary] : [];
  const strangers: string[] = [];
  const snapshots: FileInspection[] = [];
  const segments: FileInspection[] = [];
  const state = await orUnreadable(stateFile, () => inspectStateFile(fs, stateFile, serverId));
  const identity = state?.kind === "state" ? (state.state?.identity ?? null) : null;
  for (const name of (await fs.listDirectory(directory)) ?? []) {
    const path = `${directory}/${name}`;
    const index = snapshotIndex(name);
    if (segmentFirstIndex(name) !== null) {
      segments.push(...present(await orUnreadable(path, () => inspectSegment(fs, path, identity))));
    } else if (index !== null) {
      const place = { clusterId: identity?.clusterId ?? null, index };
      snapshots.push(...present(await orUnreadable(path, () => inspectSnapshot(fs, path, place))));
    } else if (isServerTemporary(name)) {
      leftOvers.push(path);
    } else if (path !== lock && path !== reserve) {
      strangers.push(path);
    }
  }
  const start: StartOutcome = runs ? { kind: "runs" } : await tryStart(fs, stateDir, serverId);
  const files = [...present(state), ...snapshots, ...withGaps(segments)];
  return { serverId, files, leftOvers, strangers, start };
}

async function inspectStateFile(
  fs: FileSystem,
  path: string,
  serverId: ServerId,
): Promise<StateFileInspection | null> {
  const bytes = await fs.readFile(path);
  if (bytes === null) return null;
  const inspection = { kind: "state", path, bytes: bytes.length } as const;
  try {
    const state = decodeStateFile(path, bytes);
    const found = state.identity.serverId;
    const what = `belongs to server ${found}, not to server ${serverId}`;
    return { ...inspection, state, damage: found === serverId ? [] : [{ path, offset: null, what }] };
  } catch (error) {
    if (error instanceof FileRefusal) return { ...inspection, state: null, damage: [error.damage] };
    throw error;
  }
}

/** A file that the system does not let us read is a finding like any other. */
async function orUnreadable(
  path: string,
  inspect: () => Promise<FileInspection | null>,
): Promise<FileInspection | null> {
  try {
    return await inspect();
  } catch (error) {
    if (!(error instanceof RaftKvError)) throw error;
    return { kind: "unreadable", path, damage: [{ path, offset: null, what: describeError(error) }] };
  }
}

function present<T>(value: T | null): readonly T[] {
  return value === null ? [] : [value];
}

/** The segments, in which those that do not continue the one before them say so. */
function withGaps(segments: readonly FileInspection[]): readonly FileInspection[] {
  return segments.map((segment, at) => {
    const previous = segments[at - 1];
    if (segment.kind !== "segment" || previous?.kind !== "segment") return segment;
    const gap = gapBetween(previous, segment);
    if (gap === null) return segment;
    return { ...segment, damage: [{ path: segment.path, offset: 0, what: gap }, ...segment.damage] };
  });
}

/** null: `next` continues `previous`, or that cannot be told. */
function gapBetween(previous: SegmentInspection, next: SegmentInspection): string | null {
  // An interrupted install leaves a segment without entries before one that begins after the snapshot.
  const isSuperseded = previous.lastIndex < previous.firstIndex && !previous.sealed;
  if (isSuperseded || previous.damage.length > 0) return null;
  if (next.firstIndex !== previous.lastIndex + 1) {
    return `begins with entry ${next.firstIndex}, but the segment before it ends with ${previous.lastIndex}`;
  }
  if (next.previousTerm === null || next.previousTerm === previous.lastTerm) return null;
  return `follows term ${next.previousTerm}, but the segment before it ends in ${previous.lastTerm}`;
}

async function tryStart(fs: FileSystem, stateDir: string, serverId: ServerId): Promise<StartOutcome> {
  try {
    const { store, recovered } = await openServerStore(new DryRunFileSystem(fs), stateDir, serverId);
    await store.close();
    return { kind: "starts", repairs: recovered.repairs };
  } catch (error) {
    if (error instanceof RaftKvError) return { kind: "refuses", why: describeError(error) };
    throw error;
  }
}
