/**
 * A server's files, from creation to erasure.
 *
 *   <stateDir>/server_<i>.json              identity and hard state (state-file.ts)
 *   <stateDir>/server_<i>.json.tmp          its next content, until renamed
 *   <stateDir>/server_<i>/lock              held by the process that runs the server
 *   <stateDir>/server_<i>/reserve           room for elections on a full disk; it holds nothing (reserve.ts)
 *   <stateDir>/server_<i>/log-<first index, 16 digits>.jsonl      the log (segmented-log.ts)
 *   <stateDir>/server_<i>/snapshot-<index>.json                   the state at an entry (snapshot-file.ts)
 *   <stateDir>/server_<i>/snapshot-<index>.json.tmp               this server's next one, being written
 *   <stateDir>/server_<i>/snapshot-<index>.json.part              a leader's, being received
 *
 * Order of writes. Each step is durable before the next begins.
 *   create    directories, snapshot if it starts from one, first segment, state file. The state file makes the
 *             server: a crash before it leaves something that is refused and can be erased.
 *   persist   hard state, then the log's changes in order, then one sync. Nothing is acknowledged before.
 *     compact   the log's entries, the snapshot's name, then the older snapshot and the log's oldest segments go
 *     install   the state file says so, and where the log ends of what the snapshot stands for, then the snapshot's
 *               name, then the older snapshot and all of the log's entries go. It stays said until the next time
 *               that the state file is written.
 *   close     the state file says where the log ends. It stays said until entries up to there are truncated,
 *             and is taken back before that.
 *   erase     state file, then everything else. A log without its state file is refused; a shorter log
 *             with its state file would be a server that had forgotten what it acknowledged.
 * While the disk is full a step waits for room. Meanwhile nothing is acknowledged (until-room.ts). A compaction
 * that is asked for behind it is done first, if its snapshot's entries are durable already: it makes room. What an
 * election needs does not wait as long as there is a reserve. No step depends on that, and nothing in the table below.
 *
 * What a start finds, and what it does. Whole:
 *   nothing of this server                              refuse: failedPrecondition
 *   state file or directory or log alone                refuse: failedPrecondition
 *   lock held                                           refuse: failedPrecondition
 *   lock file absent or empty                           start: it never holds anything
 *   something else in the lock file                     refuse: io, naming it, if it cannot be locked
 *   reserve absent, short, whatever is in it            start, and make it whole; no room for it: report
 *   files that are not named as ours                    leave alone
 * State file:
 *   empty, truncated, not JSON, wrong shape or checksum refuse: corruption
 *   another server's or format's file                   refuse: failedPrecondition
 *   left-over temporary, whatever is in it              remove, report
 * Log:
 *   another server's, cluster's or format's segment     refuse: failedPrecondition
 *   last segment, header incomplete (not the first one) remove the segment, report
 *   last segment, torn write at the end                 cut it off, report
 *   last segment without entries, before it no footer,  complete the footer, report
 *     or one that is torn
 *   torn write that a later record or segment, or the   refuse: corruption
 *     end in the state file, disproves
 *   an end before the one in the state file             refuse: corruption
 *   complete line with a wrong checksum or content      refuse: corruption
 *   last newline damaged                                refuse: corruption
 *   header empty or damaged                             refuse: corruption
 *   header that does not continue the log before it     refuse: corruption
 *   index gap, term that falls, term above currentTerm  refuse: corruption
 *   a segment missing, also the last one (see below)    refuse: corruption
 *   footer, but the header after it incomplete          refuse: corruption
 *   no footer or a torn one, but entries after it       refuse: corruption
 *   footer before another entry, or in an empty segment refuse: corruption
 *   something behind a footer                           refuse: corruption
 * Snapshots:
 *   the newest empty, truncated, any bit flipped        refuse: corruption
 *   the newest bears another index than its name        refuse: corruption
 *   the newest of a term above currentTerm              refuse: corruption
 *   another cluster's or format's file                  refuse: failedPrecondition
 *   an older one, whatever is in it                     remove, report
 *   left-over .tmp or .part, whatever is in it          remove, report
 * Snapshot and log:
 *   none or an older one, and the log begins behind it  refuse: corruption
 *   none, but the log begins with entry 1               start: nothing is lost
 *   log begins before the entry after the snapshot      start: the snapshot stands for what is gone
 *   log ends before the snapshot, or has another term
 *     at its entry
 *     the state file says that it is being installed    end the install: remove the log, report
 *     it does not: its entries were durable             refuse: corruption
 *   segment after the snapshot without entries, before  remove the segment before, report
 *     it another one (the install was nearly done)
 *   the same, but with entries, or no install           refuse: corruption
 *   segment after the snapshot that follows another term refuse: corruption
 *
 * The loss of a file goes unnoticed when it is a last segment that has no footer before it, for nothing was ever
 * written there; an oldest segment that the snapshot stands for; or the first snapshot of all, if a crash left
 * its install interrupted and the log's last segment begins more than one entry after it. A refusal changes no file. What tells a torn write from corruption stands in segment.ts.
 */
