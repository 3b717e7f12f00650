/**
 * Looks for an order of a register's accesses in which each finds what it needs, and which keeps their
 * order in time: Wing and Gong's search with Lowe's memoisation, cut down by what is known of a register.
 *
 * The register *holds* a value, or it is *open*: the value has been left, nobody reads it any more, and a
 * write comes next. These steps lose nothing, whatever comes after them, and so are never taken back:
 *
 *   held   Every access that needs the value and sets none is placed as soon as it may be. It changes nothing.
 *   open   Every required write of a value that nobody needs is placed as soon as it may be. The next write
 *          hides it.
 *   open   A write is placed, with all accesses that need its value, when they all may be placed at once, and
 *          with the swap among them, the same for the value that it sets. In any order of what is left these
 *          accesses could be moved to the front: no other one depends on them.
 *
 * A choice is left only when none of these applies: which value is written next, or which swap comes next,
 * or to leave the value. Of several accesses that need and set the same, the one that ends first is as good
 * as any. A value that is needed and that nothing will set again in time is not left. So where values are
 * distinct and nothing swaps, every wrong move ends at once, and a check takes polynomial time, however many
 * writes are unknown.
 *
 * What can take long is a violation among many concurrent writes of *repeated* values; see VisitedStates for
 * what keeps the unknown ones among these from multiplying, and StepBudget for what ends it.
 */
import { PendingAccesses, type StepBudget } from "./pending-accesses.ts";
import type { Access, Register, RegisterValue } from "./register-access.ts";
import { VisitedStates } from "./visited-states.ts";

export type SearchResult =
  | { readonly kind: "ordered" }
  | { readonly kind: "impossible"; readonly deadEnd: DeadEnd }
  | { readonly kind: "outOfBudget" };

/** The place where the search had the most required accesses in order, and could add none. */
export interface DeadEnd {
  /** In order. */
  readonly placed: readonly Access[];
  /** What the register holds after them; null: something that nobody needs any more. */
  readonly held: RegisterValue | null;
  /** Of the others, all that the trouble is about, optional ones among them. By start. */
  readonly unplaced: readonly Access[];
}

/** What may come next: an access, or to leave the value that the register holds. */
type Move = Access | "leave";

/** A choice that can be taken back: each of its moves is tried from the same state. */
interface Choice {
  readonly placedCount: number;
  readonly held: RegisterValue | null;
  readonly moves: readonly Move[];
  tried: number;
}

/** What is kept of the best dead end while the search goes on. */
interface DeadEndNote {
  readonly placed: readonly Access[];
  readonly held: RegisterValue | null;
  /** How many required accesses were left. */
  readonly requiredCount: number;
}

/** Searches a register once: the counts of its values are used up. */
export function searchLinearization(register: Register, budget: StepBudget): SearchResult {
  const unplaced = neededInVain(register);
  if (unplaced.length === 0) return new LinearizationSearch(register, budget).run();
  return { kind: "impossible", deadEnd: { placed: [], held: register.initial, unplaced } };
}

/** The accesses that end before anything starts that sets what they need: no search helps them. */
function neededInVain({ accesses, initial }: Register): readonly Access[] {
  const firstSetAt = new Map<RegisterValue, number>([[initial, -Infinity]]);
  for (const { sets, start } of accesses) {
    if (sets !== null && !firstSetAt.has(sets)) firstSetAt.set(sets, start);
  }
  return accesses.filter(({ needs, end, required }) => {
    return required && needs !== null && end < (firstSetAt.get(needs) ?? Infinity);
  });
}

class LinearizationSearch {
  readonly #pending: PendingAccesses;
  readonly #budget: StepBudget;
  readonly #visited: VisitedStates;
  readonly #choices: Choice[] = [];
  /** null: the register is open. */
  #held: RegisterValue | null = null;
  readonly #accesses: readonly Access[];
  #deadEnd: DeadEndNote = { placed: [], held: null, requiredCount: Infinity };

  constructor({ accesses, initial }: Register, budget: StepBudget) {
    this.#accesses = accesses;
    this.#pending = new PendingAccesses(accesses, budget);
    this.#budget = budget;
    this.#visited = new VisitedStates(budget);
    this.#hold(initial);
  }

