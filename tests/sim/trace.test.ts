import { expect, test } from "bun:test";
import { Trace, type TraceEvent } from "../../src/sim/trace.ts";

const EVENT: TraceEvent = { atUs: 5, who: "server 1", what: "starts" };

function hashOf(...events: readonly TraceEvent[]): string {
  const trace = new Trace(null);
  for (const event of events) trace.add(event);
  return trace.hash;
}

test("the hash is that of every event: when, what, and in which order", () => {
  const other: TraceEvent = { ...EVENT, what: "is killed" };
  expect(hashOf(EVENT, other)).toBe(hashOf(EVENT, other));
  const hashes = [
    hashOf(),
    hashOf(EVENT),
    hashOf(other),
    hashOf({ ...EVENT, atUs: 6 }),
    hashOf(EVENT, other),
    hashOf(other, EVENT),
    hashOf(EVENT, EVENT),
  ];
  expect(new Set(hashes).size).toBe(hashes.length);
});

test("the last events are kept, oldest first", () => {
  const trace = new Trace(null);
  for (let atUs = 1; atUs <= 10_000; atUs += 1) trace.add({ ...EVENT, atUs });
  expect(trace.last(3).map(({ atUs }) => atUs)).toEqual([9998, 9999, 10_000]);
  expect(trace.last(1_000_000).at(-1)?.atUs).toBe(10_000);
});