import { assert } from "../base/assert.ts";
import { encodeSections, partsOf, type KvState } from "../kv/kv-state.ts";
import type { Configuration } from "../raft/configuration.ts";
import type { ServerId } from "../raft/entry.ts";
import { INITIAL_HARD_STATE, type HardState } from "../raft/hard-state.ts";
import { ORIGIN, type SnapshotPosition } from "../raft/snapshot-position.ts";
import { replaceFile } from "./atomic-file.ts";
import { makeDirectoryDurably } from "./durable-directory.ts";
import type { WhenFull } from "./until-room.ts";
import { orClose, type FileSystem, type Lock } from "./file-system.ts";
import { baseOf, entriesOf, readLog, type LogContent } from "./log-recovery.ts";
import { isOrdered } from "./member-list.ts";
import { unusable } from "./refusal.ts";
import { Reserve } from "./reserve.ts";
import { RunningStore } from "./running-store.ts";
import { SegmentedLog, type LogOptions } from "./segmented-log.ts";
import {
  isServerData,
  preparedSnapshotName,
  serverFiles,
  snapshotName,
  type ServerFiles,
} from "./server-files.ts";
import { positionOf, readSnapshots, type SnapshotsFound } from "./snapshot-recovery.ts";
import { createSnapshotWriter } from "./snapshot-writer.ts";
import { decodeStateFile, encodeStateFile, isMemberOrJoins, type ServerState } from "./state-file.ts";
import type { Identity, Recovered, Store } from "./store.ts";

/** What a new server starts from, other than nothing. */
export interface Beginning {
  /** Of a server made anew whose disk was lost; default: it has never taken part in anything. */
  readonly hardState?: HardState;
  /**
   * The state that it has from the start, whose term is at most `currentTerm`, and who belongs to the cluster
   * with it; default: the empty one, and the members of the server's identity.
   */
  readonly snapshot?: {
    readonly position: SnapshotPosition;
    readonly configuration: Configuration;
    readonly state: KvState;
  };
}

export interface OpenOptions extends LogOptions {
  /** What to do when the disk is full; without it, a write is refused with that error. */
  readonly whenFull?: WhenFull;
}

/** What there is of a server on disk. */
interface Found {
  readonly stateFile: boolean;
  readonly temporary: boolean;
  /** null: no directory. */
  readonly directory: readonly string[] | null;
}

/** All that was read of a server. */
interface ServerContent {
  readonly state: ServerState;
  readonly snapshots: SnapshotsFound;
  readonly log: LogContent;
}

/**
 * Makes the files of a new server. Rejects with RaftKvError "failedPrecondition" if anything of a server with
 * that id exists: erase it first; with "diskFull" if there is no room, and then what was made is to be erased.
 */
export async function createServerStore(
  fs: FileSystem,
  stateDir: string,
  identity: Identity,
  { hardState = INITIAL_HARD_STATE, snapshot }: Beginning = {},
): Promise<void> {
  assertIdentity(identity);
  const files = serverFiles(stateDir, identity.serverId);
  const found = await findServer(fs, files);
  if (found.stateFile || found.temporary || (found.directory ?? []).some(isServerData)) {
    throw unusable(
      files.directory,
      `server ${identity.serverId} exists already; erase it before creating it anew`,
    );
  }
  await makeDirectoryDurably(fs, stateDir);
  await makeDirectoryDurably(fs, files.directory);
  const lock = await takeLock(fs, files, identity.serverId);
  try {
    const base = snapshot?.position ?? ORIGIN;
    assert(base.term <= hardState.currentTerm, "no snapshot is of a later term than currentTerm");
    if (snapshot !== undefined) await writeFirstSnapshot(fs, files, identity, snapshot);
    await SegmentedLog.create({ fs, directory: files.directory, owner: identity }, base);
    const state: ServerState = { identity, hardState, logReaches: null, installing: null };
    await replaceFile(fs, files.stateFile, encodeStateFile(state));
  } finally {
    await lock.release();
  }
}

