/** How long clients cannot write when a leader is lost while a majority goes on. */

/** A majority of the voters became connected, or is so no longer. */
export interface Moment {
  readonly atMs: number;
  readonly isConnected: boolean;
}

/** Times of one clock, in milliseconds. */
export interface FailoverTimes {
  /** When leaders were lost. */
  readonly losses: readonly number[];
  /** When puts were acknowledged, to any client. */
  readonly acknowledged: readonly number[];
  /** Ascending. */
  readonly connectivity: readonly Moment[];
  readonly endMs: number;
}

/** A later pause has another cause. */
const WINDOW_MS = 3000;

/**
 * For each loss the longest time without an acknowledged put that began before the end of WINDOW_MS after it, and
 * that is not the next loss's. Left out are losses after which there was no connected majority, or not until a put was
 * acknowledged; where there was one for all of a longer time than `limitMs`, that time counts as the gap.
 */
export function failoverGaps(
  { losses, acknowledged, connectivity, endMs }: FailoverTimes,
  limitMs: number,
): number[] {
  const puts = acknowledged.toSorted((a, b) => a - b);
  const ascending = losses.toSorted((a, b) => a - b);
  return ascending.flatMap((lossMs, at) => {
    const untilMs = connectedUntil(connectivity, lossMs, endMs);
    if (untilMs === null) return [];
    const nextLossMs = ascending[at + 1] ?? Infinity;
    let fromMs = lossMs;
    let longestMs = 0;
    for (const putMs of puts) {
      if (putMs <= lossMs) {
        fromMs = putMs;
        continue;
      }
      if (fromMs > lossMs + WINDOW_MS) break;
      if (fromMs > lossMs && putMs > nextLossMs) break;
      if (putMs > untilMs) {
        if (untilMs - fromMs > limitMs) longestMs = Math.max(longestMs, untilMs - fromMs);
        break;
      }
      longestMs = Math.max(longestMs, putMs - fromMs);
      fromMs = putMs;
    }
    return longestMs === 0 ? [] : [longestMs];
  });
}

/** When the connected majority ends that there was at `atMs`; null: there was none. */
function connectedUntil(connectivity: readonly Moment[], atMs: number, endMs: number): number | null {
  const before = connectivity.findLast((moment) => moment.atMs <= atMs);
  if (before?.isConnected !== true) return null;
  return connectivity.find((moment) => moment.atMs > atMs && !moment.isConnected)?.atMs ?? endMs;
}
