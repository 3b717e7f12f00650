/** The KeyValueStore service: what clients and the other servers may ask of one server (contract §2). */
import { unreachable } from "../base/assert.ts";
import { RaftKvError } from "../base/errors.ts";
import type { Limits } from "../config/config.ts";
import type { Command } from "../kv/command.ts";
import type { Clock } from "../node/clock.ts";
import type { Node } from "../node/node.ts";
import type { PutOutcome } from "../node/waiting-clients.ts";
import { parseKey, parsePut } from "../rpc/arguments.ts";
import { appendEntriesFromWire, appendEntriesReplyToWire, requestVoteFromWire } from "../rpc/codec.ts";
import { timeoutNowFromWire, timeoutNowReplyToWire } from "../rpc/configuration-codec.ts";
import { parsePutMany } from "../rpc/put-many-arguments.ts";
import type { CallContext, Handlers } from "../rpc/rpc-server.ts";
import { encodeText } from "../rpc/text.ts";
import type { GenericResponse, KeyValue, ServerStatus, StringArg } from "../rpc/wire.ts";
import type { Identity } from "../storage/store.ts";
import type { Addresses } from "./addresses.ts";
import { membershipHandlers } from "./membership-service.ts";
import type { OpenSnapshots } from "./open-snapshots.ts";
import { probe } from "./probe.ts";
import { notLeader, otherLeader, readRefusal, STOPPING, type Refusal } from "./refusal.ts";
import { snapshotHandlers } from "./snapshot-service.ts";

export interface ServiceContext {
  readonly node: Node;
  readonly snapshots: OpenSnapshots;
  readonly identity: Identity;
  readonly addresses: Addresses;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly version: string;
}

/** An earlier attempt may have taken effect; what it answered is forgotten. */
const EXPIRED: Refusal = {
  error: "outcome unknown: the frontend's session expired before this retry; the write may have taken effect",
  code: "UNKNOWN_OUTCOME",
};

export function keyValueService(context: ServiceContext): Handlers<"KeyValueStore"> {
  const { node, identity, limits } = context;
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

    Put: async (request, { remainingMs }) => put(node, () => parsePut(request, limits), remainingMs),

    PutMany: async (request, { remainingMs }) => put(node, () => parsePutMany(request, limits), remainingMs),

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

    ReadIndex: async (args) => {
      checkCluster(identity, args.clusterId);
      const reply = await node.handleRequest({ kind: "readIndex" });
      if (reply.kind !== "readIndexReply") throw new TypeError(`ReadIndex answered by ${reply.kind}`);
      return reply.readIndex === null ? notLeader(otherLeader(node)) : { index: reply.readIndex };
    },

    TimeoutNow: async (args) => {
      checkCluster(identity, args.clusterId);
      const reply = await node.handleRequest(timeoutNowFromWire(args));
      if (reply.kind !== "timeoutNowReply") throw new TypeError(`TimeoutNow answered by ${reply.kind}`);
      return timeoutNowReplyToWire(reply);
    },

    Status: async () => status(context),

    ...membershipHandlers({ ...context, probe }),

    ...snapshotHandlers(node, context.snapshots, (clusterId) => checkCluster(identity, clusterId)),
  };
}

function status({ node, identity, addresses, version }: ServiceContext): Partial<ServerStatus> {
  const { role, currentTerm, leaderId, commitIndex, lastLogIndex, ...more } = node.status();
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
    snapshotIndex: more.snapshotIndex,
    firstLogIndex: more.firstLogIndex,
    diskFull: more.diskFull,
    abstains: more.abstains,
    members: more.configuration.map((member) => ({ ...member, address: addresses.told(member) })),
    configurationIndex: more.configurationIndex,
  };
}

/** The linearizable answer may come from any server: it holds what was acknowledged before the call. */
async function get(node: Node, limits: Limits, request: StringArg): Promise<Partial<KeyValue>> {
  const key = parseKey(request.arg, limits);
  if (request.consistency === "LINEARIZABLE") {
    const refusal = readRefusal(await node.read());
    if (refusal !== null) return { key: request.arg, ...refusal };
  }
  return found(request.arg, node.get(key));
}

/** A missing key reads as "", and `found` tells it from an empty value. */
function found(key: Buffer, value: string | undefined): Partial<KeyValue> {
  return { key, value: encodeText(value ?? ""), found: value !== undefined };
}

/** `parse` throws RaftKvError "invalidArgument" for a request that can never be served. */
async function put(
  node: Node,
  parse: () => Command,
  remainingMs: CallContext["remainingMs"],
): Promise<Partial<GenericResponse>> {
  try {
    const command = parse();
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
      return outcome.result.kind === "expired" ? EXPIRED : { success: true };
    case "notLeader":
      return notLeader(outcome.leaderId);
    case "overloaded":
      return { error: "overloaded: too many writes wait for their commit; retry later", code: "OVERLOADED" };
    case "diskFull":
      return { error: "the disk is full; nothing was written", code: "UNAVAILABLE" };
    case "stopping":
      return STOPPING;
    case "transferring":
      return {
        error: `leadership is being handed over to server ${outcome.to}; retry there`,
        code: "NOT_LEADER",
        leaderId: outcome.to,
      };
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
