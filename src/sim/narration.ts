/** Puts the events of a trace into words, for whoever looks for the reason of a failure. */
import type { PeerReply, PeerRequest, SnapshotChunk } from "../node/peer-message.ts";
import type { LogIndex } from "../raft/entry.ts";
import { formatEvent, type TraceEvent } from "./trace.ts";

type Message = PeerRequest | PeerReply;

const MESSAGE_KINDS: readonly string[] = [
  "requestVote",
  "requestVoteReply",
  "appendEntries",
  "appendEntriesReply",
  "snapshotChunk",
  "snapshotChunkReply",
  "timeoutNow",
  "timeoutNowReply",
  "readIndex",
  "readIndexReply",
] satisfies readonly Message["kind"][];

/** "appendEntries 2->0 arrives": how the network tells of a message. */
const CARRIED = /^\w+ (\d+)->(\d+) (.+)$/;

/** One line: seconds, who, what. */
export function narrate(event: TraceEvent): string {
  const { atUs, who, what, detail } = event;
  const message = messageOf(event);
  if (message === null) return formatEvent({ atUs, who, what: `${what}${describeDetail(detail)}` });
  const [, from = "?", to = "?", fate = ""] = CARRIED.exec(what) ?? [];
  const end = fate === "arrives" ? "" : ` (${fate})`;
  return formatEvent({ atUs, who: `${from} -> ${to}`, what: `${describeMessage(message)}${end}` });
}

/** What goes on all the time and explains little: heartbeats, agreement to what was sent, chunks in between. */
export function isNoise(event: TraceEvent): boolean {
  const message = messageOf(event);
  if (message?.kind === "appendEntries") return message.entries.length === 0;
  if (message?.kind === "snapshotChunk") return isInMidFile(message);
  if (message?.kind === "snapshotChunkReply") return !message.installed;
  return message?.kind === "appendEntriesReply" && message.success;
}

function isInMidFile({ offset, data, info }: SnapshotChunk): boolean {
  return offset > 0 && offset + data.length < info.totalBytes;
}

function messageOf({ who, detail }: TraceEvent): Message | null {
  return who === "network" && isMessage(detail) ? detail : null;
}

function isMessage(detail: unknown): detail is Message {
  if (typeof detail !== "object" || detail === null || !("kind" in detail)) return false;
  return typeof detail.kind === "string" && MESSAGE_KINDS.includes(detail.kind);
}

function describeMessage(message: Message): string {
  switch (message.kind) {
    case "requestVote": {
      const { preVote, term, lastLogIndex, lastLogTerm } = message;
      return `asks for a ${preVote ? "pre-vote" : "vote"} in term ${term}; its log ends at ${lastLogIndex} of term ${lastLogTerm}`;
    }
    case "requestVoteReply":
      return `${message.voteGranted ? "grants the vote" : "denies the vote"}, term ${message.term}`;
    case "appendEntries": {
      const { term, prevLogIndex, prevLogTerm, entries, leaderCommit } = message;
      const what =
        entries.length === 0 ? "heartbeat" : `sends ${describeEntries(prevLogIndex + 1, entries.length)}`;
      return `${what} in term ${term}, after ${prevLogIndex} of term ${prevLogTerm}; commit ${leaderCommit}`;
    }
    case "appendEntriesReply": {
      const { success, term, conflict } = message;
      if (success) return `has them, term ${term}`;
      const hint = conflict === null ? "" : `: look at ${conflict.index}, term ${conflict.term}`;
      return `refuses them, term ${term}${hint}`;
    }
    case "snapshotChunk": {
      const { term, info, offset, data } = message;
      const { index } = info.position;
      return `sends bytes ${offset} to ${offset + data.length} of ${info.totalBytes} of snapshot ${index} in term ${term}`;
    }
    case "snapshotChunkReply": {
      const { term, nextOffset, installed } = message;
      return installed ? `has the snapshot, term ${term}` : `wants byte ${nextOffset}, term ${term}`;
    }
    case "timeoutNow":
      return `asks to take over, term ${message.term}`;
    case "timeoutNowReply":
      return `${message.success ? "takes over" : "does not take over"}, term ${message.term}`;
    case "readIndex":
      return "asks for a read index";
    case "readIndexReply":
      return message.readIndex === null ? "knows no read index" : `says: read at ${message.readIndex}`;
  }
}

function describeEntries(first: LogIndex, count: number): string {
  return count === 1 ? `entry ${first}` : `entries ${first} to ${first + count - 1}`;
}

/** {kind: "becameLeader", term: 2} is ": term 2", for the kind has been said. */
function describeDetail(detail: unknown): string {
  if (typeof detail !== "object" || detail === null) return detail === undefined ? "" : ` ${String(detail)}`;
  const told = Object.entries(detail).filter(
    ([name, value]) => name !== "kind" && !(Array.isArray(value) && value.length === 0),
  );
  if (told.length === 0) return "";
  return `: ${told.map(([name, value]) => `${name} ${describeValue(value)}`).join(", ")}`;
}

/** Values of keys may be long and say little; reasons are said in full. */
const MAX_WORD_CHARACTERS = 48;

function describeValue(value: unknown): string {
  if (typeof value !== "string") return JSON.stringify(value) ?? "undefined";
  const isOneWord = value.length > MAX_WORD_CHARACTERS && !value.includes(" ");
  return isOneWord ? `${value.slice(0, MAX_WORD_CHARACTERS)}…` : value;
}
