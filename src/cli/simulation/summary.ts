/** What a campaign came to, for people and for programs. */
import type { Tally } from "../../sim/tally.ts";
import { renderTable } from "../table.ts";

export interface CampaignSummary {
  readonly tally: Tally;
  /** The first seed, and how many were asked for. */
  readonly from: number;
  readonly seeds: number;
  /** Of wall-clock time. */
  readonly seconds: number;
}

/** Of failing seeds, so many are listed. */
const MAX_LISTED = 20;

export function describeCampaign(summary: CampaignSummary): readonly string[] {
  return [
    describeVerdict(summary),
    "",
    renderTable(["", ""], numbersOf(summary)).split("\n").slice(1).join("\n"),
    "",
    renderTable(
      ["FAULT", "SEEDS", "HAPPENED"],
      summary.tally.faults.map(({ kind, seeds, injected }) => [kind, seeds, injected]),
    ),
    ...describeProblems(summary.tally),
  ];
}

function describeVerdict({ tally, from, seeds }: CampaignSummary): string {
  const range = `seeds ${from} to ${from + seeds - 1}`;
  const done = tally.seeds === seeds ? range : `interrupted: ${tally.seeds} of ${range}`;
  return `${done}: ${tally.passed ? "every property held" : "FAILED"}`;
}

function numbersOf({ tally, seconds }: CampaignSummary): readonly (readonly string[])[] {
  const { events, virtualUs, elections, done, unknown, failed, replayed } = tally.totals;
  const { violations, unrepeatable } = tally;
  const speed = `${seconds.toFixed(1)} s, ${(tally.seeds / Math.max(seconds, 0.001)).toFixed(1)} a second`;
  return [
    ["seeds", `${whole(tally.seeds)} in ${speed}`],
    ["events", whole(events)],
    ["simulated", `${(virtualUs / 3_600_000_000).toFixed(2)} hours`],
    ["elections", whole(elections)],
    ["operations", `${whole(done)} done, ${whole(unknown)} unknown, ${whole(failed)} failed`],
    ["violations", whole(violations.length)],
    ...(replayed === 0
      ? []
      : [["replays", `${whole(replayed - unrepeatable.length)} of ${whole(replayed)} the same`]]),
    ["hash", tally.hash],
  ];
}

function describeProblems({ neverInjected, violations, unrepeatable }: Tally): readonly string[] {
  return [
    ...neverInjected.map(
      (kind) => `\nFAILED: ${kind} was switched on and never happened: nothing is known about it`,
    ),
    ...listed(
      unrepeatable.map(({ seed, hash, replayHash }) => `seed ${seed}: ${hash}, then ${replayHash}`),
      "FAILED: a second run was another than the first",
    ),
    ...listed(
      violations.map(({ seed, violation }) => `seed ${seed}: ${violation?.property ?? ""}`),
      "FAILED: properties were violated",
    ),
  ];
}

function listed(lines: readonly string[], heading: string): readonly string[] {
  if (lines.length === 0) return [];
  const more = lines.length > MAX_LISTED ? [`  and ${lines.length - MAX_LISTED} more`] : [];
  return [`\n${heading}`, ...lines.slice(0, MAX_LISTED).map((line) => `  ${line}`), ...more];
}

function whole(number: number): string {
  return number.toLocaleString("en");
}

/** Everything but the two speeds follows from the seeds and the build. */
export function campaignJson({ tally, from, seeds, seconds }: CampaignSummary): object {
  const { totals, hash, faults, neverInjected, violations, unrepeatable, passed } = tally;
  const { done, unknown, failed, ...others } = totals;
  return {
    passed,
    from,
    seeds: tally.seeds,
    interrupted: tally.seeds < seeds,
    ...others,
    operations: { done, unknown, failed },
    faults,
    neverInjected,
    violations: violations.map(({ seed, violation }) => ({
      seed,
      property: violation?.property,
      message: violation?.message,
    })),
    unrepeatable: unrepeatable.map(({ seed }) => seed),
    hash,
    seconds,
    seedsPerSecond: tally.seeds / seconds,
  };
}
