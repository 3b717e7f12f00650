/** What a run came to, for programs. */
import type { LeaderHistory } from "./election-watch.ts";
import type { LatencyHistogram } from "./latency-histogram.ts";
import type { Measurement } from "./measurement.ts";
import type { BenchSettings } from "./settings.ts";

export interface BenchResult {
  readonly settings: BenchSettings;
  /** It was ended before its time. */
  readonly interrupted: boolean;
  /** The longest of any process. */
  readonly measuredMs: number;
  /** Operations that succeeded in that time, whenever they began; of a run that a count ends, its own alone. */
  readonly answeredMeanwhile: number;
  /** Of all operations that began in that time, and of all processes together. */
  readonly measurement: Measurement;
  /** Processor time of the busiest process that made load, as a share of one core. */
  readonly generatorCpuShare: number;
  /** From the warm-up on. */
  readonly leaders: LeaderHistory;
}

/** Operations that succeeded, in a second. */
export function throughput({ answeredMeanwhile, measuredMs }: BenchResult): number {
  return measuredMs === 0 ? 0 : (answeredMeanwhile / measuredMs) * 1000;
}

export function resultJson(result: BenchResult): object {
  const { measurement, leaders, settings } = result;
  const { answered, failed, puts, gets, latencies, foundShare, errors, unanswered } = measurement;
  return {
    settings: settingsJson(settings),
    interrupted: result.interrupted,
    seconds: result.measuredMs / 1000,
    operations: { answered, failed, puts: puts.count, gets: gets.count },
    unanswered,
    answeredMeanwhile: result.answeredMeanwhile,
    perSecond: throughput(result),
    found: foundShare,
    latency: { all: latencyJson(latencies), puts: latencyJson(puts), gets: latencyJson(gets) },
    rate:
      settings.ratePerSecond === null
        ? null
        : {
            askedPerSecond: settings.ratePerSecond,
            achievedPerSecond: throughput(result),
            longestLagMs: measurement.longestLagMs,
            unsent: measurement.unsentCount,
          },
    errors,
    elections: { count: leaders.elections, leaders: leaders.sightings },
    generatorCpuShare: result.generatorCpuShare,
  };
}

function settingsJson({ target, end, ...settings }: BenchSettings): object {
  return {
    ...(target.kind === "frontend" ? { address: target.address } : { servers: target.seeds }),
    ...settings,
    durationMs: end.kind === "duration" ? end.durationMs : null,
    count: end.kind === "count" ? end.operations : null,
  };
}

/** null: nothing was measured. Everything in microseconds. */
function latencyJson(histogram: LatencyHistogram): object | null {
  if (histogram.count === 0) return null;
  return {
    count: histogram.count,
    meanUs: histogram.meanUs,
    p50Us: histogram.percentileUs(0.5),
    p90Us: histogram.percentileUs(0.9),
    p99Us: histogram.percentileUs(0.99),
    p999Us: histogram.percentileUs(0.999),
    maxUs: histogram.maxUs,
    buckets: histogram.toRecord().buckets,
  };
}
