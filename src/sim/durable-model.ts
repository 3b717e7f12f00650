import type { Command } from "../kv/command.ts";
import type { LogWrite, Persist } from "../raft/batch.ts";
import type { LogIndex, Term } from "../raft/entry.ts";
import { INITIAL_HARD_STATE, type HardState } from "../raft/hard-state.ts";
import type { Recovered } from "../storage/store.ts";
import { require } from "./violation.ts";

/** What a disk held that was lost. */
interface Former {
  readonly terms: readonly Term[];
  readonly snapshotIndex: LogIndex;
}

/** The term of an entry that only a snapshot stands for. */
const UNKNOWN: Term = 0;

/**
 * What one server's disk must hold at least, from what its store was told and has said is done. It is
 * kept beside the disk and not read from it, so it finds a store that claims too much.
 */
export class DurableModel {
  /** By index - 1, from the first entry on: also of those that have gone from the log since. */
  #terms: Term[] = [];
  /** Up to here a durable snapshot stands for the log; 0: there is none. */
  #snapshotIndex: LogIndex = 0;
  /** An install is under way that takes all entries behind this one, if it gets far enough; null: none is. */
  #installing: LogIndex | null = null;
  /** "index/term" of every entry that ever was durable, also of those truncated since. */
  readonly #wereDurable = new Set<string>();
  #hardState: HardState;
  /** What was last on its way, and may have arrived although nobody said so. */
  #underway: HardState;
  /** Of disks that were lost, until the server has caught up. */
  #former: readonly Former[] = [];

  /** `hardState` of a server that has just been created; absent: one that has never taken part in anything. */
  constructor(hardState = INITIAL_HARD_STATE) {
    this.#hardState = hardState;
    this.#underway = hardState;
  }

  get hardState(): HardState {
    return this.#hardState;
  }

  /** The end of the durable log. */
  get lastIndex(): LogIndex {
    return this.#terms.length;
  }

  /** The term of the entry that is durable at `index`: 0 where only a snapshot tells, undefined where there is none. */
  termAt(index: LogIndex): Term | undefined {
    return index === 0 ? 0 : this.#terms[index - 1];
  }

