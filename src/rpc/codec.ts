/**
 * Raft's messages between the core's types and the wire. What comes in is checked here: the core may rely
 * on it. A request with a nonsensical number or entry is refused with RaftKvError "invalidArgument".
 */
import { unreachable } from "../base/assert.ts";
import {
  commandByteLength,
  type Command,
  type Names,
  type PutCommand,
  type PutManyCommand,
} from "../kv/command.ts";
import type { Entry, Payload } from "../raft/entry.ts";
import type { AppendEntries, AppendEntriesReply, RequestVote, RequestVoteReply } from "../raft/message.ts";
import { parseRequestId, parseRoutedCall } from "./arguments.ts";
import { configurationFromWire, configurationToWire } from "./configuration-codec.ts";
import { counter, invalid } from "./counter.ts";
import { decodeText, encodeText } from "./text.ts";
import type {
  AppendEntriesArgs,
  RequestVoteArgs,
  WireAppendEntriesReply,
  WireLogEntry,
  WireRequestVoteReply,
} from "./wire.ts";
import { decodeWriteList, encodeWriteList } from "./write-codec.ts";

export function requestVoteToWire(request: RequestVote, clusterId: string): RequestVoteArgs {
  const { term, candidateId, lastLogIndex, lastLogTerm, preVote } = request;
  return { term, candidateId, lastLogIndex, lastLogTerm, preVote, clusterId };
}

export function requestVoteFromWire(args: RequestVoteArgs): RequestVote {
  return {
    kind: "requestVote",
    term: counter("term", args.term),
    candidateId: counter("candidateId", args.candidateId),
    lastLogIndex: counter("lastLogIndex", args.lastLogIndex),
    lastLogTerm: counter("lastLogTerm", args.lastLogTerm),
    preVote: args.preVote,
  };
}

export function requestVoteReplyFromWire(reply: WireRequestVoteReply): RequestVoteReply {
  return { kind: "requestVoteReply", term: counter("term", reply.term), voteGranted: reply.voteGranted };
}

export function appendEntriesToWire(request: AppendEntries<Command>, clusterId: string): AppendEntriesArgs {
  const { term, leaderId, prevLogIndex, prevLogTerm, leaderCommit } = request;
  const entries = request.entries.map(entryToWire);
  return { term, leaderId, prevLogIndex, prevLogTerm, entries, leaderCommit, clusterId };
}

export function appendEntriesFromWire(args: AppendEntriesArgs): AppendEntries<Command> {
  const prevLogIndex = counter("prevLogIndex", args.prevLogIndex);
  return {
    kind: "appendEntries",
    term: counter("term", args.term),
    leaderId: counter("leaderId", args.leaderId),
    prevLogIndex,
    prevLogTerm: counter("prevLogTerm", args.prevLogTerm),
    entries: entriesFromWire(args.entries as readonly WireLogEntry[], prevLogIndex),
    leaderCommit: counter("leaderCommit", args.leaderCommit),
    // It does not travel: only the sender counts its rounds.
    round: 0,
  };
}

export function appendEntriesReplyToWire(reply: AppendEntriesReply): Partial<WireAppendEntriesReply> {
  const { term, success, conflict, diskFull } = reply;
  if (conflict === null) return { term, success, diskFull };
  return { term, success, conflictIndex: conflict.index, conflictTerm: conflict.term, diskFull };
}

export function appendEntriesReplyFromWire(reply: WireAppendEntriesReply): AppendEntriesReply {
  const index = counter("conflictIndex", reply.conflictIndex);
  return {
    kind: "appendEntriesReply",
    term: counter("term", reply.term),
    success: reply.success,
    conflict: index === 0 ? null : { index, term: counter("conflictTerm", reply.conflictTerm) },
    diskFull: reply.diskFull,
  };
}

function entryToWire({ term, payload }: Entry<Command>): Partial<WireLogEntry> {
  if (payload.kind === "noop") return { term, kind: "NOOP" };
  if (payload.kind === "configuration") {
    return { term, kind: "CONFIGURATION", members: configurationToWire(payload.configuration) };
  }
  const { command } = payload;
  switch (command.kind) {
    case "put":
      return {
        term,
        key: encodeText(command.key),
        value: encodeText(command.value),
        ...namesToWire(command),
      };
    case "putMany":
      return { term, kind: "PUT_MANY", batch: encodeWriteList(command.writes), ...namesToWire(command) };
    default:
      return unreachable(command);
  }
}

function namesToWire({ request, routed }: Names): Partial<WireLogEntry> {
  if (routed === null) return { ...request };
  const { routerId, routerCall, pending, retried } = routed;
  return { ...request, routerId, routerCall, routerPending: pending, routerRetried: retried };
}

function entriesFromWire(entries: readonly WireLogEntry[], prevLogIndex: number): readonly Entry<Command>[] {
  return entries.map((entry, position) => {
    const term = counter("entry term", entry.term);
    return { index: prevLogIndex + 1 + position, term, payload: payloadFromWire(entry) };
  });
}

function payloadFromWire(entry: WireLogEntry): Payload<Command> {
  switch (entry.kind) {
    case "NOOP":
      return { kind: "noop" };
    case "CONFIGURATION":
      return { kind: "configuration", configuration: configurationFromWire(entry.members) };
    case "PUT":
      return payloadOf(putFromWire(entry));
    case "PUT_MANY":
      return payloadOf(putManyFromWire(entry));
    default:
      throw invalid(`entry kind ${String(entry.kind)} is not known to this version`);
  }
}

function payloadOf(command: Command): Payload<Command> {
  return { kind: "command", command, byteLength: commandByteLength(command) };
}

/** Whoever led already checked sizes; here only what could not be stored as it is gets refused. */
function putFromWire(entry: WireLogEntry): PutCommand {
  const key = decodeText(entry.key);
  const value = decodeText(entry.value);
  if (key === null || value === null) throw invalid("an entry's key or value is not text");
  return {
    kind: "put",
    key,
    value,
    request: parseRequestId(entry),
    routed: parseRoutedCall(entry),
  };
}

/** The same for a batch. */
function putManyFromWire(entry: WireLogEntry): PutManyCommand {
  const writes = decodeWriteList(entry.batch);
  if (writes === null) throw invalid("a key or value of an entry is not text");
  if (writes.length === 0) throw invalid("an entry PUT_MANY has no writes");
  return { kind: "putMany", writes, request: parseRequestId(entry), routed: parseRoutedCall(entry) };
}