  run(): SearchResult {
    while (this.#pending.requiredCount > 0) {
      if (this.#budget.exhausted) return { kind: "outOfBudget" };
      if (!this.#advance() && !this.#backtrack()) return this.#impossible();
    }
    return { kind: "ordered" };
  }

  /** Goes on by one move; false where there is none, or none that has not been tried. */
  #advance(): boolean {
    const held = this.#held;
    if (held !== null) return this.#choose(this.#waysOn(held));
    const writes = this.#nextWrites();
    return writes.some((write) => this.#complete(write)) || this.#choose(writes);
  }

  #choose(moves: readonly Move[]): boolean {
    const [first] = moves;
    if (first === undefined) {
      this.#noteDeadEnd();
      return false;
    }
    if (moves.length > 1) {
      if (!this.#visited.add(this.#pending, this.#held)) return false;
      this.#choices.push({ placedCount: this.#pending.placedCount, held: this.#held, moves, tried: 1 });
    }
    this.#make(first);
    return true;
  }

  /** Goes to the last choice that has a move left and makes that; false when there is none. */
  #backtrack(): boolean {
    for (let choice = this.#choices.at(-1); choice !== undefined; choice = this.#choices.at(-1)) {
      const move = choice.moves[choice.tried];
      this.#returnTo(choice.placedCount, choice.held);
      choice.tried += 1;
      if (choice.tried >= choice.moves.length) this.#choices.pop();
      if (move !== undefined) {
        this.#make(move);
        return true;
      }
    }
    return false;
  }

  #make(move: Move): void {
    if (move === "leave") {
      this.#leave();
    } else {
      this.#pending.place(move);
      this.#hold(move.sets);
    }
  }

  /** The register holds `value` from here on: whoever waits to see it does. */
  #hold(value: RegisterValue | null): void {
    this.#held = value;
    this.#pending.sweep(({ needs, sets }) => sets === null && needs === value);
  }

  /** The register is open from here on: what the next write hides goes before it. */
  #leave(): void {
    this.#held = null;
    this.#pending.sweep(({ needs, sets, required }) => required && needs === null && sets?.needs === 0);
  }

  #returnTo(placedCount: number, held: RegisterValue | null): void {
    this.#pending.undo(placedCount);
    this.#held = held;
  }

  /** From a held value: the swaps that find it, and leaving it, if those who still need it can see it again. */
  #waysOn(held: RegisterValue): readonly Move[] {
    const swaps = this.#nextSwaps(held);
    if (!this.#pending.isSetInTime(held)) return swaps;
    const optional = swaps.filter(({ required }) => !required);
    return [...swaps.filter(({ required }) => required), "leave", ...optional];
  }

  /** One swap from `held` to each value. */
  #nextSwaps(held: RegisterValue): readonly Access[] {
    if (held.needs === 0) return [];
    const swaps = new Map<RegisterValue, Access>();
    this.#pending.sweep((access) => {
      if (access.needs === held) keepFirstToEnd(swaps, access);
      return false;
    });
    return [...swaps.values()];
  }

  /** One write of each value that is needed, the most urgent value first. */
  #nextWrites(): readonly Access[] {
    const writes = new Map<RegisterValue, Access>();
    const urgency = new Map<RegisterValue, number>();
    this.#pending.sweep((access) => {
      const { needs, sets, end } = access;
      const value = needs ?? sets;
      if (value !== null) urgency.set(value, Math.min(end, urgency.get(value) ?? Infinity));
      if (needs === null && sets !== null && sets.needs > 0) keepFirstToEnd(writes, access);
      return false;
    });
    const urgencyOf = (value: RegisterValue): number => urgency.get(value) ?? Infinity;
    // Two that are never urgent are equal; their difference would be NaN.
    const byUrgency = [...writes.keys()].toSorted((a, b) => urgencyOf(a) - urgencyOf(b) || 0);
    return byUrgency.map((value) => writes.get(value)).filter((write) => write !== undefined);
  }

  /**
   * Places the write and everything that depends on it, if all of that may be placed right now; otherwise
   * changes nothing.
   */
  #complete(write: Access): boolean {
    const start = this.#pending.placedCount;
    this.#make(write);
    while (this.#held !== null && this.#held.needs > 0) {
      const [swap] = this.#held.needs === 1 ? this.#nextSwaps(this.#held) : [];
      if (swap === undefined || !swap.required) {
        this.#returnTo(start, null);
        return false;
      }
      this.#make(swap);
    }
    this.#leave();
    return true;
  }

  #noteDeadEnd(): void {
    const { requiredCount, placed } = this.#pending;
    if (requiredCount < this.#deadEnd.requiredCount) {
      this.#deadEnd = { placed, held: this.#held, requiredCount };
    }
  }

  #impossible(): SearchResult {
    const { placed, held } = this.#deadEnd;
    const isPlaced = new Set(placed);
    const unplaced = this.#accesses.filter((access) => !isPlaced.has(access));
    return { kind: "impossible", deadEnd: { placed, held, unplaced } };
  }
}

/** Of the accesses that set one value, keeps the one that ends first, and of those the one that starts first. */
function keepFirstToEnd(kept: Map<RegisterValue, Access>, access: Access): void {
  if (access.sets === null) return;
  const first = kept.get(access.sets);
  if (first === undefined || access.end < first.end) kept.set(access.sets, access);
}
