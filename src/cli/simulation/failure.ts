/** A failing seed, explained: what is violated, what happened last, how to see it again, and a smaller run. */
import { minimise } from "../../sim/minimiser.ts";
import { simulate, swarmOf } from "../../sim/simulation.ts";
import { describeSwarm, swarmDifference } from "../../sim/swarm-text.ts";
import type { Swarm } from "../../sim/swarm.ts";
import type { Violation } from "../../sim/violation.ts";
import { observeRun, replayCommand, seconds, type ObservedRun } from "./observed-run.ts";
import { swarmArgument } from "./swarm-option.ts";

/** How much the search for a smaller run may cost, in events of all its runs: about half a minute. */
const MAX_SEARCH_EVENTS = 6_000_000;

/** A run that violates a property. */
export interface Failure {
  readonly run: ObservedRun;
  readonly violation: Violation;
}

/** The smaller run that was found. */
export interface SmallerFailure extends Failure {
  /** How many runs the search took. */
  readonly runs: number;
}

/** null: the run violates nothing. */
export function failureOfRun(run: ObservedRun): Failure | null {
  const { violation } = run.result;
  return violation === null ? null : { run, violation };
}

/** null: there is none, or the search was aborted. */
export async function findSmaller(
  { run, violation }: Failure,
  signal: AbortSignal,
): Promise<SmallerFailure | null> {
  const { seed, swarm, events } = run.result;
  let searchedEvents = 0;
  const attempt = async (candidate: number, candidateSwarm: Swarm) => {
    // A turn of the event loop, in which signals arrive.
    await Bun.sleep(0);
    if (signal.aborted || searchedEvents > MAX_SEARCH_EVENTS) return null;
    const result = simulate({ seed: candidate, swarm: candidateSwarm });
    searchedEvents += result.events;
    return result.events <= events ? (result.violation?.property ?? null) : null;
  };
  const found = await minimise({ seed, swarm, property: violation.property }, attempt);
  if (signal.aborted || found.swarm === swarm) return null;
  const smaller = failureOfRun(observeRun(found.seed, found.swarm));
  return smaller === null ? null : { ...smaller, runs: found.runs };
}

/** Lines for a person. */
export function describeFailure(failure: Failure, smaller: SmallerFailure | null): readonly string[] {
  const { result } = failure.run;
  if (smaller === null) return [...describeViolation(failure), "", ...describeLastEvents(failure)];
  const { seed, swarm, events } = smaller.run.result;
  return [
    ...describeViolation(failure),
    `  ${commandOf(failure)}`,
    "",
    `A smaller run violates it too, after ${events} events instead of ${result.events} (${smaller.runs} runs tried):`,
    ...describeSwarm(swarm).map((line) => `  ${line}`),
    "",
    ...describeViolation(smaller),
    "",
    ...describeLastEvents(smaller),
    ...(seed === result.seed ? [] : ["", `It begins with seed ${seed}, a neighbour of ${result.seed}.`]),
  ];
}

function describeViolation({ run: { result }, violation }: Failure): readonly string[] {
  return [
    `seed ${result.seed} violates ${violation.property} after ${seconds(result.virtualUs)} s:`,
    ...violation.message.split("\n").map((line) => `  ${line}`),
  ];
}

function describeLastEvents(failure: Failure): readonly string[] {
  return [
    "What happened last, without heartbeats:",
    ...failure.run.lastEvents.map((line) => `  ${line}`),
    "",
    "To see all of it:",
    `  ${commandOf(failure)}`,
  ];
}

function commandOf({ run: { result } }: Failure): string {
  return replayCommand(result.seed, swarmArgument(result.seed, result.swarm));
}

export function failureJson(failure: Failure, smaller: SmallerFailure | null): object {
  const { violation, run } = failure;
  const { seed, swarm, hash, events, virtualUs } = run.result;
  return {
    seed,
    swarm: swarmDifference(swarm, swarmOf(seed)),
    property: violation.property,
    message: violation.message,
    hash,
    events,
    virtualUs,
    replay: commandOf(failure),
    lastEvents: run.lastEvents,
    ...(smaller === null ? {} : { smaller: failureJson(smaller, null) }),
  };
}
