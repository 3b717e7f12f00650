/** `raftkv simulate --seeds N`: many seeds on all cores, and what they came to. */
import { Tally, type SeedReport } from "../../sim/tally.ts";
import type { Answer } from "../result.ts";
import { describeFailure, failureJson, failureOfRun, findSmaller } from "./failure.ts";
import { observeRun } from "./observed-run.ts";
import { Progress } from "./progress.ts";
import { campaignJson, describeCampaign } from "./summary.ts";
import { runSeeds } from "./worker-pool.ts";

export interface CampaignOptions {
  readonly from: number;
  readonly seeds: number;
  readonly jobs: number;
  /** Run every seed twice: both must be the same. */
  readonly replay: boolean;
}

/** Aborted, it tells what it knows by then. Rejects with RaftKvError when a worker breaks down. */
export async function runCampaign(options: CampaignOptions, signal: AbortSignal): Promise<Answer> {
  const { from, seeds, replay } = options;
  const tally = new Tally();
  const progress = new Progress(seeds);
  try {
    const onReport = (report: SeedReport): void => {
      tally.add(report);
      progress.add(report);
    };
    const jobs = Math.min(options.jobs, seeds);
    await runSeeds(range(from, seeds), { jobs, replay, onReport, signal });
    const summary = { tally, from, seeds, seconds: progress.seconds };
    const [first] = tally.violations;
    if (first !== undefined) progress.say(`seed ${first.seed}: looking for a smaller run that fails too`);
    const explained = first === undefined ? null : await explain(first, signal);
    const text = [...describeCampaign(summary), ...(explained === null ? [] : ["", ...explained.lines])];
    const json = { ...campaignJson(summary), firstViolation: explained?.json ?? null };
    const output = { stdout: text.join("\n"), stderr: null, json };
    return { kind: "answer", exitCode: tally.passed ? 0 : 1, output };
  } finally {
    progress.end();
  }
}

function* range(from: number, count: number): Generator<number> {
  for (let seed = from; seed < from + count; seed += 1) yield seed;
}

async function explain(
  { seed, violation }: SeedReport,
  signal: AbortSignal,
): Promise<{ readonly lines: readonly string[]; readonly json: object }> {
  const failure = failureOfRun(observeRun(seed, null));
  if (failure === null) {
    const line = `seed ${seed} violated ${violation?.property ?? ""} once, and not when it was run again: something outside the simulation takes part.`;
    return { lines: [line], json: { seed, repeated: false } };
  }
  const smaller = await findSmaller(failure, signal);
  return { lines: describeFailure(failure, smaller), json: failureJson(failure, smaller) };
}
