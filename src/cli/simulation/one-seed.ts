/** `raftkv simulate --seed N`: one run, told. */
import { simulate } from "../../sim/simulation.ts";
import { describeSwarm } from "../../sim/swarm-text.ts";
import type { Swarm } from "../../sim/swarm.ts";
import { seedReport } from "../../sim/tally.ts";
import type { Answer } from "../result.ts";
import { describeFailure, failureJson, failureOfRun, findSmaller } from "./failure.ts";
import { observeRun, seconds, type ObservedRun } from "./observed-run.ts";

export interface OneSeedOptions {
  readonly seed: number;
  /** null: as the seed draws it. */
  readonly swarm: Swarm | null;
  readonly trace: boolean;
  /** Run it twice: both must be the same. */
  readonly replay: boolean;
  /** Look for a smaller run if it fails. */
  readonly minimise: boolean;
}

export async function runOneSeed(options: OneSeedOptions, signal: AbortSignal): Promise<Answer> {
  const { seed, swarm } = options;
  const run = observeRun(seed, swarm, options.trace);
  const { result } = run;
  const replay = options.replay ? simulate({ seed, swarm: result.swarm }) : null;
  const failure = failureOfRun(run);
  const smaller = failure !== null && options.minimise ? await findSmaller(failure, signal) : null;
  const repeats = replay === null || replay.hash === result.hash;
  const verdict = failure === null ? ["Every property held."] : describeFailure(failure, smaller);
  const lines = [
    ...run.trace,
    ...(run.trace.length === 0 ? [] : [""]),
    ...describeRun(run),
    "",
    ...verdict,
    ...(replay === null ? [] : ["", describeReplay(result.hash, replay.hash)]),
  ];
  const json = {
    ...seedReport(result, replay),
    swarm: result.swarm,
    violation: failure === null ? null : failureJson(failure, smaller),
    ...(options.trace ? { trace: run.trace } : {}),
  };
  const exitCode = failure === null && repeats ? 0 : 1;
  return { kind: "answer", exitCode, output: { stdout: lines.join("\n"), stderr: null, json } };
}

function describeReplay(hash: string, replayHash: string): string {
  if (replayHash === hash) return "A second run was the same, event by event.";
  return `A SECOND RUN WAS ANOTHER: its hash is ${replayHash}. Something outside the simulation takes part.`;
}

function describeRun({ result, phases }: ObservedRun): readonly string[] {
  const { seed, swarm, events, virtualUs, elections, operations, enabled, faults, hash } = result;
  const { done, unknown, failed } = operations;
  const injected = enabled.map((kind) => `${kind} ${faults.of(kind)}`).join(", ");
  return [
    `seed ${seed}`,
    ...describeSwarm(swarm).map((line) => `  ${line}`),
    "",
    "phases",
    ...phases.map(({ atUs, what }) => `  from ${seconds(atUs).padStart(7)} s  ${what}`),
    `  until ${seconds(virtualUs).padStart(6)} s`,
    "",
    `${events} events, ${elections} elections; operations: ${done} done, ${unknown} unknown, ${failed} failed`,
    `faults: ${injected === "" ? "none" : injected}`,
    `hash: ${hash}`,
  ];
}
