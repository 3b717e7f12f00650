import { expect, test } from "bun:test";
import { Random } from "../../src/sim/random.ts";

function draw(random: Random, count = 200): readonly number[] {
  return Array.from({ length: count }, () => random.int(0, 2 ** 32 - 1));
}

test("the same seed draws the same numbers; another seed or stream draws others", () => {
  const numbers = draw(new Random(7, 1));
  expect(draw(new Random(7, 1))).toEqual([...numbers]);
  for (const other of [new Random(8, 1), new Random(7, 2), new Random(7 + 2 ** 32, 1)]) {
    expect(draw(other)).not.toEqual([...numbers]);
  }
});

test("int draws every number of its range and none beside it", () => {
  const random = new Random(1);
  const drawn = new Set(Array.from({ length: 500 }, () => random.int(-2, 3)));
  expect([...drawn].toSorted((a, b) => a - b)).toEqual([-2, -1, 0, 1, 2, 3]);
});

test("a fault that is switched off draws nothing, so that the rest of the run stays the same", () => {
  const [with0, without] = [new Random(3), new Random(3)];
  expect(with0.chance(0)).toBe(false);
  expect(draw(with0)).toEqual([...draw(without)]);
  expect(new Random(3).chance(1)).toBe(true);
});

test("shuffle keeps everything, once; skewed stays within its bounds", () => {
  const random = new Random(5);
  const list = Array.from({ length: 20 }, (_, i) => i);
  expect(random.shuffle(list).toSorted((a, b) => a - b)).toEqual(list);
  const latencies = Array.from({ length: 500 }, () => random.skewed(10, 20));
  expect(Math.min(...latencies)).toBeGreaterThanOrEqual(10);
  expect(Math.max(...latencies)).toBeLessThanOrEqual(20);
});
