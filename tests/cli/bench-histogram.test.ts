import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { histogramLines } from "../../src/cli/bench/histogram-text.ts";
import { LatencyHistogram } from "../../src/cli/bench/latency-histogram.ts";

/** The promised bound on what a histogram may add to a latency. */
const MAX_ERROR = 1 / 128;
const LONGEST_US = 1_000_000_000;

function histogramOf(values: Iterable<number>): LatencyHistogram {
  const histogram = new LatencyHistogram();
  for (const value of values) histogram.record(value);
  return histogram;
}

function* upTo(last: number): Generator<number> {
  for (let value = 1; value <= last; value += 1) yield value;
}

/** The dumb double: the value of that rank in the sorted list. */
function exactPercentile(values: readonly number[], p: number): number {
  const ascending = values.toSorted((a, b) => a - b);
  return ascending[Math.max(1, Math.ceil(p * values.length - 1e-6)) - 1] ?? NaN;
}

test("percentiles of 1 to 100,000 µs are what they must be, a little high at most", () => {
  const histogram = histogramOf(upTo(100_000));
  for (const [p, exact] of [
    [0.5, 50_000],
    [0.9, 90_000],
    [0.99, 99_000],
    [0.999, 99_900],
  ] as const) {
    const found = histogram.percentileUs(p) ?? 0;
    expect(found).toBeGreaterThanOrEqual(exact);
    expect(found).toBeLessThanOrEqual(exact * (1 + MAX_ERROR));
  }
  expect(histogram.maxUs).toBe(100_000);
  expect(histogram.meanUs).toBe(50_000.5);
});

test("of any latencies from 1 µs to 1000 s, no percentile is too low or more than 1/128 too high", () => {
  const latency = fc
    .double({ min: 0, max: Math.log(LONGEST_US), noNaN: true })
    .map((x) => Math.round(Math.exp(x)));
  fc.assert(
    fc.property(
      fc.array(latency, { minLength: 1, maxLength: 200 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (values, p) => {
        const found = histogramOf(values).percentileUs(p) ?? NaN;
        const exact = exactPercentile(values, p);
        expect(found).toBeGreaterThanOrEqual(exact);
        expect(found).toBeLessThanOrEqual(exact * (1 + MAX_ERROR));
      },
    ),
  );
});

test("up to 255 µs every microsecond counts for itself", () => {
  const histogram = histogramOf(upTo(255));
  for (let us = 1; us <= 255; us += 1) expect(histogram.percentileUs(us / 255)).toBe(us);
});

test("merged, and sent as JSON, it is what one histogram of everything would be", () => {
  const values = Array.from(upTo(3000), (at) => at * at);
  const halves = [values.filter((v) => v % 2 === 0), values.filter((v) => v % 2 === 1)].map(histogramOf);
  const sum = new LatencyHistogram();
  for (const half of halves) {
    sum.merge(LatencyHistogram.fromRecord(JSON.parse(JSON.stringify(half.toRecord()))));
  }
  expect(sum.toRecord()).toEqual(histogramOf(values).toRecord());
  expect(sum.percentileUs(0.9)).toBe(histogramOf(values).percentileUs(0.9));
  expect(sum.count).toBe(3000);
});

test("what takes longer than 1000 s is counted, and the maximum is told as it was", () => {
  const histogram = histogramOf([5, 3 * LONGEST_US]);
  expect([histogram.count, histogram.maxUs]).toEqual([2, 3 * LONGEST_US]);
  expect(histogram.percentileUs(1)).toBe(3 * LONGEST_US);
  expect(LatencyHistogram.fromRecord(histogram.toRecord()).percentileUs(1)).toBe(3 * LONGEST_US);
});

test("nothing measured has no percentiles", () => {
  const histogram = new LatencyHistogram();
  expect([histogram.percentileUs(0.5), histogram.meanUs, histogram.maxUs]).toEqual([null, null, null]);
});

test("as text it has a bar for every step from the first latency to the last, empty ones too", () => {
  const histogram = histogramOf([...Array<number>(80).fill(900), ...Array<number>(20).fill(1900), 45_000]);
  expect(histogramLines(histogram)).toEqual([
    "up to  1 ms  80  ########################################",
    "up to  2 ms  20  ##########",
    "up to  5 ms   0",
    "up to 10 ms   0",
    "up to 20 ms   0",
    "up to 50 ms   1  #",
  ]);
});
