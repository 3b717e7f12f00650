/**
 * The RPCs of Raft (figure 2) as values. A request and its reply belong together: whoever receives a
 * reply is given the request that it answers, so replies carry no echo of it.
 */
import type { Configuration } from "./configuration.ts";
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
  /**
   * The leader's latest round of asking whether it still leads (Raft.read) when this was sent. It does not travel:
   * a reply comes with the request that it answers, and so tells of this round and no later one (L3).
   */
  readonly round: number;
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
  /** Who belongs to the cluster at that position. It travels in the snapshot, not in the message. */
  readonly configuration: Configuration;
}

export interface InstallSnapshotReply {
  readonly kind: "installSnapshotReply";
  readonly term: Term;
  /** Everything up to the snapshot's index is here, durably, by the snapshot or without it. */
  readonly success: boolean;
}

/**
 * The leader makes way for this follower, which has all of its log, and is to stand for election at once
 * (dissertation §3.10).
 */
export interface TimeoutNow {
  readonly kind: "timeoutNow";
  readonly term: Term;
  readonly leaderId: ServerId;
}

export interface TimeoutNowReply {
  readonly kind: "timeoutNowReply";
  readonly term: Term;
  /** It will stand for election, unless it has reason not to by then. */
  readonly success: boolean;
}

export type Request<C> = RequestVote | AppendEntries<C> | InstallSnapshot | TimeoutNow;
export type Reply = RequestVoteReply | AppendEntriesReply | InstallSnapshotReply | TimeoutNowReply;
