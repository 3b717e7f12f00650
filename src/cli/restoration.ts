/**
 * A new cluster from a snapshot. Each step is durable before the next one begins:
 *
 *   1. see that nothing of a cluster is in the directory       (if not: nothing has happened)
 *   2. take the frontend's lock                                (no frontend, and no second restore, is at work)
 *   3. write cluster.json: "starting"                          (whoever looks finds no cluster, only its beginnings)
 *   4. for each server: snapshot, the log after it, state file
 *   5. write cluster.json: "started"                           (from here on there is a cluster)
 *
 * An interrupted restore is undone; a killed one leaves "starting", which nobody takes for a cluster.
 *
 * The new cluster has an id of its own, so that servers of the old one and of the new one never talk to each
 * other. Its servers begin in the snapshot's term without a vote: the first election is in a later one, so no
 * two entries of one index and term differ. What was remembered of clients' requests stays; who belonged to the
 * old cluster does not: the first snapshot of the new one names its own servers, where config.ini says.
 */
import { randomUUID } from "node:crypto";
import { access, constants } from "node:fs/promises";
import { describeError, RaftKvError } from "../base/errors.ts";
import { writeClusterRecord } from "../frontend/cluster-record.ts";
import { FrontendLock } from "../frontend/frontend-lock.ts";
import { eraseServers } from "../frontend/old-servers.ts";
import { initialConfiguration } from "../raft/configuration.ts";
import type { FileSystem } from "../storage/file-system.ts";
import { createServerStore } from "../storage/server-store.ts";
import type { SnapshotContent } from "../storage/store.ts";
import { pathKind } from "./path-kind.ts";
import { isClusterFile } from "./state-directory.ts";

/**
 * Refuses, with RaftKvError "failedPrecondition", a directory that a new cluster cannot have for itself; "io"
 * when it cannot be written. It need not exist.
 */
export async function requireVacant(fs: FileSystem, stateDir: string): Promise<void> {
  const kind = await pathKind(stateDir);
  if (kind === null) return;
  if (kind !== "directory") throw new RaftKvError("failedPrecondition", `${stateDir}: is not a directory`);
  const name = ((await fs.listDirectory(stateDir)) ?? []).find(isClusterFile);
  if (name !== undefined) {
    const advice = "name another directory, or remove them if nobody needs them";
    throw new RaftKvError(
      "failedPrecondition",
      `${stateDir}: a cluster has files here, such as ${name}: ${advice}`,
    );
  }
  try {
    await access(stateDir, constants.W_OK);
  } catch (error) {
    throw new RaftKvError("io", `${stateDir}: cannot be written: ${describeError(error)}`, { cause: error });
  }
}

/**
 * Makes the files of a new cluster of `servers` servers. Resolves to its id. Rejects with RaftKvError as
 * requireVacant, "failedPrecondition" when a frontend has the directory, "io", "diskFull", and "unavailable"
 * when `signal` was aborted; then there is no cluster in the directory.
 */
export async function restoreCluster(
  fs: FileSystem,
  content: SnapshotContent,
  stateDir: string,
  servers: number,
  signal: AbortSignal,
): Promise<string> {
  await requireVacant(fs, stateDir);
  const lock = new FrontendLock(fs, stateDir);
  await lock.take();
  try {
    await requireVacant(fs, stateDir);
    return await create(fs, content, stateDir, servers, signal);
  } finally {
    await lock.release();
  }
}

async function create(
  fs: FileSystem,
  { info, state }: SnapshotContent,
  stateDir: string,
  servers: number,
  signal: AbortSignal,
): Promise<string> {
  const clusterId = randomUUID();
  const members = initialConfiguration([...Array(servers).keys()]);
  const hardState = { currentTerm: info.position.term, votedFor: null, abstainsThrough: 0 };
  try {
    await writeClusterRecord(fs, stateDir, { state: "starting", clusterId, members });
    for (const { id: serverId } of members) {
      if (signal.aborted) throw new RaftKvError("unavailable", `interrupted: ${stateDir} holds no cluster`);
      await createServerStore(
        fs,
        stateDir,
        { clusterId, serverId, members },
        { hardState, snapshot: { position: info.position, configuration: members, state } },
      );
    }
    await writeClusterRecord(fs, stateDir, { state: "started", clusterId, members });
    return clusterId;
  } catch (error) {
    // There is a better error to report than that this fails too; "starting" stays last, and says what the rest is.
    await undo(fs, stateDir).catch(() => {});
    throw error;
  }
}

async function undo(fs: FileSystem, stateDir: string): Promise<void> {
  await eraseServers(fs, stateDir);
  for (const name of ["cluster.json.tmp", "cluster.json"]) await fs.removeFile(`${stateDir}/${name}`);
  await fs.syncDirectory(stateDir);
}
