import { expect, test } from "bun:test";

import { History, describeOperation, type Operation, type Value } from "../../src/sim/history.ts";
import { checkLinearizability } from "../../src/sim/linearizability.ts";
import { Random } from "../../src/sim/random.ts";
import { generateHistory, withWrongRead, type HistoryOptions } from "./generated-history.ts";
import { isLinearizable } from "./linearizability-double.ts";

const HISTORIES = 6_000;

const SMALL: HistoryOptions = {
  operationCount: 7,
  clientCount: 4,
  valueCount: 3,
  unknownShare: 0.2,
  putShare: 0.45,
  swapShare: 0,
  maxDelay: 4,
};

interface Tally {
  linearizable: number;
  violation: number;
}

/** Compares checker and double, and counts what they say. */
function compare(operations: readonly Operation[], tally: Tally): void {
  const { kind } = checkLinearizability(operations);
  const expected = isLinearizable(operations) ? "linearizable" : "violation";
  if (kind !== expected) {
    throw new Error(`${kind}, not ${expected}:\n${operations.map(describeOperation).join("\n")}`);
  }
  tally[expected] += 1;
}

function expectBothVerdicts({ linearizable, violation }: Tally, atLeast: number): void {
  expect(Math.min(linearizable, violation)).toBeGreaterThan(atLeast * (linearizable + violation));
}

/** Anything: any interval, any answer. */
function anyHistory(
  random: Random,
  keys: readonly [string, ...string[]],
  swaps: boolean,
): readonly Operation[] {
  const history = new History();
  const count = random.int(2, 7);
  for (let i = 0; i < count; i += 1) {
    const invokedAt = random.int(0, 10);
    const invocation = { client: `c${i}`, key: random.pick(keys), invokedAt };
    const completedAt = invokedAt + random.int(0, 8);
    const value = String(random.int(1, 3));
    const seen: Value = random.chance(0.15) ? null : String(random.int(1, 3));
    const draw = random.int(1, swaps ? 14 : 10);
    if (draw <= 4) history.get(invocation)({ kind: "ok", completedAt, value: seen });
    else if (draw <= 7) history.put(invocation, value)({ kind: "ok", completedAt });
    else if (draw <= 9) history.put(invocation, value);
    else if (draw === 10) history.put(invocation, value)({ kind: "failed" });
    else if (draw === 11) history.compareAndSwap(invocation, seen, value);
    else if (draw <= 13) history.compareAndSwap(invocation, seen, value)({ kind: "swapped", completedAt });
    else {
      const answer = { kind: "notSwapped", completedAt, value: String(random.int(1, 3)) } as const;
      history.compareAndSwap(invocation, seen, value)(answer);
    }
  }
  return history.operations;
}

for (const [what, keys, swaps] of [
  ["puts and gets of one key", ["x"], false],
  ["puts and gets of two keys", ["x", "y"], false],
  ["puts, gets and swaps", ["x"], true],
] as const) {
  test(`Simulation: random small histories have the verdict of the brute-force double: ${what}`, () => {
    const tally = { linearizable: 0, violation: 0 };
    for (let seed = 0; seed < HISTORIES; seed += 1) compare(anyHistory(new Random(seed), keys, swaps), tally);
    expectBothVerdicts(tally, 0.25);
  }, 30_000);
}

for (const swapShare of [0, 0.3]) {
  const what = swapShare === 0 ? "puts and gets" : "puts, gets and swaps";
  test(`Simulation: what a real register does is linearizable, and a corrupted read is judged as the double does: ${what}`, () => {
    const tally = { linearizable: 0, violation: 0 };
    for (let seed = 0; seed < HISTORIES; seed += 1) {
      const random = new Random(seed, 1);
      const valid = generateHistory(random, { ...SMALL, swapShare, valueCount: random.int(0, 3) || null });
      expect(checkLinearizability(valid)).toEqual({ kind: "linearizable" });
      const wrong = withWrongRead(random, valid, random.chance(0.2) ? null : String(random.int(0, 6)));
      if (wrong !== null) compare(wrong, tally);
    }
    expectBothVerdicts(tally, 0.1);
  }, 30_000);
}
