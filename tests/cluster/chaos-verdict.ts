/** What a run must show. Everything that is asked of it stands here. */
import { percentile } from "../bench/load.ts";
import { completedAt, describeValue, type Operation, type Put, type Value } from "../../src/sim/history.ts";
import { checkLinearizability } from "../../src/sim/linearizability.ts";
import type { ServerId } from "../../src/raft/entry.ts";

/** A run with less of it shows nothing. */
export interface Least {
  readonly faultsAMinute: number;
  /** Answered with success, puts and gets of all clients together. */
  readonly operationsASecond: number;
}

/** What is asked. */
export const ASKED = {
  faultsAMinute: 10,
  operationsASecond: 40,
  recoveryMs: 2000,
  failoverP50Ms: 500,
  failoverP99Ms: 2000,
} as const satisfies Least & Record<string, number>;

/** Where other work goes on beside a run, and its speed is not what is asked about. */
export const LEAST_ON_A_BUSY_MACHINE: Least = { faultsAMinute: 2, operationsASecond: 2 };

/** Of many that are lost, so many are named. */
const MAX_NAMED = 5;

/** What one server says at the end, when nobody writes. */
export interface FinalState {
  readonly id: ServerId;
  readonly lastApplied: number;
  readonly commitIndex: number;
  readonly values: ReadonlyMap<string, Value>;
}

export interface ChaosEvidence {
  /** Of all clients, and the reads of every key at the end. */
  readonly operations: readonly Operation[];
  /** What each key holds at the end, linearizably read. */
  readonly lastValues: ReadonlyMap<string, Value>;
  readonly finalStates: readonly FinalState[];
  /** Processes that ended by themselves, or would not start or end, one line each. */
  readonly deaths: readonly string[];
  /** Processes and ports that are still there after the stop, one line each. */
  readonly leftovers: readonly string[];
  readonly succeeded: number;
  readonly faults: number;
  /** For which the faults lasted. */
  readonly lastedMs: number;
}

/** What is wrong, one line each; none: the run holds. Times are judged by `judgeTimes`. */
export function judge(evidence: ChaosEvidence, least: Least): readonly string[] {
  return [
    ...evidence.deaths,
    ...evidence.leftovers.map((left) => `still there after the stop: ${left}`),
    ...lostWrites(evidence.operations, evidence.lastValues),
    ...nonLinearizable(evidence.operations),
    ...differences(evidence.finalStates),
    ...tooLittle(evidence, least),
  ];
}

/** Of one run or of many. `recoveriesMs`: from healing to the first write; `failoversMs`: without a write. */
export function judgeTimes(
  recoveriesMs: readonly number[],
  failoversMs: readonly number[],
): readonly string[] {
  const worst = Math.max(0, ...recoveriesMs);
  const [p50, p99] = [percentile(failoversMs, 0.5), percentile(failoversMs, 0.99)];
  const complaints: string[] = [];
  if (worst > ASKED.recoveryMs) complaints.push(`${Math.round(worst)} ms from healing to the first write`);
  if (failoversMs.length === 0) complaints.push("no leader was lost while a majority went on");
  if (p50 > ASKED.failoverP50Ms) complaints.push(`failover: p50 is ${Math.round(p50)} ms`);
  if (p99 > ASKED.failoverP99Ms) complaints.push(`failover: p99 is ${Math.round(p99)} ms`);
  return complaints;
}

/**
 * Acknowledged writes that nothing in the end speaks of: the key holds a value that was surely written before, or
 * none. The checker sees them, too; here they have a number.
 */
function lostWrites(
  operations: readonly Operation[],
  lastValues: ReadonlyMap<string, Value>,
): readonly string[] {
  const puts = operations.filter((operation): operation is Put => operation.kind === "put");
  const complaints: string[] = [];
  for (const [key, ofKey] of Map.groupBy(puts, (put) => put.key)) {
    const value = lastValues.get(key);
    if (value === undefined) {
      complaints.push(`${key} was not read at the end`);
      continue;
    }
    const shown = ofKey.find((put) => put.value === value);
    // One that nobody knows of may take effect at any time.
    const shownAt = shown === undefined ? -Infinity : (completedAt(shown) ?? Infinity);
    const lost = ofKey.filter((put) => put.outcome.kind === "ok" && put.invokedAt > shownAt);
    if (lost.length > 0) {
      const which = lost.slice(0, MAX_NAMED).map((put) => describeValue(put.value));
      complaints.push(`${lost.length} lost: ${key} holds ${describeValue(value)}, not ${which.join(", ")}`);
    }
  }
  return complaints;
}

function nonLinearizable(operations: readonly Operation[]): readonly string[] {
  const verdict = checkLinearizability(operations);
  switch (verdict.kind) {
    case "linearizable":
      return [];
    case "undecided":
      return [`the history of ${verdict.key} is undecided`];
    case "violation":
      return [`the history of ${verdict.key} is not linearizable:`, ...verdict.explanation];
  }
}

function differences(states: readonly FinalState[]): readonly string[] {
  const [first, ...others] = states;
  if (first === undefined) return ["no server was looked at in the end"];
  const complaints = states
    .filter(({ lastApplied, commitIndex }) => lastApplied !== commitIndex)
    .map(({ id, lastApplied, commitIndex }) => `server ${id} has applied ${lastApplied} of ${commitIndex}`);
  for (const { id, lastApplied, values } of others) {
    if (lastApplied !== first.lastApplied) {
      complaints.push(`server ${first.id} has applied ${first.lastApplied}, server ${id} ${lastApplied}`);
    }
    const keys = new Set([...first.values.keys(), ...values.keys()]);
    const different = [...keys].filter((key) => first.values.get(key) !== values.get(key));
    const [key] = different;
    if (key === undefined) continue;
    const [a, b] = [first.values.get(key) ?? null, values.get(key) ?? null].map(describeValue);
    complaints.push(
      `${different.length} keys differ: ${key} is ${a} on server ${first.id}, ${b} on server ${id}`,
    );
  }
  return complaints;
}

function tooLittle({ succeeded, faults, lastedMs }: ChaosEvidence, least: Least): readonly string[] {
  const complaints: string[] = [];
  const perMinute = (faults / lastedMs) * 60_000;
  if (perMinute < least.faultsAMinute) complaints.push(`too few faults: ${perMinute.toFixed(1)} a minute`);
  const perSecond = (succeeded / lastedMs) * 1000;
  if (perSecond < least.operationsASecond) {
    complaints.push(`too few operations succeeded: ${perSecond.toFixed(1)} a second`);
  }
  return complaints;
}
