/**
 * A server's files, from creation to erasure.
 *
 *   <stateDir>/server_<i>.json              identity and hard state (state-file.ts)
 *   <stateDir>/server_<i>.json.tmp          its next content, until renamed
 *   <stateDir>/server_<i>/lock              held by the process that runs the server
 *   <stateDir>/server_<i>/log-<first index, 16 digits>.jsonl      the log (segmented-log.ts)
 *   <stateDir>/server_<i>/snapshot-<index>.json                   not written yet
 *
 * Order of writes. Each step is durable before the next begins.
 *   create    directories, first segment, state file. The state file makes the server: a crash before it
 *             leaves something that is refused and can be erased.
 *   persist   hard state, then the log's changes in order, then one sync. Nothing is acknowledged before.
 *   erase     state file, then everything else. A log without its state file is refused; a shorter log
 *             with its state file would be a server that had forgotten what it acknowledged.
 *
 * What a start finds, and what it does:
 *   nothing of this server                              refuse: failedPrecondition
 *   state file or directory or log alone                refuse: failedPrecondition
 *   state file empty, not JSON, wrong shape or checksum refuse: corruption
 *   another server's, cluster's or format's file        refuse: failedPrecondition
 *   lock held                                           refuse: failedPrecondition
 *   left-over temporary                                 remove, report
 *   last segment, header incomplete (not the first one) remove the segment, report
 *   last segment, torn write at the end                 cut it off, report
 *   last segment without entries, before it no footer,  complete the footer, report
 *     or one that is torn
 *   torn write that a later record or segment disproves refuse: corruption
 *   complete line with a wrong checksum or content      refuse: corruption
 *   last newline damaged                                refuse: corruption
 *   header damaged                                      refuse: corruption
 *   header that does not continue the log before it     refuse: corruption
 *   index gap, term that falls, term above currentTerm  refuse: corruption
 *   a segment missing, also the last one (see below)    refuse: corruption
 *   footer, but the header after it incomplete          refuse: corruption
 *   no footer or a torn one, but entries after it       refuse: corruption
 *   footer before another entry, or in an empty segment refuse: corruption
 *   something behind a footer                           refuse: corruption
 *   files that are not named as ours                    leave alone
 * The one file of a log whose loss goes unnoticed is a last segment that has no footer before it: nothing was
 * ever written there. A refusal changes no file. What tells a torn write from corruption stands in segment.ts.
 */
import { assert, unreachable } from "../base/assert.ts";
import { describeError, RaftKvError } from "../base/errors.ts";
import type { Command } from "../kv/command.ts";
import type { LogWrite, Persist } from "../raft/batch.ts";
import type { ServerId } from "../raft/entry.ts";
import { INITIAL_HARD_STATE, type HardState } from "../raft/hard-state.ts";
import { parentDirectory, replaceFile } from "./atomic-file.ts";
import type { FileSystem, Lock } from "./file-system.ts";
import { unusable } from "./refusal.ts";
import { SegmentedLog, type LogOptions } from "./segmented-log.ts";
import { isServerData, serverFiles, type ServerFiles } from "./server-files.ts";
import { decodeStateFile, encodeStateFile, type ServerState } from "./state-file.ts";
import type { Identity, Recovered, Store } from "./store.ts";

/** What there is of a server on disk. */
interface Found {
  readonly stateFile: boolean;
  readonly temporary: boolean;
  /** null: no directory. */
  readonly directory: readonly string[] | null;
}

/**
 * Makes the files of a new server that has never taken part in anything. Rejects with RaftKvError
 * "failedPrecondition" if anything of a server with that id exists: erase it first.
 */
