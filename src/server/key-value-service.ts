/** The KeyValueStore service: what clients and the other servers may ask of one server (contract §2). */
import { unreachable } from "../base/assert.ts";
import { RaftKvError } from "../base/errors.ts";
import type { Limits } from "../config/config.ts";
import type { Node } from "../node/node.ts";
import type { PutOutcome } from "../node/waiting-clients.ts";
import { parseKey, parsePut } from "../rpc/arguments.ts";
import { appendEntriesFromWire, appendEntriesReplyToWire, requestVoteFromWire } from "../rpc/codec.ts";
import type { CallContext, Handlers } from "../rpc/rpc-server.ts";
import { encodeText } from "../rpc/text.ts";
import type { GenericResponse, KeyValue, StringArg } from "../rpc/wire.ts";
import type { Identity } from "../storage/store.ts";
import type { OpenSnapshots } from "./open-snapshots.ts";
import { notLeader, NOT_READY } from "./refusal.ts";
import { snapshotHandlers } from "./snapshot-service.ts";

export interface ServiceContext {
  readonly node: Node;
  readonly snapshots: OpenSnapshots;
  readonly identity: Identity;
  readonly limits: Limits;
  readonly version: string;
}

export function keyValueService(context: ServiceContext): Handlers<"KeyValueStore"> {
  const { node, identity, limits, version } = context;
  return {
    ping: async () => ({ success: true }),

    GetState: async () => {
      const { currentTerm, role, commitIndex } = node.status();
      return {
        term: currentTerm,
        isLeader: role === "leader",
        commitIndex,
        lastApplied: node.appliedIndex,
      };
    },

    Get: async (request) => get(node, limits, request),

    Put: async (request, { remainingMs }) => put(context, request, remainingMs),

    AppendEntries: async (args) => {
      checkCluster(identity, args.clusterId);
      const reply = await node.handleRequest(appendEntriesFromWire(args));
      if (reply.kind !== "appendEntriesReply") throw new TypeError(`AppendEntries answered by ${reply.kind}`);
      return appendEntriesReplyToWire(reply);
    },

    RequestVote: async (args) => {
      checkCluster(identity, args.clusterId);
      const reply = await node.handleRequest(requestVoteFromWire(args));
      if (reply.kind !== "requestVoteReply") throw new TypeError(`RequestVote answered by ${reply.kind}`);
      return { term: reply.term, voteGranted: reply.voteGranted };
    },

    Status: async () => {
      const status = node.status();
      const { role, currentTerm, leaderId, commitIndex, lastLogIndex } = status;
      return {
        id: identity.serverId,
        clusterId: identity.clusterId,
        role,
        term: currentTerm,
        ...(leaderId === null ? {} : { leaderId }),
        commitIndex,
        lastApplied: node.appliedIndex,
        lastLogIndex,
        keys: node.keyCount,
        pid: process.pid,
        version,
        snapshotIndex: status.snapshotIndex,
        firstLogIndex: status.firstLogIndex,
        diskFull: status.diskFull,
        abstains: status.abstains,
      };
    },

    ...snapshotHandlers(node, context.snapshots, (clusterId) => checkCluster(identity, clusterId)),
  };
}

function get(node: Node, limits: Limits, request: StringArg): Partial<KeyValue> {
  const key = parseKey(request.arg, limits);
  if (request.consistency === "LOCAL") return found(request.arg, node.get(key));
  const read = node.leaderRead(key);
  switch (read.kind) {
    case "value":
      return found(request.arg, read.value);
    case "notLeader":
      return { key: request.arg, ...notLeader(read.leaderId) };
    case "notReady":
      return { key: request.arg, ...NOT_READY };
    default:
      return unreachable(read);
  }
}

/** A missing key reads as "", and `found` tells it from an empty value. */
function found(key: Buffer, value: string | undefined): Partial<KeyValue> {
  return { key, value: encodeText(value ?? ""), found: value !== undefined };
}

async function put(
  { node, limits }: ServiceContext,
  request: KeyValue,
  remainingMs: CallContext["remainingMs"],
): Promise<Partial<GenericResponse>> {
  try {
    const command = parsePut(request, limits);
    if (remainingMs !== null && remainingMs <= 0) {
      return { error: "the deadline had passed before the request was read", code: "UNAVAILABLE" };
    }
    return putResponse(await node.put(command));
  } catch (error) {
    if (error instanceof RaftKvError && error.code === "invalidArgument") {
      return { error: error.message, code: "INVALID_ARGUMENT" };
    }
    throw error;
  }
}

function putResponse(outcome: PutOutcome): Partial<GenericResponse> {
  switch (outcome.kind) {
    case "done":
      return { success: true };
    case "notLeader":
      return notLeader(outcome.leaderId);
    case "overloaded":
      return { error: "overloaded: too many writes wait for their commit; retry later", code: "OVERLOADED" };
    case "diskFull":
      return { error: "the disk is full; nothing was written", code: "UNAVAILABLE" };
    case "stopping":
      return { error: "the server is stopping", code: "UNAVAILABLE" };
    case "unknown":
      return {
        error: `outcome unknown: ${outcome.why}; the write may still take effect`,
        code: "UNKNOWN_OUTCOME",
      };
    default:
      return unreachable(outcome);
  }
}

/** A server left over from another cluster must not take part in this one. "" comes from clients by hand. */
function checkCluster(identity: Identity, clusterId: string): void {
  if (clusterId === "" || clusterId === identity.clusterId) return;
  throw new RaftKvError(
    "failedPrecondition",
    `this server belongs to cluster ${identity.clusterId}, not ${clusterId}`,
  );
}
