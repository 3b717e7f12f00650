import type { OutgoingRequest } from "../../src/raft/batch.ts";
import { type Configuration, initialConfiguration } from "../../src/raft/configuration.ts";
import type { Entry, LogIndex, Payload, ServerId, Term } from "../../src/raft/entry.ts";
import type { HardState } from "../../src/raft/hard-state.ts";
import type {
  AppendEntries,
  AppendEntriesReply,
  InstallSnapshot,
  InstallSnapshotReply,
  RequestVote,
  TimeoutNow,
} from "../../src/raft/message.ts";
import type { RaftOptions } from "../../src/raft/options.ts";

/** Bytes that a test's command claims to cost. */
export const COMMAND_BYTES = 100;

export function command(text: string): Payload<string> & { readonly kind: "command" } {
  return { kind: "command", command: text, byteLength: COMMAND_BYTES };
}

/** Entries that follow `afterIndex`, with these terms; the same place always holds the same command. */
export function entriesOf(afterIndex: LogIndex, ...terms: readonly Term[]): readonly Entry<string>[] {
  return terms.map((term, i) => {
    const index = afterIndex + 1 + i;
    return { index, term, payload: command(`${index} of term ${term}`) };
  });
}

/** A log from index 1 with these terms, as the figures of the Raft paper draw them. */
export function logOf(...terms: readonly Term[]): readonly Entry<string>[] {
  return entriesOf(0, ...terms);
}

/** Timeouts of 10 to 20 ticks, heartbeats every 3; bounds so wide that no test meets them by chance. */
export function testOptions(id: ServerId): RaftOptions {
  return {
    id,
    electionTimeoutMinTicks: 10,
    electionTimeoutMaxTicks: 20,
    heartbeatTicks: 3,
    maxBatchEntries: 100,
    maxBatchBytes: 1_000_000,
    maxInflight: 8,
    maxCommittedPerBatch: 1000,
    randomInt: (min) => min,
  };
}

/** Of a server whose disk was never lost. */
export function hardState(currentTerm: Term, votedFor: ServerId | null = null): HardState {
  return { currentTerm, votedFor, abstainsThrough: 0 };
}

/** Where a log ends, or where an AppendEntries attaches: index and term. */
export type Position = readonly [index: LogIndex, term: Term];

export function requestVote(
  term: Term,
  candidateId: ServerId,
  last: Position,
  options: { readonly preVote?: boolean } = {},
): RequestVote {
  const [lastLogIndex, lastLogTerm] = last;
  const preVote = options.preVote ?? false;
  return { kind: "requestVote", term, candidateId, lastLogIndex, lastLogTerm, preVote };
}

/** From server 1, without entries and commit index, unless `rest` says otherwise. */
export function appendEntries(
  term: Term,
  prev: Position,
  rest: {
    readonly leaderId?: ServerId;
    readonly terms?: readonly Term[];
    readonly leaderCommit?: LogIndex;
  } = {},
): AppendEntries<string> {
  const [prevLogIndex, prevLogTerm] = prev;
  return {
    kind: "appendEntries",
    term,
    leaderId: rest.leaderId ?? 1,
    prevLogIndex,
    prevLogTerm,
    entries: entriesOf(prevLogIndex, ...(rest.terms ?? [])),
    leaderCommit: rest.leaderCommit ?? 0,
    round: 0,
  };
}

export function accepted(term: Term): AppendEntriesReply {
  return { kind: "appendEntriesReply", term, success: true, conflict: null, diskFull: false };
}

/** `conflict`: index and term of the hint; without it, as a server answers that gives no hints. */
export function refused(term: Term, conflict?: Position): AppendEntriesReply {
  return {
    kind: "appendEntriesReply",
    term,
    success: false,
    conflict: conflict === undefined ? null : { index: conflict[0], term: conflict[1] },
    diskFull: false,
  };
}

/** As a server refuses that cannot save what it was sent. */
export function noRoom(term: Term): AppendEntriesReply {
  return { ...refused(term), diskFull: true };
}

/** From server 1 and of the cluster 0, 1, 2, unless it says otherwise. */
export function installSnapshot(
  term: Term,
  at: Position,
  leaderId: ServerId = 1,
  configuration: Configuration = initialConfiguration([0, 1, 2]),
): InstallSnapshot {
  return {
    kind: "installSnapshot",
    term,
    leaderId,
    snapshot: { index: at[0], term: at[1] },
    configuration,
  };
}

export function timeoutNow(term: Term, leaderId: ServerId = 1): TimeoutNow {
  return { kind: "timeoutNow", term, leaderId };
}

/** Servers without addresses, ascending; those in `nonVoters` do not vote. */
export function members(voters: readonly ServerId[], nonVoters: readonly ServerId[] = []): Configuration {
  return initialConfiguration([...voters, ...nonVoters]).map(({ id, address }) => ({
    id,
    address,
    voter: voters.includes(id),
  }));
}

export function configurationEntry(index: LogIndex, term: Term, configuration: Configuration): Entry<string> {
  return { index, term, payload: { kind: "configuration", configuration } };
}

export function installReply(term: Term, success: boolean): InstallSnapshotReply {
  return { kind: "installSnapshotReply", term, success };
}

export function voteReply(term: Term, voteGranted: boolean) {
  return { kind: "requestVoteReply", term, voteGranted } as const;
}

/** The AppendEntries among `requests`; those for `to`, where it is given. */
export function appendsIn(
  requests: readonly OutgoingRequest<string>[],
  to?: ServerId,
): readonly AppendEntries<string>[] {
  return requests
    .filter((outgoing) => to === undefined || outgoing.to === to)
    .map(({ request }) => request)
    .filter((request) => request.kind === "appendEntries");
}

/** "prev+count": where it attaches and how many entries it carries, to compare many at a glance. */
export function shapeOf({ prevLogIndex, entries }: AppendEntries<string>): string {
  return `${prevLogIndex}+${entries.length}`;
}
