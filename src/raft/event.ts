import type { LogIndex, ServerId, Term } from "./entry.ts";

/** What happened, for logs and traces. Nothing may depend on it. */
export type RaftEvent =
  | { readonly kind: "becameFollower"; readonly term: Term; readonly reason: StepDownReason }
  | { readonly kind: "becamePreCandidate"; readonly term: Term }
  | { readonly kind: "becameCandidate"; readonly term: Term }
  | { readonly kind: "becameLeader"; readonly term: Term }
  | { readonly kind: "leaderKnown"; readonly term: Term; readonly leaderId: ServerId }
  | { readonly kind: "truncated"; readonly from: LogIndex; readonly lastIndex: LogIndex }
  /** An AppendEntries contradicts what is committed, or comes from a second leader of our own term. */
  | { readonly kind: "refused"; readonly leaderId: ServerId; readonly term: Term; readonly why: string };

export type StepDownReason = "higherTerm" | "otherLeader" | "noQuorum" | "lostElection";
