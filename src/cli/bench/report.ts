/** What a run came to, for people. */
import type { Sighting } from "./election-watch.ts";
import { histogramLines } from "./histogram-text.ts";
import type { LatencyHistogram } from "./latency-histogram.ts";
import type { Measurement } from "./measurement.ts";
import { throughput, type BenchResult } from "./result.ts";
import type { BenchSettings } from "./settings.ts";

/** A process that is as busy may be what limits the throughput, and it sees answers late. */
const BUSY_SHARE = 0.9;

/** Of changes of the leader, so many are told. */
const MAX_SIGHTINGS = 10;

const LABEL_WIDTH = 11;
const COLUMN_WIDTH = 10;
const PERCENTILES = [0.5, 0.9, 0.99, 0.999] as const;

export function reportText(result: BenchResult): string {
  const { settings, measurement } = result;
  const { latencies } = measurement;
  return [
    ...settingsLines(settings),
    "",
    ...(result.interrupted ? ["interrupted: this is what was measured until then"] : []),
    ...numberLines(result),
    ...(latencies.count === 0 ? [] : ["", ...latencyLines(result), "", ...histogramLines(latencies)]),
  ].join("\n");
}

/** A line or two that say what was measured, so that it can be measured again. */
function settingsLines(settings: BenchSettings): readonly string[] {
  const { target, clients, connections, jobs, keys, valueBytes, ratePerSecond, end, warmUpMs, timeoutMs } =
    settings;
  const toWhom = target.kind === "servers" ? " to each server" : "";
  const loop = ratePerSecond === null ? "closed loop" : `open loop, ${whole(ratePerSecond)} /s`;
  const extent =
    end.kind === "duration" ? `${end.durationMs / 1000} s` : `${counted(end.operations, "operation")}`;
  return [
    `${workloadText(settings)}, ${targetText(settings)}, ${loop}`,
    [
      `${counted(clients, "client")} over ${counted(connections, "connection")}${toWhom} from ${counted(jobs, "process", "es")}`,
      `${counted(keys, "key")}, values of ${counted(valueBytes, "byte")}`,
      `${extent} after ${warmUpMs / 1000} s of warm-up`,
      `up to ${timeoutMs / 1000} s a call`,
      `seed ${settings.seed}`,
    ].join("; "),
  ];
}

function workloadText({ workload, reads, consistency }: BenchSettings): string {
  if (workload === "put") return "puts";
  return workload === "get" ? `${consistency} gets` : `${percent(reads)} ${consistency} gets, the rest puts`;
}

function targetText({ target }: BenchSettings): string {
  if (target.kind === "frontend") return `through the frontend at ${target.address}`;
  const seeds = target.seeds.map(({ id, address }) => (id === null ? address : `${id}=${address}`));
  return `at the servers of ${seeds.join(", ")}`;
}

function numberLines(result: BenchResult): readonly string[] {
  const { measurement, measuredMs, answeredMeanwhile, generatorCpuShare, settings } = result;
  const { answered, failed, errors, foundShare } = measurement;
  const perSecond = `${whole(throughput(result))} /s`;
  const busy = generatorCpuShare > BUSY_SHARE ? ": it may be the limit, try more --jobs" : "";
  return [
    line(
      "throughput",
      `${perSecond}: ${counted(answeredMeanwhile, "operation")} in ${(measuredMs / 1000).toFixed(1)} s`,
    ),
    ...(settings.ratePerSecond === null ? [] : [line("schedule", scheduleText(result))]),
    ...(foundShare === null ? [] : [line("found", `${percent(foundShare)} of the keys that were read`)]),
    line("errors", failed === 0 ? "none" : `${whole(failed)}, ${percent(failed / (failed + answered))}`),
    ...errors.map(({ error, count, example }) =>
      line("", `${whole(count)} × ${error}: ${firstLine(example)}`),
    ),
    ...unansweredLines(measurement),
    ...electionLines(result),
    line("generator", `${Math.round(generatorCpuShare * 100)} % of a core in its busiest process${busy}`),
  ];
}

function scheduleText(result: BenchResult): string {
  const { settings, measurement } = result;
  const achieved = whole(throughput(result));
  const { longestLagMs, unsentCount } = measurement;
  const unsent = unsentCount === 0 ? "" : `; ${whole(unsentCount)} were due and never sent`;
  const asked = whole(settings.ratePerSecond ?? 0);
  return `asked ${asked} /s, achieved ${achieved} /s, at most ${milliseconds(longestLagMs)} behind${unsent}`;
}

function unansweredLines({ unanswered: { calls, longestMs } }: Measurement): readonly string[] {
  if (calls === 0) return [];
  const text = `${counted(calls, "call")} under way, the longest for ${milliseconds(longestMs)}`;
  return [line("unanswered", text)];
}

function electionLines({ leaders: { elections, sightings } }: BenchResult): readonly string[] {
  const [first, ...changes] = sightings;
  if (first === undefined || elections === null) return [line("elections", "unknown: nobody said who leads")];
  const more = changes.length > MAX_SIGHTINGS ? [line("", `and ${changes.length - MAX_SIGHTINGS} more`)] : [];
  return [
    line("elections", `${elections === 0 ? "none" : whole(elections)}; ${leaderText(first)}`),
    ...changes
      .slice(0, MAX_SIGHTINGS)
      .map((change) => line("", `${leaderText(change)}, seen ${whenText(change)}`)),
    ...more,
  ];
}

function whenText({ atSeconds }: Sighting): string {
  return atSeconds < 0 ? "in the warm-up" : `after ${atSeconds.toFixed(1)} s`;
}

function leaderText({ leaderId, term }: Sighting): string {
  return `${leaderId === null ? "nobody" : `server ${leaderId}`} led in term ${term}`;
}

/** A row each for puts and gets, where there are both. */
function latencyLines({ measurement: { puts, gets, latencies } }: BenchResult): readonly string[] {
  const headings = ["count", "mean", "p50", "p90", "p99", "p99.9", "max"];
  const both = puts.count > 0 && gets.count > 0;
  return [
    columns("latency", headings),
    ...(both ? [latencyRow("all", latencies)] : []),
    ...(puts.count > 0 ? [latencyRow("puts", puts)] : []),
    ...(gets.count > 0 ? [latencyRow("gets", gets)] : []),
  ];
}

function latencyRow(label: string, histogram: LatencyHistogram): string {
  const percentiles = PERCENTILES.map((p) => histogram.percentileUs(p));
  const times = [histogram.meanUs, ...percentiles, histogram.maxUs];
  return columns(label, [whole(histogram.count), ...times.map((us) => milliseconds((us ?? 0) / 1000))]);
}

function columns(label: string, cells: readonly string[]): string {
  return label.padEnd(LABEL_WIDTH) + cells.map((cell) => cell.padStart(COLUMN_WIDTH)).join("  ");
}

function line(label: string, text: string): string {
  return `${label.padEnd(LABEL_WIDTH)}  ${text}`;
}

/** Three digits or more: "0.14 ms", "12.3 ms", "1,234 ms". */
export function milliseconds(ms: number): string {
  if (ms >= 100) return `${whole(ms)} ms`;
  return `${ms.toFixed(ms < 10 ? 2 : 1)} ms`;
}

function counted(number: number, noun: string, plural = "s"): string {
  return `${whole(number)} ${noun}${number === 1 ? "" : plural}`;
}

function percent(share: number): string {
  return `${Number((share * 100).toFixed(2))} %`;
}

function firstLine(text: string): string {
  return text.split("\n", 1)[0] ?? "";
}

function whole(number: number): string {
  return Math.round(number).toLocaleString("en");
}
