/**
 * Says why a history is no register's, in as few operations as it takes:
 *
 *   key "x" is linearizable until this completes:
 *     c: get -> "1" [20, 25]
 *   The order that goes furthest places 1 operation:
 *     a: put "1" [0, 5]
 *   Then the key holds "1", and these cannot come next:
 *     b: put "2" [10, 15]: would overwrite "1", which others still need
 *     c: get -> "1" [20, 25]: comes after b: put "2" [10, 15]
 */
import { completedAt, describeOperation, describeValue, type Operation } from "./history.ts";
import { searchLinearization, type DeadEnd } from "./linearization-search.ts";
import { StepBudget } from "./pending-accesses.ts";
import { registerOf, type Access } from "./register-access.ts";

/** Of a longer list, only this many lines are shown. */
const MAX_LINES = 12;

/** The beginning of a history, up to the moment that makes it a violation. */
interface Beginning {
  readonly operations: readonly Operation[];
  readonly until: number;
  readonly deadEnd: DeadEnd;
}

/** `operations` are all of one key; a search of them ended at `deadEnd`. One line an element. */
export function explainViolation(
  key: string,
  operations: readonly Operation[],
  deadEnd: DeadEnd,
  maxSteps: number,
): readonly string[] {
  const beginning = shortestViolation(operations, deadEnd, maxSteps);
  const { placed, held, unplaced } = beginning.deadEnd;
  const last = beginning.operations.filter((operation) => completedAt(operation) === beginning.until);
  const blocked = unplaced.filter(({ required }) => required).toSorted((a, b) => a.end - b.end);
  const holds = held === null ? "something that nobody needs" : describeValue(held.value);
  return [
    `key ${JSON.stringify(key)} is linearizable until ${last.length === 1 ? "this completes" : "these complete"}:`,
    ...last.map((operation) => `  ${describeOperation(operation)}`),
    `The order that goes furthest places ${placed.length} operation${placed.length === 1 ? "" : "s"}:`,
    ...(placed.length > MAX_LINES ? ["  …"] : []),
    ...placed.slice(-MAX_LINES).map(({ operation }) => `  ${describeOperation(operation)}`),
    `Then the key holds ${holds}, and these cannot come next:`,
    ...blocked
      .slice(0, MAX_LINES)
      .map((access) => `  ${describeObstacle(access, blocked, beginning.deadEnd)}`),
    ...(blocked.length > MAX_LINES ? ["  …"] : []),
  ];
}

/** A history that is a violation stays one whatever is added: so halving finds where it becomes one. */
function shortestViolation(operations: readonly Operation[], deadEnd: DeadEnd, maxSteps: number): Beginning {
  const completions = operations.map(completedAt).filter((at) => at !== null);
  const moments = [...new Set(completions)].toSorted((a, b) => a - b);
  let [low, high] = [0, moments.length - 1];
  let shortest: Beginning = { operations, until: moments[high] ?? Infinity, deadEnd };
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const until = moments[middle] ?? Infinity;
    const begun = operations.filter(({ invokedAt }) => invokedAt <= until);
    const beginning = begun.map((operation) => asKnownAt(operation, until));
    const result = searchLinearization(registerOf(beginning), new StepBudget(maxSteps));
    if (result.kind === "impossible") {
      shortest = { operations: beginning, until, deadEnd: result.deadEnd };
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return shortest;
}

/** The operation with its outcome still open, if it completes after `until`. */
function asKnownAt(operation: Operation, until: number): Operation {
  if ((completedAt(operation) ?? until) <= until) return operation;
  if (operation.kind === "get") return { ...operation, outcome: { kind: "unanswered" } };
  return { ...operation, outcome: { kind: "unknown" } };
}

/** `blocked` is by end: nothing that starts after its first has ended can come before that. */
function describeObstacle(access: Access, [first]: readonly Access[], { held, unplaced }: DeadEnd): string {
  const { operation, start, needs } = access;
  const what = describeOperation(operation);
  if (first !== undefined && first.end < start) {
    return `${what}: comes after ${describeOperation(first.operation)}`;
  }
  if (needs !== null && needs !== held) {
    const absent = unplaced.every(({ sets }) => sets !== needs);
    return `${what}: ${absent ? "nothing is left to write" : "needs"} ${describeValue(needs.value)}`;
  }
  if (held === null) return `${what}: leads nowhere`;
  return `${what}: would overwrite ${describeValue(held.value)}, which others still need`;
}
