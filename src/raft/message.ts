/**
 * The RPCs of Raft (figure 2) as values. A request and its reply belong together: whoever receives a
 * reply is given the request that it answers, so replies carry no echo of it.
 */
import type { SnapshotPosition } from "./snapshot-position.ts";
import type { Entry, LogIndex, ServerId, Term } from "./entry.ts";

export interface RequestVote {
  readonly kind: "requestVote";
  readonly term: Term;
  readonly candidateId: ServerId;
  readonly lastLogIndex: LogIndex;
  readonly lastLogTerm: Term;
  /** Asks whether a vote would be given in `term`, and changes nothing (dissertation §9.6). */
  readonly preVote: boolean;
}

export interface RequestVoteReply {
  readonly kind: "requestVoteReply";
  readonly term: Term;
  readonly voteGranted: boolean;
}

export interface AppendEntries<C> {
  readonly kind: "appendEntries";
  readonly term: Term;
  readonly leaderId: ServerId;
  readonly prevLogIndex: LogIndex;
  readonly prevLogTerm: Term;
  /** Contiguous from prevLogIndex + 1; empty in a heartbeat. */
  readonly entries: readonly Entry<C>[];
  readonly leaderCommit: LogIndex;
}

export interface AppendEntriesReply {
  readonly kind: "appendEntriesReply";
  readonly term: Term;
  /** The log matches at prevLogIndex and holds the entries, durably. */
  readonly success: boolean;
  /** Where the logs part, when they do; null with success, or from a server that gives no hint. */
  readonly conflict: Conflict | null;
  /** The server has no room on its disk at the moment, and so cannot take over as leader. */
  readonly diskFull: boolean;
}

/** A follower's hint for the leader's back-off, a term at a time (Raft §5.3, end). */
export interface Conflict {
  /** The first index of `term` in the follower's log, or the index after its last entry. */
  readonly index: LogIndex;
  /** The term of the entry at prevLogIndex, or 0 when the follower's log is shorter than that. */
  readonly term: Term;
}

/**
 * Raft figure 13, as one message: to the core a transfer is a single request. How the snapshot's bytes get
 * across, in chunks, is the driver's concern; it hands this to the receiver's core when it has them all.
 */
export interface InstallSnapshot {
  readonly kind: "installSnapshot";
  readonly term: Term;
  readonly leaderId: ServerId;
  readonly snapshot: SnapshotPosition;
}

export interface InstallSnapshotReply {
  readonly kind: "installSnapshotReply";
  readonly term: Term;
  /** Everything up to the snapshot's index is here, durably, by the snapshot or without it. */
  readonly success: boolean;
}

export type Request<C> = RequestVote | AppendEntries<C> | InstallSnapshot;
export type Reply = RequestVoteReply | AppendEntriesReply | InstallSnapshotReply;