export async function createServerStore(fs: FileSystem, stateDir: string, identity: Identity): Promise<void> {
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
    await SegmentedLog.create(fs, files.directory, identity);
    await replaceFile(fs, files.stateFile, encodeStateFile({ identity, hardState: INITIAL_HARD_STATE }));
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
  options: LogOptions = {},
): Promise<{ readonly store: Store; readonly recovered: Recovered }> {
  const files = serverFiles(stateDir, serverId);
  await requireServer(fs, files, serverId);
  const lock = await takeLock(fs, files, serverId);
  try {
    // Only now can nobody else be changing the files.
    const temporary = await requireServer(fs, files, serverId);
    const state = await readState(fs, files, serverId);
    const { identity, hardState } = state;
    const { log, entries, repairs } = await SegmentedLog.recover(
      fs,
      files.directory,
      identity,
      hardState.currentTerm,
      options,
    );
    if (temporary) {
      await fs.removeFile(files.stateFileTemporary);
      repairs.push(`${files.stateFileTemporary}: removed a left-over temporary file`);
    }
    // The process before us may have died between renaming the state file and making the name durable.
    await fs.syncDirectory(stateDir);
    const store = new ServerStore(fs, files, state, log, lock);
    return { store, recovered: { identity, hardState, entries, repairs } };
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
    await fs.removeFile(files.lock);
    await fs.removeDirectory(files.directory);
    await fs.syncDirectory(stateDir);
  } finally {
    await lock.release();
  }
}

class ServerStore implements Store {
  readonly #fs: FileSystem;
  readonly #files: ServerFiles;
  readonly #identity: Identity;
  readonly #log: SegmentedLog;
  readonly #lock: Lock;
  #hardState: HardState;
  #busy = false;
  /** Once set, nothing is written any more: what a failed write or sync left on disk is unknown. */
  #failure: RaftKvError | null = null;

  constructor(fs: FileSystem, files: ServerFiles, state: ServerState, log: SegmentedLog, lock: Lock) {
    this.#fs = fs;
    this.#files = files;
    this.#identity = state.identity;
    this.#hardState = state.hardState;
    this.#log = log;
    this.#lock = lock;
  }

  get logBytes(): number {
    return this.#log.bytes;
  }

  async persist({ hardState, writes }: Persist<Command>): Promise<void> {
    assert(!this.#busy, "one call at a time");
    if (this.#failure !== null) throw this.#failure;
    this.#busy = true;
    try {
      if (hardState !== null) await this.#saveHardState(hardState);
      for (const write of writes) await this.#write(write);
      await this.#log.sync();
    } catch (error) {
      this.#failure = failureAfter(error, this.#files);
      throw error;
    } finally {
      this.#busy = false;
    }
  }

  async close(): Promise<void> {
    assert(!this.#busy, "one call at a time");
    this.#failure ??= unusable(this.#files.directory, "the store is closed");
    try {
      await this.#log.close();
    } finally {
      await this.#lock.release();
    }
  }

  async #saveHardState(next: HardState): Promise<void> {
    const { currentTerm, votedFor } = this.#hardState;
    assert(next.currentTerm >= currentTerm, "currentTerm never falls");
    const keepsVote = next.currentTerm > currentTerm || votedFor === null || next.votedFor === votedFor;
    assert(keepsVote, "a vote stands for its whole term");
    const content = encodeStateFile({ identity: this.#identity, hardState: next });
    await replaceFile(this.#fs, this.#files.stateFile, content);
    this.#hardState = next;
  }

  async #write(write: LogWrite<Command>): Promise<void> {
    switch (write.kind) {
      case "append":
        await this.#log.append(write.entries);
        assert(
          this.#log.lastTerm <= this.#hardState.currentTerm,
          "no entry is of a later term than currentTerm",
        );
        return;
      case "truncate":
        return this.#log.truncate(write.from);
      default:
        unreachable(write);
    }
  }
}

/** What every call after a failed one is told. */
function failureAfter(error: unknown, { directory }: ServerFiles): RaftKvError {
  const message = `${directory}: refused, because an earlier write failed (${describeError(error)}); restart the server`;
  return new RaftKvError("io", message, { cause: error });
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
  throw unusable(files.stateFile, `server ${serverId} has no state here; StartRaft on a frontend creates it`);
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

/**
 * Makes the directory and its missing parents. It syncs the parent also when nothing was missing: the
 * process that made the directory may have died before it did.
 */
async function makeDirectoryDurably(fs: FileSystem, path: string): Promise<void> {
  const parent = parentDirectory(path);
  if ((await fs.listDirectory(parent)) === null) await makeDirectoryDurably(fs, parent);
  await fs.makeDirectory(path);
  await fs.syncDirectory(parent);
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function assertIdentity({ clusterId, serverId, servers }: Identity): void {
  assert(clusterId !== "", "a cluster has an id");
  assert(servers.includes(serverId), "a server is one of its cluster");
  assert(
    servers.every((id, at) => at === 0 || id > (servers[at - 1] ?? id)),
    "server ids ascend",
  );
}
