/** How a scenario shows messages, servers and logs: a line each, in the words of Raft figure 2. */
import { unreachable } from "../../src/base/assert.ts";
import { type Configuration, isSameConfiguration } from "../../src/raft/configuration.ts";
import type { Entry, LogIndex, ServerId, Term } from "../../src/raft/entry.ts";
import type { Conflict, Reply, Request } from "../../src/raft/message.ts";
import type { RaftStatus } from "../../src/raft/raft.ts";
import type { Message } from "../raft/cluster.ts";

/** `term:command`; a no-op is `term:-`, a configuration `term:{…}`, an entry without a name only its term. */
function entryText({ term, payload }: Entry<string>): string {
  if (payload.kind === "noop") return `${term}:-`;
  if (payload.kind === "configuration") return `${term}:${configurationText(payload.configuration)}`;
  return payload.command === "" ? `${term}` : `${term}:${payload.command}`;
}

/** `{0,1,(2)}`: who belongs to the cluster, and in parentheses who does not vote. */
function configurationText(configuration: Configuration): string {
  return `{${configuration.map(({ id, voter }) => (voter ? `${id}` : `(${id})`)).join(",")}}`;
}

/** `index(term)` */
function positionText(index: LogIndex, term: Term): string {
  return `${index}(${term})`;
}

export function messageText({ call, reply }: Message): string {
  if (reply === null) return requestText(call.request);
  const isPreVote = call.request.kind === "requestVote" && call.request.preVote;
  return isPreVote ? `pre-${replyText(reply)}` : replyText(reply);
}

function requestText(request: Request<string>): string {
  switch (request.kind) {
    case "requestVote": {
      const what = request.preVote ? "pre-vote?" : "vote?";
      return `${what} term ${request.term}, log ends ${positionText(request.lastLogIndex, request.lastLogTerm)}`;
    }
    case "appendEntries": {
      const { term, prevLogIndex, prevLogTerm, entries, leaderCommit } = request;
      const what = entries.length === 0 ? "nothing" : entries.map(entryText).join(" ");
      const after = positionText(prevLogIndex, prevLogTerm);
      return `append term ${term}, after ${after}: ${what}, commit ${leaderCommit}`;
    }
    case "installSnapshot": {
      const { term, snapshot } = request;
      return `snapshot term ${term}, up to ${positionText(snapshot.index, snapshot.term)}`;
    }
    case "timeoutNow":
      return `stand for election, term ${request.term}`;
    default:
      return unreachable(request);
  }
}

export function replyText(reply: Reply): string {
  switch (reply.kind) {
    case "requestVoteReply":
      return `vote ${reply.voteGranted ? "granted" : "denied"}, term ${reply.term}`;
    case "appendEntriesReply": {
      const room = reply.diskFull ? ", disk full" : "";
      if (reply.success) return `append accepted, term ${reply.term}${room}`;
      return `append refused, term ${reply.term}${conflictText(reply.conflict)}${room}`;
    }
    case "installSnapshotReply":
      return `snapshot ${reply.success ? "accepted" : "refused"}, term ${reply.term}`;
    case "timeoutNowReply":
      return `${reply.success ? "it stands" : "it does not stand"}, term ${reply.term}`;
    default:
      return unreachable(reply);
  }
}

function conflictText(conflict: Conflict | null): string {
  if (conflict === null) return "";
  const { index, term } = conflict;
  return term === 0 ? `, log ends at ${index - 1}` : `, term ${term} begins at ${index}`;
}

/** `status` null: the server is down. What is 0 or nobody, and the cluster as it was `created`, is left out. */
export function statusText(status: RaftStatus | null, created: Configuration): string {
  if (status === null) return "down";
  const { votedFor, lastLogIndex, durableIndex, commitIndex, snapshotIndex, diskFull } = status;
  const { configuration, transferTo } = status;
  const durable = durableIndex < lastLogIndex ? ` (${durableIndex} durable)` : "";
  return [
    roleText(status),
    `term ${status.currentTerm}${votedFor === null ? "" : ` (vote ${votedFor})`}`,
    ...(lastLogIndex === 0 ? [] : [`log ${lastLogIndex}${durable}`]),
    ...(commitIndex === 0 ? [] : [`commit ${commitIndex}`]),
    ...(snapshotIndex === 0 ? [] : [`snapshot ${snapshotIndex}`]),
    ...(diskFull ? ["disk full"] : []),
    ...(transferTo === null ? [] : [`makes way for ${transferTo}`]),
    ...(isSameConfiguration(configuration, created) ? [] : [configurationText(configuration)]),
  ].join(", ");
}

function roleText({ role, leaderId }: RaftStatus): string {
  if (role === "preCandidate") return "pre-candidate";
  return role === "follower" && leaderId !== null ? `follower of ${leaderId}` : role;
}

/** `0 2: text`, servers of which the same is to be said on one line. */
export function groupedLines(texts: ReadonlyMap<ServerId, string>): readonly string[] {
  const groups = Map.groupBy(texts, ([, text]) => text);
  return Array.from(groups, ([text, members]) => `${members.map(([id]) => id).join(" ")}: ${text}`);
}

/** One server's line in the table of logs. */
export interface LogRow {
  readonly id: ServerId;
  readonly isUp: boolean;
  /** Entries up to here have gone. */
  readonly baseIndex: LogIndex;
  readonly entries: readonly Entry<string>[];
  readonly durableIndex: LogIndex;
  readonly commitIndex: LogIndex;
}

/** A column an index, `|` after the last committed entry, `?` on what is not durable yet, `~` for what has gone. */
export function logTable(rows: readonly LogRow[]): readonly string[] {
  const texts = rows.map(({ baseIndex, entries, durableIndex }) => [
    ...Array.from({ length: baseIndex }, () => "~"),
    ...entries.map((entry) => `${entryText(entry)}${entry.index > durableIndex ? "?" : ""}`),
  ]);
  const columns = Math.max(0, ...texts.map((cells) => cells.length));
  const indices = Array.from({ length: columns }, (_, i) => String(i + 1));
  const width = Math.max(1, ...[...texts, indices].flat().map((text) => text.length));
  const line = (label: string, cells: readonly string[], commitIndex: LogIndex): string => {
    const columns = cells.map((cell, i) => cell.padEnd(width) + (i + 1 === commitIndex ? "|" : " "));
    return `${label.padEnd(8)}${columns.join(" ")}`.trimEnd();
  };
  return [
    line("index", indices, 0),
    ...rows.map(({ id, isUp, commitIndex }, i) =>
      line(`${id}${isUp ? "" : " down"}`, texts[i] ?? [], commitIndex),
    ),
  ];
}
