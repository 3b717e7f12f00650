import { deadlineIn, type Deadline } from "./waiting.ts";

/** A caller that would wait longer than this gets its answer after this. */
const MAX_BUDGET_MS = 60_000;

/** What a call may take. */
export interface CallBudget {
  readonly ms: number;
  readonly deadline: Deadline;
}

/** As budgetMs, from now on. */
export function budgetFromNow(callerMs: number | null, defaultMs: number): CallBudget {
  const ms = budgetMs(callerMs, defaultMs);
  return { ms, deadline: deadlineIn(ms) };
}

/** What a call may take whose caller gives up after `callerMs`: less, so that it still gets our answer. null: never. */
export function budgetMs(callerMs: number | null, defaultMs: number): number {
  if (callerMs === null) return Math.min(defaultMs, MAX_BUDGET_MS);
  const marginMs = Math.min(100, Math.max(10, callerMs / 10));
  return Math.min(Math.max(0, callerMs - marginMs), MAX_BUDGET_MS);
}
