/**
 * `server_<i>.json`: who a server is and what it promised. Replaced as a whole, see atomic-file.ts.
 *
 *   {
 *     "format": 1,
 *     "clusterId": "…",
 *     "serverId": 0,
 *     "servers": [0, 1, 2],      the cluster as the server was created; "members" in full where that says too
 *                                little (member-list.ts), [] when the server is to be added to a cluster
 *     "membersFrom": 30,         absent when they were that from the start
 *     "currentTerm": 7,
 *     "votedFor": null,          the id of a server, or null
 *     "abstainsThrough": 7,      absent when it is 0
 *     "abstainsTo": 41,          absent when there is none
 *     "logReaches": { "index": 9, "term": 6 },    absent when that is not known
 *     "installing": { "index": 30, "term": 7 },   absent when no install is under way
 *     "checksum": "5f6c2c1e"     CRC-32 of the other fields as compact JSON, in this order
 *   }
 *
 * A wrong digit in a term or vote is still JSON, and would let a server vote twice: hence the checksum.
 * `logReaches` shows what no log can show by itself, that its end is missing, and `installing` that its end was
 * given up for a leader's snapshot: see server-store.ts.
 */
import { crc32 } from "node:zlib";

import { z } from "zod";

import { memberOf, type Configuration } from "../raft/configuration.ts";
import type { ServerId } from "../raft/entry.ts";
import type { HardState } from "../raft/hard-state.ts";
import type { SnapshotPosition } from "../raft/snapshot-position.ts";
import type { FileSystem } from "./file-system.ts";
import { checksumText } from "./log-record.ts";
import { decodeMembers, encodeMembers, membersShape, serverIdShape, serversShape } from "./member-list.ts";
import { corrupted, unusable } from "./refusal.ts";
import { FORMAT, serverFiles, stateFileServer } from "./server-files.ts";
import type { Identity } from "./store.ts";

export interface ServerState {
  readonly identity: Identity;
  readonly hardState: HardState;
  /** An entry that is durable in the log and that nothing removes but a snapshot that stands for it; null: not known. */
  readonly logReaches: SnapshotPosition | null;
  /** The received snapshot that is taking the log's place, or has done so since the last save; null: none. */
  readonly installing: SnapshotPosition | null;
}

const position = z.strictObject({ index: z.int().min(1), term: z.int().min(0) });

const shape = z
  .strictObject({
    format: z.literal(FORMAT),
    clusterId: z.string().min(1),
    serverId: serverIdShape,
    servers: serversShape.optional(),
    members: membersShape.optional(),
    membersFrom: z.int().min(1).optional(),
    currentTerm: z.int().min(0),
    votedFor: serverIdShape.nullable(),
    abstainsThrough: z.int().min(1).optional(),
    abstainsTo: z.int().min(1).optional(),
    logReaches: position.optional(),
    installing: position.optional(),
    checksum: z.string(),
  })
  .transform(({ servers, members, ...fields }) => ({
    ...fields,
    members: decodeMembers({ servers, members }),
  }))
  .refine(({ members }) => members !== null, { message: "the servers are not told as they should be" })
  .refine(({ members, serverId }) => isMemberOrJoins(serverId, members ?? []), {
    message: "serverId is not in servers",
  })
  .refine(({ currentTerm, abstainsThrough = 0 }) => abstainsThrough <= currentTerm, {
    message: "abstainsThrough is above currentTerm",
  });

/** Whether a server can have that id where these are the members; none: it is to be added. */
export function isMemberOrJoins(serverId: ServerId, members: Configuration): boolean {
  return members.length === 0 || memberOf(members, serverId) !== null;
}

/** The file's whole content. */
export function encodeStateFile(state: ServerState): Uint8Array {
  const fields = fieldsOf(state);
  const content = { ...fields, checksum: checksumOf(fields) };
  return Buffer.from(`${JSON.stringify(content, null, 2)}\n`);
}

/** Reads it back. Throws RaftKvError "corruption", or "failedPrecondition" for another format's file. */
export function decodeStateFile(path: string, bytes: Uint8Array): ServerState {
  if (bytes.length === 0) throw corrupted(path, 0, "the file is empty");
  const raw = parseJson(path, bytes);
  const format = z.object({ format: z.int() }).safeParse(raw);
  if (format.success && format.data.format !== FORMAT) {
    throw unusable(path, `has format ${format.data.format}; this version of raftkv reads format ${FORMAT}`);
  }
  const parsed = shape.safeParse(raw);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw corrupted(path, null, `${issue?.path.join(".") ?? ""}: ${issue?.message ?? "wrong shape"}`);
  }
  const { clusterId, serverId, members, membersFrom, checksum } = parsed.data;
  const { currentTerm, votedFor, abstainsThrough = 0, abstainsTo } = parsed.data;
  const { logReaches = null, installing = null } = parsed.data;
  const state: ServerState = {
    identity: {
      clusterId,
      serverId,
      members: members ?? [],
      ...(membersFrom === undefined ? {} : { membersFrom }),
    },
    hardState: {
      currentTerm,
      votedFor,
      abstainsThrough,
      ...(abstainsTo === undefined ? {} : { abstainsTo }),
    },
    logReaches,
    installing,
  };
  if (checksum !== checksumOf(fieldsOf(state))) throw corrupted(path, null, "the checksum does not match");
  return state;
}

/**
 * Who the servers are that have a state file in the directory; none, or no directory: empty. It takes no
 * lock: the files are replaced as a whole, and an identity never changes. Rejects with RaftKvError as
 * decodeStateFile, and "failedPrecondition" for a file that bears another server's name.
 */
export async function readIdentities(fs: FileSystem, stateDir: string): Promise<readonly Identity[]> {
  const identities: Identity[] = [];
  for (const name of (await fs.listDirectory(stateDir)) ?? []) {
    const serverId = stateFileServer(name);
    if (serverId === null) continue;
    const path = serverFiles(stateDir, serverId).stateFile;
    const bytes = await fs.readFile(path);
    if (bytes === null) continue;
    const { identity } = decodeStateFile(path, bytes);
    if (identity.serverId !== serverId) {
      throw unusable(path, `belongs to server ${identity.serverId}, not to server ${serverId}`);
    }
    identities.push(identity);
  }
  return identities;
}

function parseJson(path: string, bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    throw corrupted(path, null, "the file is not JSON");
  }
}

/** All but the checksum, in the order of the file. What says nothing is left out, as older versions did. */
function fieldsOf({ identity, hardState, logReaches, installing }: ServerState) {
  return {
    format: FORMAT,
    clusterId: identity.clusterId,
    serverId: identity.serverId,
    ...encodeMembers(identity.members),
    ...(identity.membersFrom === undefined ? {} : { membersFrom: identity.membersFrom }),
    currentTerm: hardState.currentTerm,
    votedFor: hardState.votedFor,
    ...(hardState.abstainsThrough === 0 ? {} : { abstainsThrough: hardState.abstainsThrough }),
    ...(hardState.abstainsTo === undefined ? {} : { abstainsTo: hardState.abstainsTo }),
    ...(logReaches === null ? {} : { logReaches: { index: logReaches.index, term: logReaches.term } }),
    ...(installing === null ? {} : { installing: { index: installing.index, term: installing.term } }),
  };
}

function checksumOf(fields: ReturnType<typeof fieldsOf>): string {
  return checksumText(crc32(JSON.stringify(fields)));
}
