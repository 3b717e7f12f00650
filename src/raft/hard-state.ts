import type { LogIndex, ServerId, Term } from "./entry.ts";

/** What Raft figure 2 calls persistent state, beside the log: durable before any message that depends on it. */
export interface HardState {
  /** Latest term this server has seen; it only grows. */
  readonly currentTerm: Term;
  /** Who got this server's vote in `currentTerm`; null when nobody did. Once set, it stays for the term. */
  readonly votedFor: ServerId | null;
  /**
   * A server whose disk was lost and that was made anew has forgotten votes and entries. It neither votes nor
   * stands for election until an entry of a later term than this is committed and durable here; 0: it does.
   */
  readonly abstainsThrough: Term;
  /**
   * A server that is to be added to a cluster may bear the id of one that was removed, and lacks what made that one
   * deny its vote to others that were removed before. It has no say either until the log up to here, where the
   * cluster was when this server asked to join, is committed and durable here; absent: it has.
   */
  readonly abstainsTo?: LogIndex;
}

/** A server that has never taken part in anything. */
export const INITIAL_HARD_STATE: HardState = { currentTerm: 0, votedFor: null, abstainsThrough: 0 };

/** Of server `id` that waits to be added to a cluster, whose leader of `term` has committed its log up to `index`. */
export function hardStateOfJoiner(term: Term, id: ServerId, index: LogIndex): HardState {
  return { currentTerm: term, votedFor: id, abstainsThrough: 0, abstainsTo: index };
}

/**
 * Of server `id` made anew after its disk was lost, where no other server is in a later term than `highestTerm`.
 * That term being 0 nobody has voted and nothing is committed: then it has forgotten nothing, and does not abstain.
 */
export function hardStateAfterLoss(highestTerm: Term, id: ServerId): HardState {
  return { currentTerm: highestTerm + 1, votedFor: id, abstainsThrough: highestTerm };
}
