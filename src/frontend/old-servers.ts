import type { ServerId } from "../raft/entry.ts";
import type { FileSystem } from "../storage/file-system.ts";
import { eraseServer } from "../storage/server-store.ts";
import { serverLogPath } from "./launcher.ts";

/** The files of servers, and nothing else that may stand in the state directory. */
const SERVER_FILE = /^server_(0|[1-9][0-9]{0,8})(?:\.json|\.json\.tmp|\.log)?$/;

/** Erases every server that has left anything in the state directory, its log included. None may run. */
export async function eraseServers(fs: FileSystem, stateDirectory: string): Promise<void> {
  const names = (await fs.listDirectory(stateDirectory)) ?? [];
  for (const id of new Set(names.flatMap((name) => serverIdOf(name) ?? []))) {
    await eraseServer(fs, stateDirectory, id);
    await fs.removeFile(serverLogPath(stateDirectory, id));
  }
  await fs.syncDirectory(stateDirectory);
}

function serverIdOf(name: string): ServerId | null {
  const digits = SERVER_FILE.exec(name)?.[1];
  return digits === undefined ? null : Number(digits);
}
