import type { LogIndex, Term } from "./entry.ts";

/** What a snapshot stands for: the state after every entry up to `index`, which is of `term` (Raft §7). */
export interface SnapshotPosition {
  /** lastIncludedIndex of Raft figure 13. */
  readonly index: LogIndex;
  /** lastIncludedTerm. */
  readonly term: Term;
}

/** Before the first entry: the position of the state that every server starts from. */
export const ORIGIN: SnapshotPosition = { index: 0, term: 0 };
