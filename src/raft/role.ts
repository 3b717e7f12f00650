import type { LogIndex, ServerId } from "./entry.ts";
import type { TimeoutNow } from "./message.ts";
import type { Progress } from "./progress.ts";
import type { ReadRounds } from "./read-rounds.ts";

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
  /** Every other member, voter or not. */
  readonly progress: Map<ServerId, Progress<C>>;
  heartbeatElapsedTicks: number;
  readonly reads: ReadRounds;
  /** null: it means to stay. */
  transfer: Transfer | null;
}

/** A leader makes way (transfer.ts). */
export interface Transfer {
  readonly to: ServerId;
  readonly startTick: number;
  /** The last that `to` was sent; null: it is not time yet. */
  asked: TimeoutNow | null;
  /** It is to be asked, for the first time or again. */
  isDue: boolean;
}

export type Role<C> = Follower | PreCandidate | Candidate | Leader<C>;
