import type { Configuration } from "./configuration.ts";
import type { LogIndex, ServerId, Term } from "./entry.ts";

/** What happened, for logs and traces. Nothing may depend on it. */
export type RaftEvent =
  | { readonly kind: "becameFollower"; readonly term: Term; readonly reason: StepDownReason }
  | { readonly kind: "becamePreCandidate"; readonly term: Term }
  | { readonly kind: "becameCandidate"; readonly term: Term }
  | { readonly kind: "becameLeader"; readonly term: Term }
  | { readonly kind: "leaderKnown"; readonly term: Term; readonly leaderId: ServerId }
  | { readonly kind: "truncated"; readonly from: LogIndex; readonly lastIndex: LogIndex }
  /** The log up to `through` is gone from memory; a snapshot stands for it. */
  | { readonly kind: "compacted"; readonly through: LogIndex; readonly snapshotIndex: LogIndex }
  /** A leader's snapshot has taken the place of the state and the whole log. */
  | { readonly kind: "installed"; readonly index: LogIndex; readonly term: Term }
  /** A follower no longer holds what it had acknowledged, past `matchIndex`: its disk lost it. */
  | { readonly kind: "followerLostEntries"; readonly followerId: ServerId; readonly matchIndex: LogIndex }
  /** A server that had lost its disk has caught up, and votes again. */
  | { readonly kind: "votesAgain"; readonly term: Term }
  /** This server goes by another configuration: one came with the log, or one that was truncated is gone (M3). */
  | { readonly kind: "configurationChanged"; readonly index: LogIndex; readonly configuration: Configuration }
  /** A leader makes way for another; `to` has been asked to stand for election. */
  | { readonly kind: "transferStarted"; readonly term: Term; readonly to: ServerId }
  /** The other did not take over in time: this leader goes on. */
  | { readonly kind: "transferFailed"; readonly term: Term; readonly to: ServerId }
  /** An AppendEntries contradicts what is committed, or comes from a second leader of our own term. */
  | { readonly kind: "refused"; readonly leaderId: ServerId; readonly term: Term; readonly why: string };

export type StepDownReason =
  | "higherTerm"
  | "otherLeader"
  | "noQuorum"
  | "lostElection"
  | "diskFull"
  /** It is no voter any more (M4). */
  | "removed";
