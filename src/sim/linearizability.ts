/**
 * Judges histories: is there one order of all operations, each at one moment between its invocation and its
 * completion, in which every answer is right? (Herlihy and Wing, "Linearizability", 1990.) That holds of a
 * history if and only if it holds of each key alone, so keys are judged one by one. Every key is missing in
 * the beginning.
 *
 * The verdict follows from the operations alone: no clock, no chance.
 */
import type { Operation } from "./history.ts";
import { searchLinearization } from "./linearization-search.ts";
import { StepBudget } from "./pending-accesses.ts";
import { registerOf } from "./register-access.ts";
import { explainViolation } from "./violation-explanation.ts";

export type Verdict =
  | { readonly kind: "linearizable" }
  /** `explanation` is lines for a person. */
  | { readonly kind: "violation"; readonly key: string; readonly explanation: readonly string[] }
  /** The budget is used up. This is no pass: nothing is known. */
  | { readonly kind: "undecided"; readonly key: string };

export interface CheckOptions {
  /**
   * Bounds the time and memory spent on one search of a key; absent: 50 million. A step costs some 10 ns and
   * at most a few bytes. Where values are distinct, 20 clients need less than a hundred for each operation.
   */
  readonly maxSteps?: number;
}

const DEFAULT_MAX_STEPS = 50_000_000;

/** A violation on any key comes before an undecided key. `operations` are in any order. */
export function checkLinearizability(operations: readonly Operation[], options: CheckOptions = {}): Verdict {
  const { maxSteps = DEFAULT_MAX_STEPS } = options;
  let verdict: Verdict = { kind: "linearizable" };
  for (const [key, ofKey] of Map.groupBy(operations, (operation) => operation.key)) {
    const result = searchLinearization(registerOf(ofKey), new StepBudget(maxSteps));
    if (result.kind === "impossible") {
      return { kind: "violation", key, explanation: explainViolation(key, ofKey, result.deadEnd, maxSteps) };
    }
    if (result.kind === "outOfBudget" && verdict.kind === "linearizable")
      verdict = { kind: "undecided", key };
  }
  return verdict;
}
