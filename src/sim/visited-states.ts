import type { PendingAccesses, StepBudget } from "./pending-accesses.ts";
import type { RegisterValue } from "./register-access.ts";

/**
 * The states that a search has been in: which accesses are placed, and what the register holds (Lowe's
 * memoisation). A state need not be looked at when one is known that differs only in having fewer optional
 * accesses placed: whatever completes this one completes that one, with the same accesses to choose from.
 */
export class VisitedStates {
  /** By value and placed required accesses: the sets of placed optional ones. */
  readonly #visited = new Map<string, Uint32Array[]>();
  readonly #budget: StepBudget;

  constructor(budget: StepBudget) {
    this.#budget = budget;
  }

  /** Whether the state is new; it no longer is the next time. `value` null: whatever nobody needs. */
  add({ placedRequired, placedOptional }: PendingAccesses, value: RegisterValue | null): boolean {
    const name = `${value?.id ?? 0}/${textOf(placedRequired)}`;
    const visited = this.#visited.get(name) ?? [];
    this.#budget.spend(STEPS_PER_STATE + (visited.length + 1) * placedOptional.length);
    if (visited.some((known) => isSubset(known, placedOptional))) return false;
    if (visited.length === 0) this.#visited.set(name, visited);
    visited.push(placedOptional.slice());
    return true;
  }
}

/** A state costs this much more than a moment, in memory above all: a budget bounds that, too. */
const STEPS_PER_STATE = 50;

/** Accesses are placed by time, more or less: all words before some place are full, all after another are 0. */
function textOf(bits: Uint32Array): string {
  let from = 0;
  while (bits[from] === 0xffff_ffff) from += 1;
  let to = bits.length;
  while (to > from && bits[to - 1] === 0) to -= 1;
  let text = `${from}/`;
  for (const word of bits.subarray(from, to)) text += String.fromCharCode(word >>> 16, word & 0xffff);
  return text;
}

function isSubset(known: Uint32Array, bits: Uint32Array): boolean {
  return known.every((word, i) => (word & ~(bits[i] ?? 0)) === 0);
}
