import { describe, expect, test } from "bun:test";
import { failoverGaps, type FailoverTimes } from "./failover-gaps.ts";

const ALWAYS = [{ atMs: 0, isConnected: true }];

function gaps(times: Partial<FailoverTimes>): number[] {
  const all = { losses: [], acknowledged: [], connectivity: ALWAYS, endMs: 20_000, ...times };
  return failoverGaps(all, 2000);
}

describe("the time without a write when a leader is lost", () => {
  test("it reaches from the last put before to the first one after", () => {
    expect(gaps({ losses: [1000], acknowledged: [900, 990, 1400, 1410] })).toEqual([410]);
  });

  test("puts that were acknowledged after the loss, and before the pause, do not shorten it", () => {
    expect(gaps({ losses: [1000], acknowledged: [990, 1005, 1010, 1700, 1710] })).toEqual([690]);
  });

  test("a pause that begins long afterwards is not this loss's", () => {
    expect(gaps({ losses: [1000], acknowledged: [990, 1200, 3900, 4100, 9000] })).toEqual([2700]);
    expect(gaps({ losses: [1000], acknowledged: [990, 1200, 2500, 3990, 4100, 9000] })).toEqual([1490]);
  });

  test("the next loss has its own", () => {
    expect(gaps({ losses: [1000, 2000], acknowledged: [990, 1300, 1990, 2800] })).toEqual([690, 810]);
  });

  test("a loss that left no connected majority is not counted, nor one whose majority was soon lost, too", () => {
    const never = [...ALWAYS, { atMs: 1000, isConnected: false }];
    expect(gaps({ losses: [1000], acknowledged: [990, 1500], connectivity: never })).toEqual([]);
    const soon = [...ALWAYS, { atMs: 1200, isConnected: false }];
    expect(gaps({ losses: [1000], acknowledged: [990, 1500], connectivity: soon })).toEqual([]);
  });

  test("a majority that had its time, and took no write, is counted with all that time", () => {
    const long = [...ALWAYS, { atMs: 4000, isConnected: false }];
    expect(gaps({ losses: [1000], acknowledged: [990, 5000], connectivity: long })).toEqual([3010]);
  });
});
