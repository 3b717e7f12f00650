/**
 * The frontend's record of its cluster, `<state directory>/cluster.json`:
 *
 *   { "format": 1, "state": "started", "clusterId": "…", "servers": 3 }
 *
 * It is replaced as a whole. "starting" stands there from the moment StartRaft begins to erase the old
 * cluster until the new one has a leader. A frontend that dies in between leaves it so, and then there is
 * no cluster: what servers and files are left belong to nobody until the next StartRaft removes them.
 */
import { z } from "zod";
import { RaftKvError } from "../base/errors.ts";
import { replaceFile } from "../storage/atomic-file.ts";
import type { FileSystem } from "../storage/file-system.ts";
import type { Cluster } from "./cluster.ts";
import { MAX_SERVERS } from "./cluster.ts";

export interface ClusterRecord extends Cluster {
  readonly state: "starting" | "started";
}

const FORMAT = 1;

const recordShape = z.strictObject({
  format: z.literal(FORMAT),
  state: z.enum(["starting", "started"]),
  clusterId: z.string().min(1),
  servers: z.int().min(1).max(MAX_SERVERS),
});

function clusterRecordPath(stateDirectory: string): string {
  return `${stateDirectory}/cluster.json`;
}

/**
 * null when there is none. Throws RaftKvError "corruption" when the file holds anything else than a
 * record: it may well stand for a cluster, and is never taken for "no cluster".
 */
export async function readClusterRecord(
  fs: FileSystem,
  stateDirectory: string,
): Promise<ClusterRecord | null> {
  const path = clusterRecordPath(stateDirectory);
  const bytes = await fs.readFile(path);
  if (bytes === null) return null;
  const parsed = recordShape.safeParse(parseJson(Buffer.from(bytes).toString("utf8")));
  if (parsed.success) {
    const { state, clusterId, servers } = parsed.data;
    return { state, clusterId, servers };
  }
  const [issue] = parsed.error.issues;
  const where = issue === undefined ? "" : ` (${[...issue.path, issue.message].join(": ")})`;
  const advice = "restore it, or remove it to let the servers' state files tell what they are";
  throw new RaftKvError("corruption", `${path} is not a record of a cluster${where}: ${advice}`);
}

/** Durable when it resolves. */
export async function writeClusterRecord(
  fs: FileSystem,
  stateDirectory: string,
  { state, clusterId, servers }: ClusterRecord,
): Promise<void> {
  const text = `${JSON.stringify({ format: FORMAT, state, clusterId, servers }, null, 2)}\n`;
  await replaceFile(fs, clusterRecordPath(stateDirectory), Buffer.from(text));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
