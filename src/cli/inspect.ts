/** `raftkv inspect`: what is on disk, whether it is whole, and what a start would do. It changes nothing. */
import { basename, resolve } from "node:path";
import { describeError, RaftKvError } from "../base/errors.ts";
import { readClusterRecord, type ClusterRecord } from "../frontend/cluster-record.ts";
import { ProcessTable } from "../frontend/process-table.ts";
import type { ServerId } from "../raft/entry.ts";
import type { FileSystem } from "../storage/file-system.ts";
import { inspectServer, isSound, listServers, type ServerInspection } from "../storage/inspection.ts";
import { OsFileSystem } from "../storage/os-file-system.ts";
import { segmentFirstIndex } from "../storage/server-files.ts";
import { inspectSnapshot } from "../storage/snapshot-inspection.ts";
import { command, JSON_OPTION } from "./command.ts";
import { describeDirectory, describeSnapshot } from "./inspect-report.ts";
import { pathKind } from "./path-kind.ts";
import type { Answer } from "./result.ts";
import { isClusterFile, isOurs } from "./state-directory.ts";
import { UsageError } from "./usage-error.ts";

/** What is in a state directory. */
export interface DirectoryInspection {
  readonly stateDir: string;
  /** What cluster.json says; null: it is not there, or says nothing that can be read. */
  readonly cluster: ClusterRecord | null;
  /** What contradicts each other, or cannot be read, among files that are not one server's; one line each. */
  readonly faults: readonly string[];
  readonly servers: readonly ServerInspection[];
  /** Paths that neither a server nor a frontend put there. */
  readonly strangers: readonly string[];
  readonly sound: boolean;
}

export const inspectCommand = command(
  {
    name: "raftkv inspect",
    description: "Check every file of a state directory, or a snapshot file, and say what is damaged where",
  },
  {
    path: {
      type: "positional",
      required: true,
      description: "Such as raft_state; servers may run. Nothing is changed",
    },
    ...JSON_OPTION,
  },
  async (args) => {
    if (args.path === "")
      throw new UsageError("the path is empty: name a state directory or a snapshot file");
    const fs = new OsFileSystem();
    const kind = await pathKind(args.path);
    if (kind === "directory") return inspectDirectory(fs, args.path.replace(/(?<=.)\/+$/, ""));
    if (kind === "file") return inspectFile(fs, args.path);
    const what = kind === null ? "there is no such file or directory" : "is no file and no directory";
    throw new RaftKvError("failedPrecondition", `${args.path}: ${what}`);
  },
);

async function inspectDirectory(fs: FileSystem, stateDir: string): Promise<Answer> {
  const running = await new ProcessTable(resolve(stateDir)).find();
  const inspection = await inspectStateDirectory(fs, stateDir, new Set(running.map(({ id }) => id)));
  return verdict(inspection.sound, describeDirectory(inspection), inspection);
}

async function inspectFile(fs: FileSystem, path: string): Promise<Answer> {
  const name = basename(path);
  if (isClusterFile(name) || segmentFirstIndex(name) !== null) {
    const what = "is a part of a state directory, and no snapshot: name the state directory";
    throw new RaftKvError("failedPrecondition", `${path}: ${what}`);
  }
  const snapshot = await inspectSnapshot(fs, path, { clusterId: null, index: null });
  if (snapshot === null) throw new RaftKvError("failedPrecondition", `${path}: the file has vanished`);
  return verdict(snapshot.damage.length === 0, describeSnapshot(snapshot), snapshot);
}

function verdict(sound: boolean, stdout: string, json: object): Answer {
  return { kind: "answer", exitCode: sound ? 0 : 1, output: { stdout, stderr: null, json } };
}

/**
 * Inspects all that is in the directory; `running` are the servers whose processes are there. Rejects with
 * RaftKvError "failedPrecondition" when nothing of a cluster is there, "io" when the directory cannot be read.
 */
export async function inspectStateDirectory(
  fs: FileSystem,
  stateDir: string,
  running: ReadonlySet<ServerId>,
): Promise<DirectoryInspection> {
  const { cluster, fault } = await readRecord(fs, stateDir);
  const ids = new Set([...expectedServers(cluster), ...(await listServers(fs, stateDir))]);
  if (ids.size === 0 && cluster === null && fault === null) {
    const advice = isClusterFile(basename(stateDir))
      ? "name the directory above it"
      : "name a state directory, such as raft_state, or a snapshot file";
    throw new RaftKvError("failedPrecondition", `${stateDir}: no cluster has files here: ${advice}`);
  }
  const servers: ServerInspection[] = [];
  for (const id of [...ids].toSorted((left, right) => left - right))
    servers.push(await inspectServer(fs, stateDir, id, running.has(id)));
  const faults = [...(fault === null ? [] : [fault]), ...strayServers(servers, cluster)];
  const names = (await fs.listDirectory(stateDir)) ?? [];
  const strangers = names.filter((name) => !isOurs(name)).map((name) => `${stateDir}/${name}`);
  return {
    stateDir,
    cluster,
    faults,
    servers,
    strangers,
    sound: faults.length === 0 && servers.every(isSound),
  };
}

/** The servers that must have files here. One with an address of its own may well be on another machine. */
function expectedServers(cluster: ClusterRecord | null): readonly ServerId[] {
  if (cluster?.state !== "started") return [];
  return cluster.members.filter(({ address }) => address === "").map(({ id }) => id);
}

async function readRecord(
  fs: FileSystem,
  stateDir: string,
): Promise<{ readonly cluster: ClusterRecord | null; readonly fault: string | null }> {
  try {
    return { cluster: await readClusterRecord(fs, stateDir), fault: null };
  } catch (error) {
    if (error instanceof RaftKvError) return { cluster: null, fault: describeError(error) };
    throw error;
  }
}

/** The servers that are of another cluster than the record says or, without one, than the first of them. */
function strayServers(servers: readonly ServerInspection[], record: ClusterRecord | null): readonly string[] {
  const owners = servers.flatMap(({ files }) =>
    files.flatMap((file) =>
      file.kind === "state" && file.state !== null ? [{ file, ...file.state.identity }] : [],
    ),
  );
  const clusterId = record?.clusterId ?? owners[0]?.clusterId;
  const reason = record === null ? `server ${owners[0]?.serverId}` : "cluster.json";
  return owners
    .filter((owner) => owner.clusterId !== clusterId)
    .map(
      ({ file, clusterId: found }) => `${file.path}: belongs to cluster ${found}, ${reason} to ${clusterId}`,
    );
}