/**
 * Takes the server's lock and reads everything back; the table above says what is mended and what is
 * refused (RaftKvError "failedPrecondition" or "corruption"). The store holds the lock until closed.
 */
export async function openServerStore(
  fs: FileSystem,
  stateDir: string,
  serverId: ServerId,
  options: OpenOptions = {},
): Promise<{ readonly store: Store; readonly recovered: Recovered }> {
  const files = serverFiles(stateDir, serverId);
  await requireServer(fs, files, serverId);
  const lock = await takeLock(fs, files, serverId);
  try {
    // Only now can nobody else be changing the files.
    const temporary = await requireServer(fs, files, serverId);
    const content = await readServer(fs, files, serverId);
    const { identity, hardState } = content.state;
    const { state, log, repairs } = await mend(fs, files, content, temporary, options);
    const { newest: snapshot } = content.snapshots;
    const { whenFull } = options;
    const reserve = new Reserve(fs, files.reserve);
    await reserve.fill();
    if (!reserve.isWhole) repairs.push(`${files.reserve}: not whole, for want of room; goes on without`);
    const store = new RunningStore({
      fs,
      files,
      state,
      log,
      snapshot: snapshot?.info ?? null,
      reserve,
      lock,
      whenFull,
    });
    const recoveredLog = content.log.installs
      ? { base: positionOf(content.snapshots), entries: [] }
      : { base: baseOf(content.log), entries: entriesOf(content.log) };
    return { store, recovered: { identity, hardState, snapshot, log: recoveredLog, repairs } };
  } catch (error) {
    await lock.release();
    throw error;
  }
}

/**
 * Removes what belongs to the server and nothing else: files that are not named as ours stay, and so does
 * a directory that holds any. Nothing there: nothing happens. Rejects with RaftKvError
 * "failedPrecondition" while the server runs.
 */
export async function eraseServer(fs: FileSystem, stateDir: string, serverId: ServerId): Promise<void> {
  const files = serverFiles(stateDir, serverId);
  const { directory } = await findServer(fs, files);
  if (directory === null) return removeState(fs, files);
  const lock = await takeLock(fs, files, serverId);
  try {
    await removeState(fs, files);
    for (const name of directory.filter(isServerData)) await fs.removeFile(`${files.directory}/${name}`);
    await fs.syncDirectory(files.directory);
    await fs.removeFile(files.reserve);
    await fs.removeFile(files.lock);
    await fs.removeDirectory(files.directory);
    await fs.syncDirectory(stateDir);
  } finally {
    await lock.release();
  }
}

/** Reads all of it and judges it; changes nothing. */
async function readServer(fs: FileSystem, files: ServerFiles, serverId: ServerId): Promise<ServerContent> {
  const state = await readState(fs, files, serverId);
  const { identity, hardState, logReaches, installing } = state;
  const { currentTerm } = hardState;
  const snapshots = await readSnapshots(fs, files.directory, identity.clusterId, currentTerm);
  const snapshot = positionOf(snapshots);
  const setting = { owner: identity, currentTerm, snapshot, logReaches, installing };
  const log = await readLog(fs, files.directory, setting);
  return { state, snapshots, log };
}

/**
 * Brings the files into order, durably; `temporary`: with one of the state file among them. What it did is in
 * `repairs`, one line each.
 */
