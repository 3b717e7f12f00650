/**
 * How often which latency was measured, in buckets that grow with it: log-linear, as HdrHistogram has them.
 *
 *   µs in the bucket   0 … 255   256 … 511   512 … 1023   …   2^29 … 2^30 - 1
 *   width of a bucket     1          2            4                 2^22
 *
 * A bucket is narrower than 1/128 of the least that is in it, so what is read from it is at most 0.8 % too
 * high, and never too low. `createHistogram` of node:perf_hooks is as exact, but its buckets can be neither
 * listed nor sent to another process.
 */
import { assert } from "../../base/assert.ts";

/** Buckets to each doubling, as a power of two. */
const BUCKET_BITS = 7;
const BUCKETS = 2 ** BUCKET_BITS;
/** Below this every microsecond has a bucket of its own. */
const EXACT_BELOW = 2 * BUCKETS;
const EXACT_BITS = BUCKET_BITS + 1;
/** 1000 s: what took longer counts here; the maximum is kept as it was. */
const HIGHEST_US = 1_000_000_000;

/** A histogram as it travels, and as programs get it. */
export interface HistogramRecord {
  readonly sumUs: number;
  /** 0 when nothing was measured. */
  readonly maxUs: number;
  /** Those that hold something, ascending: `count` latencies above the bucket before and up to `upToUs`. */
  readonly buckets: readonly HistogramBucket[];
}

export interface HistogramBucket {
  readonly upToUs: number;
  readonly count: number;
}

export class LatencyHistogram {
  readonly #counts = new Float64Array(indexOf(HIGHEST_US) + 1);
  #count = 0;
  #sumUs = 0;
  #maxUs = 0;

  /** Throws when the record is not one that `toRecord` made. */
  static fromRecord({ sumUs, maxUs, buckets }: HistogramRecord): LatencyHistogram {
    const histogram = new LatencyHistogram();
    for (const { upToUs, count } of buckets) {
      assert(highestOf(indexOf(upToUs)) === upToUs, `no bucket of a histogram ends at ${upToUs} µs`);
      histogram.#add(indexOf(upToUs), count);
    }
    histogram.#sumUs = sumUs;
    histogram.#maxUs = maxUs;
    return histogram;
  }

  get count(): number {
    return this.#count;
  }

  /** null when nothing was measured; so are the percentiles. */
  get meanUs(): number | null {
    return this.#count === 0 ? null : this.#sumUs / this.#count;
  }

  /** Exact. */
  get maxUs(): number | null {
    return this.#count === 0 ? null : this.#maxUs;
  }

  /** `us` from 0; fractions are rounded. */
  record(us: number): void {
    const whole = Math.round(us);
    this.#add(indexOf(Math.min(whole, HIGHEST_US)), 1);
    this.#sumUs += whole;
    this.#maxUs = Math.max(this.#maxUs, whole);
  }

  /** At least the share `p` (0..1) of what was measured took this long or less. */
  percentileUs(p: number): number | null {
    if (this.#count === 0) return null;
    // What a product has too much in its last digit must not reach the next rank.
    const rank = Math.max(1, Math.ceil(p * this.#count - 1e-6));
    let seen = 0;
    for (const [index, count] of this.#counts.entries()) {
      seen += count;
      if (seen >= rank && index < this.#counts.length - 1) return Math.min(highestOf(index), this.#maxUs);
    }
    return this.#maxUs;
  }

  merge(other: LatencyHistogram): void {
    for (const [index, count] of other.#counts.entries()) if (count > 0) this.#add(index, count);
    this.#sumUs += other.#sumUs;
    this.#maxUs = Math.max(this.#maxUs, other.#maxUs);
  }

  toRecord(): HistogramRecord {
    const buckets = Array.from(this.#counts, (count, index) => ({ upToUs: highestOf(index), count }));
    return { sumUs: this.#sumUs, maxUs: this.#maxUs, buckets: buckets.filter(({ count }) => count > 0) };
  }

  #add(index: number, count: number): void {
    this.#counts[index] = (this.#counts[index] ?? 0) + count;
    this.#count += count;
  }
}

/** Which bucket holds `us`, a whole number up to HIGHEST_US. */
function indexOf(us: number): number {
  if (us < EXACT_BELOW) return us;
  const bits = 32 - Math.clz32(us);
  const withinDoubling = (us >>> (bits - EXACT_BITS)) - BUCKETS;
  return EXACT_BELOW + (bits - EXACT_BITS - 1) * BUCKETS + withinDoubling;
}

/** The longest latency that the bucket holds. */
function highestOf(index: number): number {
  if (index < EXACT_BELOW) return index;
  const doubling = Math.floor((index - EXACT_BELOW) / BUCKETS);
  const withinDoubling = (index - EXACT_BELOW) % BUCKETS;
  return (BUCKETS + withinDoubling + 1) * 2 ** (doubling + 1) - 1;
}
