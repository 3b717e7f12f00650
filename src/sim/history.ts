/**
 * What clients of a key-value store did and saw, for a checker to judge. Times are of one clock that all
 * clients share, in any unit: an operation took effect, if it did, at one moment between its invocation
 * and its completion, both included. So operations that touch at one moment count as concurrent.
 */
import { assert } from "../base/assert.ts";

/** What a key holds; null: it is missing, which is not the empty string. */
export type Value = string | null;

/** How a put ended. */
export type PutOutcome =
  | { readonly kind: "ok"; readonly completedAt: number }
  /** Nobody knows: it may take effect once, at any moment from its invocation on, or never. */
  | { readonly kind: "unknown" }
  /** It certainly never took and never will take effect. */
  | { readonly kind: "failed" };

/** How a get ended. */
export type GetOutcome =
  | { readonly kind: "ok"; readonly completedAt: number; readonly value: Value }
  /** It tells nothing. */
  | { readonly kind: "unanswered" };

/** How a compare-and-swap ended. */
export type CompareAndSwapOutcome =
  | { readonly kind: "swapped"; readonly completedAt: number }
  /** `value` is what the key held instead of what was expected. */
  | { readonly kind: "notSwapped"; readonly completedAt: number; readonly value: Value }
  | { readonly kind: "unknown" }
  | { readonly kind: "failed" };

/** Who asked, of which key, when. */
export interface Invocation {
  readonly client: string;
  readonly key: string;
  readonly invokedAt: number;
}

export interface Put extends Invocation {
  readonly kind: "put";
  readonly value: string;
  readonly outcome: PutOutcome;
}

export interface Get extends Invocation {
  readonly kind: "get";
  readonly outcome: GetOutcome;
}

/** Sets the key to `value` if it holds `expected`. */
export interface CompareAndSwap extends Invocation {
  readonly kind: "compareAndSwap";
  readonly expected: Value;
  readonly value: string;
  readonly outcome: CompareAndSwapOutcome;
}

export type Operation = Put | Get | CompareAndSwap;

/** Collects operations as they are invoked. One that is never settled stays unknown, or unanswered. */
export class History {
  readonly #operations: Operation[] = [];

  /** In the order of their invocation. */
  get operations(): readonly Operation[] {
    return this.#operations;
  }

  /** Returns what settles the operation; it is called at most once. */
  put(invocation: Invocation, value: string): (outcome: PutOutcome) => void {
    const put: Put = { ...invocation, kind: "put", value, outcome: { kind: "unknown" } };
    return this.#begin(put, (outcome) => ({ ...put, outcome }));
  }

  /** Returns what settles the operation; it is called at most once. */
  get(invocation: Invocation): (outcome: GetOutcome) => void {
    const get: Get = { ...invocation, kind: "get", outcome: { kind: "unanswered" } };
    return this.#begin(get, (outcome) => ({ ...get, outcome }));
  }

  /** Returns what settles the operation; it is called at most once. */
  compareAndSwap(
    invocation: Invocation,
    expected: Value,
    value: string,
  ): (outcome: CompareAndSwapOutcome) => void {
    const outcome: CompareAndSwapOutcome = { kind: "unknown" };
    const swap: CompareAndSwap = { ...invocation, kind: "compareAndSwap", expected, value, outcome };
    return this.#begin(swap, (outcome) => ({ ...swap, outcome }));
  }

  #begin<O>(begun: Operation, settledWith: (outcome: O) => Operation): (outcome: O) => void {
    const place = this.#operations.push(begun) - 1;
    return (outcome) => {
      assert(this.#operations[place] === begun, `an operation is settled twice: ${describeOperation(begun)}`);
      this.#operations[place] = settledWith(outcome);
    };
  }
}

/** When the client had its answer; null: never. */
export function completedAt({ outcome }: Operation): number | null {
  return "completedAt" in outcome ? outcome.completedAt : null;
}

/** One line: `a: put "1" [0, 5]`, `b: get -> missing [2, 3]`, `c: put "2" unknown [4, …)`. */
export function describeOperation(operation: Operation): string {
  const completed = completedAt(operation);
  const times = `[${operation.invokedAt}, ${completed === null ? "…)" : `${completed}]`}`;
  return `${operation.client}: ${describeCall(operation)}${describeOutcome(operation)} ${times}`;
}

const MAX_VALUE_CHARACTERS = 40;

/** A value as a person reads it: quoted, cut when it is long. */
export function describeValue(value: Value): string {
  if (value === null) return "missing";
  const cut = value.length > MAX_VALUE_CHARACTERS ? `${value.slice(0, MAX_VALUE_CHARACTERS)}…` : value;
  return JSON.stringify(cut);
}

function describeCall(operation: Operation): string {
  switch (operation.kind) {
    case "put":
      return `put ${describeValue(operation.value)}`;
    case "get":
      return "get";
    case "compareAndSwap":
      return `swap ${describeValue(operation.expected)} for ${describeValue(operation.value)}`;
  }
}

function describeOutcome({ outcome }: Operation): string {
  if ("value" in outcome) return ` -> ${describeValue(outcome.value)}`;
  return outcome.kind === "ok" ? "" : ` ${outcome.kind}`;
}
