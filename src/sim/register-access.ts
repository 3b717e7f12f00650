/**
 * One key's operations in the form that the search works on. A put, a get and a compare-and-swap are all
 * accesses that may need the register to hold a value, and may set it to one:
 *
 *   operation                | needs    | sets  |
 *   put v                    | –        | v     | optional when its outcome is unknown
 *   get -> v                 | v        | –     |
 *   swap e for n, swapped    | e        | n     |
 *   swap e for n, unknown    | e        | n     | optional: to fail to swap, or never to run, changes nothing
 *   swap, not swapped but v  | v        | –     |
 *
 * An optional access that sets what nobody needs is left out, which does not change the verdict: wherever it
 * took effect, what came next needed nothing of it.
 */
import { assert } from "../base/assert.ts";
import { completedAt, describeOperation, type Operation, type Value } from "./history.ts";

/** A value that some access needs or sets. The counts are of accesses not yet placed, and the search's. */
export interface RegisterValue {
  readonly id: number;
  readonly value: Value;
  /** Accesses that need it. */
  needs: number;
  /** Required accesses that need it. */
  requiredNeeds: number;
  /** Accesses that set it, required or not. */
  setters: number;
}

export interface Access {
  readonly operation: Operation;
  /** What the register must hold just before; null: anything. */
  readonly needs: RegisterValue | null;
  /** What it holds just after; null: the same as before. One of the two is there. */
  readonly sets: RegisterValue | null;
  /** Whether it must take effect. */
  readonly required: boolean;
  /** It takes effect at this moment or later. */
  readonly start: number;
  /** It takes effect at this moment or before; Infinity when it is optional, and only then. */
  readonly end: number;
}

export interface Register {
  /** By start. */
  readonly accesses: readonly Access[];
  /** What it holds in the beginning: the key is missing. */
  readonly initial: RegisterValue;
}

/** `operations` are all of one key. */
export function registerOf(operations: readonly Operation[]): Register {
  const values = new ValueTable();
  const initial = values.of(null);
  const accesses = operations
    .map((operation) => accessOf(operation, values))
    .filter((access) => access !== null)
    .toSorted((a, b) => a.start - b.start);
  return { accesses: withoutIdle(accesses), initial };
}

class ValueTable {
  readonly #values = new Map<Value, RegisterValue>();
  #count = 0;

  of(value: Value): RegisterValue {
    const known = this.#values.get(value) ?? this.fresh(value);
    this.#values.set(value, known);
    return known;
  }

  /** One that no other access knows. */
  fresh(value: Value): RegisterValue {
    this.#count += 1;
    return { id: this.#count, value, needs: 0, requiredNeeds: 0, setters: 0 };
  }
}

/** null: the operation says nothing about the register. */
function accessOf(operation: Operation, values: ValueTable): Access | null {
  const { invokedAt: start, outcome } = operation;
  const end = completedAt(operation) ?? Infinity;
  assert(Number.isFinite(start) && end >= start, `impossible times: ${describeOperation(operation)}`);
  const access = { operation, start, end, required: end !== Infinity };
  if (outcome.kind === "failed" || outcome.kind === "unanswered") return null;
  if (operation.kind === "put") return { ...access, needs: null, sets: values.of(operation.value) };
  if ("value" in outcome) {
    // A refusal that names the very value it expected contradicts itself: no register ever satisfies it.
    const absurd = operation.kind === "compareAndSwap" && outcome.value === operation.expected;
    return { ...access, needs: absurd ? values.fresh(outcome.value) : values.of(outcome.value), sets: null };
  }
  if (operation.kind === "get") return null;
  const { expected, value } = operation;
  return { ...access, needs: values.of(expected), sets: value === expected ? null : values.of(value) };
}

/** All but the optional accesses that make no difference. */
function withoutIdle(accesses: readonly Access[]): readonly Access[] {
  const needed = new Set(accesses.map(({ needs }) => needs));
  const left = accesses.filter(({ required, sets }) => required || (sets !== null && needed.has(sets)));
  return left.length === accesses.length ? left : withoutIdle(left);
}