  /** Whether the entry is durable, in the log or in what a snapshot stands for. */
  holds(index: LogIndex, term: Term): boolean {
    return holds({ terms: this.#terms, snapshotIndex: this.#snapshotIndex }, index, term);
  }

  /** Whether the entry is durable, or was on a disk that was lost: it may have counted then (P9). */
  held(index: LogIndex, term: Term): boolean {
    return this.holds(index, term) || this.#former.some((former) => holds(former, index, term));
  }

  /** Whether that entry is durable or was, before it was truncated. */
  wasDurable(index: LogIndex, term: Term): boolean {
    return this.holds(index, term) || this.#wereDurable.has(`${index}/${term}`);
  }

  /** A group is on its way: what it truncates may be gone from now on. */
  started({ hardState, writes }: Persist<Command>): void {
    this.#underway = hardState ?? this.#underway;
    for (const write of writes) {
      if (write.kind === "truncate") this.#terms.length = Math.min(this.#terms.length, write.from - 1);
      else if (write.kind === "install") this.#installing = write.snapshot.index;
    }
  }

  /** The store said that the group is durable. */
  finished({ hardState, writes }: Persist<Command>): void {
    if (this.#hardState.abstainsThrough > 0 && hardState?.abstainsThrough === 0) this.#former = [];
    this.#hardState = hardState ?? this.#hardState;
    this.#installing = null;
    for (const write of writes) this.#wrote(write);
    // One that was appended and truncated in a single group never got to the disk.
    for (const write of writes)
      if (write.kind === "append") for (const entry of write.entries) this.#remember(entry);
  }

  #wrote(write: LogWrite<Command>): void {
    switch (write.kind) {
      case "append":
        for (const { index, term } of write.entries) this.#terms[index - 1] = term;
        return;
      case "truncate":
        this.#terms.length = Math.min(this.#terms.length, write.from - 1);
        return;
      case "compact":
        this.#snapshotIndex = Math.max(this.#snapshotIndex, write.snapshot.index);
        return;
      case "install":
        this.#terms.length = Math.min(this.#terms.length, write.snapshot.index);
        this.#standsFor(write.snapshot.index);
        return;
    }
  }

  #standsFor(snapshotIndex: LogIndex): void {
    this.#snapshotIndex = Math.max(this.#snapshotIndex, snapshotIndex);
    while (this.#terms.length < snapshotIndex) this.#terms.push(UNKNOWN);
  }

  #remember({ index, term }: { readonly index: LogIndex; readonly term: Term }): void {
    if (this.#terms[index - 1] === term) this.#wereDurable.add(`${index}/${term}`);
  }

  /**
   * P1, S1, S2: whatever was durable is there after a restart, in the log or in the snapshot, without a gap
   * between the two. What is there beyond that is durable now. `damaged`: the newest snapshot may have been
   * lost, if the log still holds everything.
   */
  recovered({ hardState, snapshot, log: { base, entries } }: Recovered, damaged: boolean): void {
    const known = [this.#hardState, this.#underway].some((each) => isSame(each, hardState));
    require("Recovery", known, () => {
      return `term and vote were ${JSON.stringify(this.#hardState)}, recovered as ${JSON.stringify(hardState)}`;
    });
    const snapshotIndex = snapshot?.info.position.index ?? 0;
    require("Recovery", damaged || snapshotIndex >= this.#snapshotIndex, () => {
      return `snapshot ${this.#snapshotIndex} was durable; recovered: ${snapshotIndex}`;
    });
    const lastIndex = base.index + entries.length;
    require("Recovery", base.index <= snapshotIndex && snapshotIndex <= lastIndex, () => {
      return `a gap between snapshot ${snapshotIndex} and a log from ${base.index + 1} to ${lastIndex}`;
    });
    const recoveredTerm = (index: LogIndex): Term | undefined => entries[index - base.index - 1]?.term;
    this.#requireKept(snapshotIndex, recoveredTerm);
    this.#hardState = hardState;
    this.#underway = hardState;
    this.#installing = null;
    this.#terms.length = Math.min(this.#terms.length, base.index);
    this.#standsFor(base.index);
    this.#snapshotIndex = snapshotIndex;
    for (const { term } of entries) this.#terms.push(term);
    for (const entry of entries) this.#remember(entry);
  }

  /** Every durable entry that the snapshot does not stand for is in the log still. */
  #requireKept(snapshotIndex: LogIndex, recoveredTerm: (index: LogIndex) => Term | undefined): void {
    const installed = this.#installing !== null && snapshotIndex >= this.#installing;
    const last = installed ? 0 : this.#terms.length;
    for (let index = snapshotIndex + 1; index <= last; index += 1) {
      const term = this.#terms[index - 1];
      require("Recovery", recoveredTerm(index) === term, () => {
        return `entry ${index} of term ${term} was durable; recovered: ${recoveredTerm(index) ?? "nothing"}`;
      });
    }
  }

  /** The disk is gone, and empty files were made in its place. */
  madeAnew(hardState: HardState): void {
    this.#former = [...this.#former, { terms: this.#terms, snapshotIndex: this.#snapshotIndex }];
    this.#terms = [];
    this.#snapshotIndex = 0;
    this.#installing = null;
    this.#wereDurable.clear();
    this.#hardState = hardState;
    this.#underway = hardState;
  }
}

function holds({ terms, snapshotIndex }: Former, index: LogIndex, term: Term): boolean {
  if (index === 0) return term === 0;
  return index <= snapshotIndex || terms[index - 1] === term;
}

function isSame(a: HardState, b: HardState): boolean {
  return (
    a.currentTerm === b.currentTerm &&
    a.votedFor === b.votedFor &&
    a.abstainsThrough === b.abstainsThrough &&
    (a.abstainsTo ?? 0) === (b.abstainsTo ?? 0)
  );
}
