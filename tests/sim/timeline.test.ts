import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { Timeline } from "../../src/sim/timeline.ts";

test("what is due happens in the order of time, and at one moment in the order of the calls", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(50), { maxLength: 200 }), (delays) => {
      const timeline = new Timeline();
      const happened: (readonly [number, number])[] = [];
      delays.forEach((delay, order) =>
        timeline.schedule(delay, () => happened.push([timeline.nowUs, order])),
      );
      for (let action = timeline.next(); action !== null; action = timeline.next()) action();
      const expected = delays.map((delay, order) => [delay, order] as const);
      expect(happened).toEqual(expected.toSorted(([a, i], [b, j]) => a - b || i - j));
      expect(timeline.pending).toBe(0);
    }),
  );
});

test("nothing is early, and nothing is in the past", () => {
  const timeline = new Timeline();
  timeline.schedule(10.2, () => timeline.schedule(-5, () => {}));
  timeline.next()?.();
  expect(timeline.nowUs).toBe(11);
  timeline.next()?.();
  expect(timeline.nowUs).toBe(11);
  expect(timeline.next()).toBeNull();
});
