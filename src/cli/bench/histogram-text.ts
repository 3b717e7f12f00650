import type { LatencyHistogram } from "./latency-histogram.ts";

const BAR_WIDTH = 40;
const MICROSECONDS_IN_MS = 1000;
/** Of every power of ten. */
const STEPS = [1, 2, 5] as const;

interface Bin {
  readonly upToUs: number;
  readonly count: number;
}

/** The distribution as bars: so many took up to 1 ms, so many up to 2, 5, 10 and so on. Not of an empty one. */
export function histogramLines(histogram: LatencyHistogram): readonly string[] {
  const bins = binsOf(histogram);
  const labels = bins.map(({ upToUs }) => `${(upToUs / MICROSECONDS_IN_MS).toLocaleString("en")} ms`);
  const counts = bins.map(({ count }) => count.toLocaleString("en"));
  const labelWidth = Math.max(...labels.map(({ length }) => length));
  const countWidth = Math.max(...counts.map(({ length }) => length));
  const most = Math.max(...bins.map(({ count }) => count));
  return bins.map(({ count }, at) => {
    // What was seen once is not to look like never.
    const bar = "#".repeat(Math.ceil((count / most) * BAR_WIDTH));
    const label = (labels[at] ?? "").padStart(labelWidth);
    return `up to ${label}  ${(counts[at] ?? "").padStart(countWidth)}  ${bar}`.trimEnd();
  });
}

/** From the first to the last that holds something; without holes, so that a gap shows. */
function binsOf(histogram: LatencyHistogram): readonly Bin[] {
  const { buckets, maxUs } = histogram.toRecord();
  const bins: Bin[] = [];
  let at = 0;
  for (const upToUs of edges()) {
    let count = 0;
    for (let bucket = buckets[at]; bucket !== undefined; bucket = buckets[at]) {
      // A bucket's end may lie a little beyond all that it holds.
      if (Math.min(bucket.upToUs, maxUs) > upToUs) break;
      count += bucket.count;
      at += 1;
    }
    if (count > 0 || bins.length > 0) bins.push({ upToUs, count });
    if (at === buckets.length) return bins;
  }
  return bins;
}

/** 1, 2, 5, 10, 20, 50 … microseconds, without end. */
function* edges(): Generator<number> {
  for (let power = 1; ; power *= 10) for (const step of STEPS) yield step * power;
}
