import { LatencyHistogram, type HistogramRecord } from "./latency-histogram.ts";
import type { CallOutcome } from "./call-outcome.ts";
import type { CallsUnderWay, LoadObserver } from "./load-loop.ts";
import type { Operation } from "./workload.ts";

/** A measurement as it travels between processes. */
export interface MeasurementRecord {
  readonly puts: HistogramRecord;
  readonly gets: HistogramRecord;
  readonly found: number;
  readonly errors: readonly ErrorCount[];
  readonly unsent: number;
  readonly longestLagMs: number;
  readonly unanswered: CallsUnderWay;
}

/** How often calls failed in one way. */
export interface ErrorCount {
  /** As CallOutcome has it. */
  readonly error: string;
  readonly count: number;
  /** What the first of them said. */
  readonly example: string;
}

/** What became of the operations of one phase. Latencies are of those that succeeded. */
export class Measurement implements LoadObserver {
  readonly puts = new LatencyHistogram();
  readonly gets = new LatencyHistogram();
  readonly #errors = new Map<string, ErrorCount>();
  /** Gets that found their key. */
  #found = 0;
  #unsent = 0;
  #longestLagMs = 0;
  #unanswered: CallsUnderWay = { calls: 0, longestMs: 0 };

  /** Throws when it is not what `toRecord` made. */
  static fromRecord(record: MeasurementRecord): Measurement {
    const measurement = new Measurement();
    measurement.puts.merge(LatencyHistogram.fromRecord(record.puts));
    measurement.gets.merge(LatencyHistogram.fromRecord(record.gets));
    measurement.#found = record.found;
    for (const { error, count, example } of record.errors) measurement.#addErrors(error, count, example);
    measurement.unsent(record.unsent, record.longestLagMs);
    measurement.giveUp(record.unanswered);
    return measurement;
  }

  get answered(): number {
    return this.puts.count + this.gets.count;
  }

  get failed(): number {
    return this.errors.reduce((sum, { count }) => sum + count, 0);
  }

  /** Most frequent first. */
  get errors(): readonly ErrorCount[] {
    return [...this.#errors.values()].toSorted((a, b) => b.count - a.count);
  }

  /** The share of the answered gets that found their key; null when there was none. */
  get foundShare(): number | null {
    return this.gets.count === 0 ? null : this.#found / this.gets.count;
  }

  /** Operations that were due and were not sent before the end. */
  get unsentCount(): number {
    return this.#unsent;
  }

  /** How far behind its schedule the load was at most; in a closed loop 0. */
  get longestLagMs(): number {
    return this.#longestLagMs;
  }

  /** Calls that were under way when the run was cut short: what became of them is not known. */
  get unanswered(): CallsUnderWay {
    return this.#unanswered;
  }

  /** Of puts and gets together. */
  get latencies(): LatencyHistogram {
    const all = new LatencyHistogram();
    all.merge(this.puts);
    all.merge(this.gets);
    return all;
  }

  sent(lagMs: number): void {
    this.#longestLagMs = Math.max(this.#longestLagMs, lagMs);
  }

  ended({ kind }: Operation, outcome: CallOutcome, latencyMs: number): void {
    if (outcome.kind === "failed") {
      this.#addErrors(outcome.error, 1, outcome.message);
      return;
    }
    (kind === "put" ? this.puts : this.gets).record(latencyMs * 1000);
    if (kind === "get" && outcome.found) this.#found += 1;
  }

  unsent(operations: number, lagMs: number): void {
    this.#unsent += operations;
    this.sent(lagMs);
  }

  /** The answers to these are not waited for. */
  giveUp({ calls, longestMs }: CallsUnderWay): void {
    const known = this.#unanswered;
    this.#unanswered = { calls: known.calls + calls, longestMs: Math.max(known.longestMs, longestMs) };
  }

  /** Adds what another process measured in the same phase. */
  merge(other: Measurement): void {
    this.puts.merge(other.puts);
    this.gets.merge(other.gets);
    this.#found += other.#found;
    for (const { error, count, example } of other.errors) this.#addErrors(error, count, example);
    this.unsent(other.#unsent, other.#longestLagMs);
    this.giveUp(other.#unanswered);
  }

  toRecord(): MeasurementRecord {
    return {
      puts: this.puts.toRecord(),
      gets: this.gets.toRecord(),
      found: this.#found,
      errors: this.errors,
      unsent: this.#unsent,
      longestLagMs: this.#longestLagMs,
      unanswered: this.#unanswered,
    };
  }

  #addErrors(error: string, count: number, example: string): void {
    const known = this.#errors.get(error);
    this.#errors.set(error, {
      error,
      count: (known?.count ?? 0) + count,
      example: known?.example ?? example,
    });
  }
}
