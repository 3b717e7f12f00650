/**
 * Real processes under faults of every kind, with clients whose history is checked:
 * `bun tests/cluster/chaos.ts [--runs N] [--minutes N] [--seed N] [--parallel N]`, or `make chaos`. Run i has the seed
 * given plus i. It prints a line a minute and a table at the end, and exits with 1 when a run does not hold.
 *
 * Each run is a process of its own, so that no run's checking takes another one's time.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { percentile } from "../bench/load.ts";
import { formatMs, NumberTable } from "../bench/number-table.ts";
import { chaosRun, type ChaosResult } from "./chaos-run.ts";
import { ASKED, judgeTimes } from "./chaos-verdict.ts";

interface Campaign {
  readonly runs: number;
  readonly minutes: number;
  readonly seed: number;
  readonly parallel: number;
}

/** The result of one run, or why there is none. */
type Outcome = ChaosResult | { readonly seed: number; readonly complaints: readonly string[] };

const children = new Set<Bun.Subprocess>();

async function runAll({ runs, minutes, seed, parallel }: Campaign): Promise<readonly Outcome[]> {
  const directory = await mkdtemp(join(tmpdir(), "raftkv-chaos-results-"));
  const seeds = Array.from({ length: runs }, (_, at) => seed + at);
  const left = seeds.values();
  const outcomes: Outcome[] = [];
  const lane = async (): Promise<void> => {
    for (const next of left) {
      const outcome = await runApart(next, minutes, join(directory, `${next}.json`));
      outcomes.push(outcome);
      tellOutcome(outcome, minutes);
    }
  };
  await Promise.all(Array.from({ length: parallel }, lane));
  await rm(directory, { recursive: true, force: true });
  return outcomes;
}

async function runApart(seed: number, minutes: number, resultPath: string): Promise<Outcome> {
  const options = ["--seed", String(seed), "--minutes", String(minutes), "--result", resultPath];
  const child = Bun.spawn([process.execPath, import.meta.path, ...options], {
    stdin: "ignore",
    stdout: "inherit",
    stderr: "inherit",
  });
  children.add(child);
  const code = await child.exited;
  children.delete(child);
  try {
    return JSON.parse(await readFile(resultPath, "utf8")) as ChaosResult;
  } catch {
    return { seed, complaints: [`the run ended without a result (exit ${code})`] };
  }
}

function tellOutcome(outcome: Outcome, minutes: number): void {
  if ("counts" in outcome && outcome.complaints.length === 0) {
    const { servers, recoveriesMs, verificationMs, failoversMs } = outcome;
    const slowest = formatMs(Math.max(...recoveriesMs, verificationMs));
    const failover = formatMs(Math.max(0, ...failoversMs));
    print(
      `seed ${outcome.seed}: holds; ${servers} servers, healed in ${slowest}, failover in ${failover} at most`,
    );
    return;
  }
  print(`seed ${outcome.seed}: DOES NOT HOLD`);
  for (const complaint of outcome.complaints) print(`  ${complaint}`);
  if ("directory" in outcome) print(`  its files and what was done when: ${outcome.directory}`);
  print(`  once more: bun tests/cluster/chaos.ts --runs 1 --minutes ${minutes} --seed ${outcome.seed}`);
}

/** Prints what was asked and measured; true when it all holds. */
function summarise(outcomes: readonly Outcome[], { minutes }: Campaign): boolean {
  const results = outcomes.filter((outcome) => "counts" in outcome);
  if (results.length === 0) return false;
  const table = new NumberTable();
  const failing = outcomes.filter(({ complaints }) => complaints.length > 0);
  const sum = (of: (result: ChaosResult) => number): number =>
    results.reduce((total, result) => total + of(result), 0);
  const { ok, unknown, failed } = {
    ok: sum(({ counts }) => counts.ok),
    unknown: sum(({ counts }) => counts.unknown),
    failed: sum(({ counts }) => counts.failed),
  };
  table.add({
    what: `chaos, ${outcomes.length} runs of ${minutes} minutes`,
    asked: "0 runs that do not hold",
    measured: `${failing.length}; ${ok} operations, ${unknown} unknown, ${failed} failed`,
    holds: failing.length === 0,
  });
  const perMinute = results.map(({ faults, lastedMs }) => (faults / lastedMs) * 60_000);
  table.add({
    what: "faults a minute, in the calmest run",
    asked: `≥ ${ASKED.faultsAMinute}`,
    measured: `${Math.min(...perMinute).toFixed(1)}; ${sum(({ faults }) => faults)} in all`,
    holds: perMinute.every((each) => each >= ASKED.faultsAMinute),
  });
  const recoveriesMs = results.flatMap((result) => [...result.recoveriesMs, result.verificationMs]);
  table.addTime("the slowest write after healing", Math.max(...recoveriesMs), ASKED.recoveryMs);
  const failoversMs = results.flatMap((result) => result.failoversMs);
  const [p50, p99] = [percentile(failoversMs, 0.5), percentile(failoversMs, 0.99)];
  table.add({
    what: `no write, when a leader is lost under load, ${failoversMs.length} times`,
    asked: "p50 ≤ 0.5 s, p99 ≤ 2 s",
    measured: `p50 ${formatMs(p50)}, p99 ${formatMs(p99)}, max ${formatMs(Math.max(...failoversMs))}`,
    holds: judgeTimes([], failoversMs).length === 0,
  });
  process.stdout.write("\n");
  table.print();
  return table.holds;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "10" },
    minutes: { type: "string", default: "10" },
    seed: { type: "string" },
    parallel: { type: "string", default: "1" },
    result: { type: "string" },
  },
});
const campaign: Campaign = {
  runs: Number(values.runs),
  minutes: Number(values.minutes),
  seed: Number(values.seed ?? Math.floor(Math.random() * 2 ** 31)),
  parallel: Number(values.parallel),
};
const wrong = Object.entries(campaign).find(([name, value]) => !(value >= (name === "seed" ? 0 : 0.1)));
if (wrong !== undefined) {
  process.stderr.write(`--${wrong[0]} must be a number above 0\n`);
  process.exit(2);
}
if (values.result === undefined) {
  print(`seed ${campaign.seed}`);
  // Each run takes its own processes with it.
  process.on("SIGTERM", () => children.forEach((child) => child.kill("SIGTERM")));
  process.on("SIGINT", () => {});
  process.exit(summarise(await runAll(campaign), campaign) ? 0 : 1);
}
const { seed, minutes } = campaign;
const stop = new AbortController();
process.on("SIGTERM", () => stop.abort());
process.on("SIGINT", () => stop.abort());
const result = await chaosRun({
  seed,
  forMs: minutes * 60_000,
  least: ASKED,
  tell: (line) => print(`seed ${seed}: ${line}`),
  stop: stop.signal,
});
await writeFile(values.result, JSON.stringify(result));
process.exit(0);
