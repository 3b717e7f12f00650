/**
 * The frontend's record of its cluster, `<state directory>/cluster.json`:
 *
 *   { "format": 1, "state": "started", "clusterId": "…", "servers": 3 }
 *
 * for servers 0 to 2, all of them voters where config.ini says. Any other cluster has, instead of "servers",
 *
 *   "members": [{ "id": 0, "address": "", "voter": true }, { "id": 4, "address": "10.0.0.5:9001", "voter": false }]
 *
 * ascending by id; the address "" stands for what config.ini says. It is what the leader was last heard to
 * say of the cluster, and says where to look for a leader; who belongs to the cluster is in the servers' logs.
 *
 * The record is replaced as a whole. "starting" stands there from the moment StartRaft begins to erase the old
 * cluster until the new one has a leader. A frontend that dies in between leaves it so, and then there is
 * no cluster: what servers and files are left belong to nobody until the next StartRaft removes them.
 */
import { z } from "zod";
import { RaftKvError } from "../base/errors.ts";
import { MAX_SERVER_ID } from "../config/value-reader.ts";
import { initialConfiguration, type Configuration } from "../raft/configuration.ts";
import { replaceFile } from "../storage/atomic-file.ts";
import type { FileSystem } from "../storage/file-system.ts";
import { isNumbered } from "./cluster.ts";

export interface ClusterRecord {
  readonly state: "starting" | "started";
  readonly clusterId: string;
  /** An address "" stands for what config.ini says. */
  readonly members: Configuration;
}

const FORMAT = 1;

const member = z.strictObject({ id: z.int().min(0), address: z.string(), voter: z.boolean() });

const recordShape = z
  .strictObject({
    format: z.literal(FORMAT),
    state: z.enum(["starting", "started"]),
    clusterId: z.string().min(1),
    servers: z
      .int()
      .min(1)
      .max(MAX_SERVER_ID + 1)
      .optional(),
    members: z.array(member).min(1).optional(),
  })
  .refine(({ servers, members }) => (servers === undefined) !== (members === undefined), {
    message: "it has either servers or members",
  })
  .refine(({ members = [] }) => members.every(({ id }, at) => at === 0 || id > (members[at - 1]?.id ?? id)), {
    message: "members are not ascending",
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
    const { state, clusterId, servers, members } = parsed.data;
    return { state, clusterId, members: members ?? initialConfiguration([...Array(servers).keys()]) };
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
  { state, clusterId, members }: ClusterRecord,
): Promise<void> {
  const who = isNumbered(members, () => "")
    ? { servers: members.length }
    : { members: members.map(({ id, address, voter }) => ({ id, address, voter })) };
  const text = `${JSON.stringify({ format: FORMAT, state, clusterId, ...who }, null, 2)}\n`;
  await replaceFile(fs, clusterRecordPath(stateDirectory), Buffer.from(text));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
