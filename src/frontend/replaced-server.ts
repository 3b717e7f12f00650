import { RaftKvError } from "../base/errors.ts";
import type { ServerId } from "../raft/entry.ts";
import type { FileSystem, Lock } from "../storage/file-system.ts";
import { serverFiles } from "../storage/server-files.ts";

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

/** The new place first: what is moved is never in neither. */
async function syncBoth(fs: FileSystem, aside: string, stateDirectory: string): Promise<void> {
  await fs.syncDirectory(aside);
  await fs.syncDirectory(stateDirectory);
}
