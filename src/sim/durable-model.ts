import type { Command } from "../kv/command.ts";
import type { Persist } from "../raft/batch.ts";
import type { Entry, LogIndex, Term } from "../raft/entry.ts";
import { INITIAL_HARD_STATE, type HardState } from "../raft/hard-state.ts";
import type { Recovered } from "../storage/store.ts";
import { require } from "./violation.ts";

/**
 * What one server's disk must hold at least, from what its store was told and has said is done. It is
 * kept beside the disk and not read from it, so it finds a store that claims too much.
 */
export class DurableModel {
  #terms: Term[] = [];
  /** "index/term" of every entry that ever was durable, also of those truncated since. */
  readonly #wereDurable = new Set<string>();
  #hardState: HardState = INITIAL_HARD_STATE;
  /** What was last on its way, and may have arrived although nobody said so. */
  #underway: HardState = INITIAL_HARD_STATE;

  get hardState(): HardState {
    return this.#hardState;
  }

  /** The term of the entry that is durable at `index`: 0 at index 0, undefined where there is none. */
  termAt(index: LogIndex): Term | undefined {
    return index === 0 ? 0 : this.#terms[index - 1];
  }

  /** Whether that entry is durable or was, before it was truncated. */
  wasDurable(index: LogIndex, term: Term): boolean {
    return index === 0 || this.#wereDurable.has(`${index}/${term}`);
  }

  #remember(entries: readonly Entry<Command>[]): void {
    for (const { index, term } of entries) {
      // One that was appended and truncated in a single group never got to the disk.
      if (this.#terms[index - 1] === term) this.#wereDurable.add(`${index}/${term}`);
    }
  }

  /** A group is on its way: what it truncates may be gone from now on. */
  started({ hardState, writes }: Persist<Command>): void {
    this.#underway = hardState ?? this.#underway;
    for (const write of writes) {
      if (write.kind === "truncate") this.#terms.length = Math.min(this.#terms.length, write.from - 1);
    }
  }

  /** The store said that the group is durable. */
  finished({ hardState, writes }: Persist<Command>): void {
    this.#hardState = hardState ?? this.#hardState;
    for (const write of writes) {
      if (write.kind === "truncate") this.#terms.length = write.from - 1;
      else for (const entry of write.entries) this.#terms[entry.index - 1] = entry.term;
    }
    for (const write of writes) if (write.kind === "append") this.#remember(write.entries);
  }

  /** P1: whatever was durable is there after a restart. What is there beyond that is durable now. */
  recovered({ hardState, entries }: Recovered): void {
    const known = [this.#hardState, this.#underway];
    const isKnown = known.some(
      ({ currentTerm, votedFor }) => currentTerm === hardState.currentTerm && votedFor === hardState.votedFor,
    );
    require("Recovery", isKnown, () => {
      return `term and vote were ${JSON.stringify(this.#hardState)}, recovered as ${JSON.stringify(hardState)}`;
    });
    const lost = this.#terms.findIndex((term, at) => entries[at]?.term !== term);
    require("Recovery", lost < 0, () => {
      return `entry ${lost + 1} of term ${this.#terms[lost]} was durable; recovered: ${entries[lost]?.term ?? "nothing"}`;
    });
    this.#hardState = hardState;
    this.#underway = hardState;
    this.#terms = entries.map((entry) => entry.term);
    this.#remember(entries);
  }
}