async function mend(
  fs: FileSystem,
  files: ServerFiles,
  { state: found, snapshots, log: content }: ServerContent,
  temporary: boolean,
  options: OpenOptions,
): Promise<{ readonly state: ServerState; readonly log: SegmentedLog; readonly repairs: string[] }> {
  const { installing } = found;
  // What was received is removed as a left-over: the log must not give way to a snapshot of our own at that index.
  const isVoid = installing !== null && installing.index > positionOf(snapshots).index;
  const state = isVoid ? { ...found, installing: null } : found;
  if (isVoid) await replaceFile(fs, files.stateFile, encodeStateFile(state));
  const place = { fs, directory: files.directory, owner: state.identity };
  const { log, repairs } = await SegmentedLog.recover(place, content, positionOf(snapshots), options);
  await orClose(log, async () => {
    for (const { path, what } of snapshots.leftOvers) {
      await fs.removeFile(path);
      repairs.push(`${path}: removed ${what}`);
    }
    if (snapshots.leftOvers.length > 0) await fs.syncDirectory(files.directory);
    if (temporary) {
      await fs.removeFile(files.stateFileTemporary);
      repairs.push(`${files.stateFileTemporary}: removed a left-over temporary file`);
    }
    // The process before us may have died between renaming the state file and making the name durable.
    await fs.syncDirectory(files.stateDir);
  });
  return { state, log, repairs };
}

/** The snapshot that a server has from the start, durably. */
async function writeFirstSnapshot(
  fs: FileSystem,
  files: ServerFiles,
  { clusterId }: Identity,
  { position, configuration, state }: NonNullable<Beginning["snapshot"]>,
): Promise<void> {
  assert(state.appliedIndex === position.index, "a snapshot is the state at its position");
  const temporary = `${files.directory}/${preparedSnapshotName(position.index)}`;
  const writer = await createSnapshotWriter(fs, temporary, { clusterId, position, configuration });
  try {
    for (const section of encodeSections(partsOf(state))) await writer.append(section);
    await writer.finish();
    await fs.rename(temporary, `${files.directory}/${snapshotName(position.index)}`);
  } catch (error) {
    await writer.abandon().catch(() => {});
    throw error;
  }
  await fs.syncDirectory(files.directory);
}

async function findServer(fs: FileSystem, files: ServerFiles): Promise<Found> {
  const names = new Set(await fs.listDirectory(files.stateDir));
  return {
    stateFile: names.has(baseName(files.stateFile)),
    temporary: names.has(baseName(files.stateFileTemporary)),
    directory: await fs.listDirectory(files.directory),
  };
}

/** Refuses unless state file and directory are both there. Resolves to whether there is a left-over temporary. */
async function requireServer(fs: FileSystem, files: ServerFiles, serverId: ServerId): Promise<boolean> {
  const { stateFile, temporary, directory } = await findServer(fs, files);
  if (stateFile && directory !== null) return temporary;
  if (stateFile)
    throw unusable(
      files.directory,
      "the directory is missing, but its state file is there; restore it from a copy",
    );
  if ((directory ?? []).some(isServerData)) {
    throw unusable(
      files.stateFile,
      "the state file is missing, but its log is there; restore it from a copy",
    );
  }
  throw unusable(files.stateFile, `server ${serverId} has no state here: see StartRaft, or raftkv replace`);
}

async function readState(fs: FileSystem, files: ServerFiles, serverId: ServerId): Promise<ServerState> {
  const bytes = await fs.readFile(files.stateFile);
  if (bytes === null) throw unusable(files.stateFile, "the state file has vanished");
  const state = decodeStateFile(files.stateFile, bytes);
  const found = state.identity.serverId;
  if (found !== serverId)
    throw unusable(files.stateFile, `belongs to server ${found}, not to server ${serverId}`);
  return state;
}

async function takeLock(fs: FileSystem, files: ServerFiles, serverId: ServerId): Promise<Lock> {
  const lock = await fs.lock(files.lock);
  if (lock !== null) return lock;
  throw unusable(files.directory, `another process holds it; stop server ${serverId} first`);
}

/** Ends the server's existence, durably. */
async function removeState(fs: FileSystem, files: ServerFiles): Promise<void> {
  if ((await fs.listDirectory(files.stateDir)) === null) return;
  await fs.removeFile(files.stateFileTemporary);
  await fs.removeFile(files.stateFile);
  await fs.syncDirectory(files.stateDir);
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function assertIdentity({ clusterId, serverId, members }: Identity): void {
  assert(clusterId !== "", "a cluster has an id");
  assert(isMemberOrJoins(serverId, members), "a server is one of its cluster, or is to be added to it");
  assert(isOrdered(members), "server ids ascend");
}
