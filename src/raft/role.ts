import type { LogIndex, ServerId } from "./entry.ts";
import type { Progress } from "./progress.ts";

/** Follower: passive; knows a leader (from a valid AppendEntries of this term) or none. */
export interface Follower {
  readonly kind: "follower";
  readonly leaderId: ServerId | null;
}

/** Asks whether it could win the next term, before it disturbs anyone with it (dissertation §9.6). */
export interface PreCandidate {
  readonly kind: "preCandidate";
  readonly granted: Set<ServerId>;
}

/** Stands for election in currentTerm. */
export interface Candidate {
  readonly kind: "candidate";
  /** Whether term and own vote are durable, and so the others have been asked. */
  announced: boolean;
  readonly granted: Set<ServerId>;
}

export interface Leader<C> {
  readonly kind: "leader";
  /** Where this leadership's no-op stands: committed, the commit index is up to date (Raft §8). */
  readonly noopIndex: LogIndex;
  /** Every other voter. */
  readonly progress: ReadonlyMap<ServerId, Progress<C>>;
  heartbeatElapsedTicks: number;
}

export type Role<C> = Follower | PreCandidate | Candidate | Leader<C>;
