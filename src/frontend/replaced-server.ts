import { RaftKvError } from "../base/errors.ts";
import type { ServerId } from "../raft/entry.ts";
import type { FileSystem, Lock } from "../storage/file-system.ts";
import { serverFiles } from "../storage/server-files.ts";
import { votingIds, type Cluster } from "./cluster.ts";
import type { Answer } from "./server-clients.ts";

/**
 * Moves what there is of the server into a new directory, where nothing looks for it and from where a person
 * may take it back: it is somebody's data, and on a full disk a move needs room for a name only.
 *
 *   <stateDir>/server_<i>.replaced-<time>/server_<i>.json    first: from here on there is no such server
 *   <stateDir>/server_<i>.replaced-<time>/server_<i>/        its log and snapshots
 *
 * A crash in between leaves a log without a state file: no server starts with that, and it can be set aside
 * in turn. Resolves to the new directory; null when there was nothing. Rejects with RaftKvError
 * "failedPrecondition" while a process holds the files, or "io".
 */
export async function setServerAside(
  fs: FileSystem,
  stateDirectory: string,
  id: ServerId,
  now: Date,
): Promise<string | null> {
  const { directory, stateFile, stateFileTemporary, lock: lockPath } = serverFiles(stateDirectory, id);
  const names = (await fs.listDirectory(stateDirectory)) ?? [];
  const present = new Set(names.map((name) => `${stateDirectory}/${name}`));
  const stateFiles = [stateFileTemporary, stateFile].filter((path) => present.has(path));
  const hasDirectory = present.has(directory);
  if (stateFiles.length === 0 && !hasDirectory) return null;
  const aside = `${directory}.replaced-${now.toISOString().replaceAll(":", "-")}`;
  const move = (path: string): Promise<void> =>
    fs.rename(path, `${aside}${path.slice(stateDirectory.length)}`);
  const lock = hasDirectory ? await takeLock(fs, lockPath, id) : null;
  try {
    await fs.makeDirectory(aside);
    for (const path of stateFiles) await move(path);
    await syncBoth(fs, aside, stateDirectory);
    if (hasDirectory) await move(directory);
    await syncBoth(fs, aside, stateDirectory);
  } finally {
    await lock?.release();
  }
  return aside;
}

async function takeLock(fs: FileSystem, path: string, id: ServerId): Promise<Lock> {
  const lock = await fs.lock(path);
  if (lock !== null) return lock;
  throw new RaftKvError("failedPrecondition", `${path}: another process holds it; stop server ${id} first`);
}

/** With fewer voters a majority does not outlive the loss of one disk. */
const MIN_VOTERS = 3;

/**
 * Throws RaftKvError "failedPrecondition" when server `id` of the cluster cannot be made anew, because of its size
 * or of what the servers say of themselves: nothing is to be set aside for a server that would refuse to start.
 */
export function checkWitnesses(cluster: Cluster, id: ServerId, answers: readonly Answer[]): void {
  const voters = new Set(votingIds(cluster));
  if (voters.size < MIN_VOTERS) {
    const why = `in a cluster of ${voters.size} nobody else is sure to have what it had`;
    throw new RaftKvError("failedPrecondition", `server ${id} cannot be replaced: ${why}`);
  }
  const others = answers.filter((answer) => answer.id !== id && voters.has(answer.id));
  const silent = others.filter(({ status }) => status === null).map((answer) => answer.id);
  if (silent.length > 0) {
    const who = silent.length === 1 ? `server ${silent[0]} does` : `servers ${silent.join(", ")} do`;
    const what = `server ${id} can be replaced only while every other server runs, and ${who} not answer`;
    throw new RaftKvError("failedPrecondition", `${what}: nothing was changed`);
  }
  const behind = others.find(({ status }) => status?.abstains === true);
  if (behind === undefined) return;
  const why = `server ${behind.id} was replaced and has not caught up yet: wait, then try again`;
  // It may be that nobody can be elected for the other to catch up with.
  const otherwise = `if there is no leader, start server ${id} with its old files first`;
  throw new RaftKvError("failedPrecondition", `server ${id} cannot be replaced: ${why}; ${otherwise}`);
}

/** The error of a replacement, which also says where the old files are (null: there were none). */
export function withOldFiles(error: unknown, aside: string | null): unknown {
  if (aside === null || !(error instanceof RaftKvError)) return error;
  return new RaftKvError(error.code, `${error.message}; its old files are in ${aside}`, { cause: error });
}

/** The new place first: what is moved is never in neither. */
async function syncBoth(fs: FileSystem, aside: string, stateDirectory: string): Promise<void> {
  await fs.syncDirectory(aside);
  await fs.syncDirectory(stateDirectory);
}
