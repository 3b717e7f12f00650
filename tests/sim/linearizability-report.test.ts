import { describe, expect, test } from "bun:test";

import { defined } from "../../src/base/assert.ts";
import { History, describeOperation } from "../../src/sim/history.ts";
import { checkLinearizability, type Verdict } from "../../src/sim/linearizability.ts";
import { PendingAccesses, StepBudget } from "../../src/sim/pending-accesses.ts";
import { Random } from "../../src/sim/random.ts";
import { registerOf, type RegisterValue } from "../../src/sim/register-access.ts";
import { VisitedStates } from "../../src/sim/visited-states.ts";
import { generateHistory, withWrongRead, type HistoryOptions } from "./generated-history.ts";
import { parseHistory } from "./history-notation.ts";

/** 5,000 operations on one key by 20 clients, each put with a value of its own. */
const LARGE: HistoryOptions = {
  operationCount: 5_000,
  clientCount: 20,
  valueCount: null,
  unknownShare: 0.05,
  putShare: 0.5,
  swapShare: 0,
  maxDelay: 100,
};

function explanationOf(verdict: Verdict): readonly string[] {
  return verdict.kind === "violation" ? verdict.explanation : [];
}

describe("an explanation", () => {
  test("Simulation: names the operation that cannot be, the order before it, and what stands in the way", () => {
    const verdict = checkLinearizability(
      parseHistory("a: put 1 [0,5]  b: put 2 [10,15]  c: get 1 [20,25]  a: put 3 [30,35]  b: get 3 [40,45]"),
    );
    expect(verdict).toEqual({
      kind: "violation",
      key: "x",
      explanation: [
        `key "x" is linearizable until this completes:`,
        `  c: get -> "1" [20, 25]`,
        `The order that goes furthest places 1 operation:`,
        `  a: put "1" [0, 5]`,
        `Then the key holds "1", and these cannot come next:`,
        `  b: put "2" [10, 15]: would overwrite "1", which others still need`,
        `  c: get -> "1" [20, 25]: comes after b: put "2" [10, 15]`,
      ],
    });
  });

  test("Simulation: says of a value from nowhere that nothing wrote it", () => {
    const verdict = checkLinearizability(parseHistory("a: put 1 [0,5]  b: put 7 [0,!]  c: get 7 [6,8]"));
    expect(explanationOf(verdict).at(-1)).toBe(`  c: get -> "7" [6, 8]: nothing is left to write "7"`);
  });

  test("Simulation: stays short and finds the one wrong answer in thousands of operations", () => {
    const before = generateHistory(new Random(1), LARGE);
    const wrong = parseHistory(
      "z: put old [200000,200001]  z: put new [200002,200003]  z: get old [200004,200005]",
    );
    const after = Array.from({ length: 2_000 }, (_, i) => `z: put later${i} [${300_000 + i},${300_002 + i}]`);
    const lines = explanationOf(
      checkLinearizability([...before, ...wrong, ...parseHistory(after.join(" "))]),
    );
    expect(lines.slice(0, 2)).toEqual([
      `key "x" is linearizable until this completes:`,
      `  z: get -> "old" [200004, 200005]`,
    ]);
    expect(lines.length).toBeLessThan(35);
  });

  test("I1: shows strings that would break a line, and long ones, in one short line", () => {
    const history = new History();
    history.put(
      { client: "a", key: "x\n", invokedAt: 0 },
      `\n"${"long".repeat(100)}`,
    )({ kind: "ok", completedAt: 1 });
    history.get({ client: "a", key: "x\n", invokedAt: 2 })({ kind: "ok", completedAt: 3, value: null });
    const lines = explanationOf(checkLinearizability(history.operations));
    expect(lines.length).toBeGreaterThan(4);
    for (const line of lines) expect(line).toMatch(/^.{1,120}$/);
  });

  test("Simulation: is the same every time", () => {
    const operations = parseHistory("a: put 1 [0,9]  b: put 2 [0,9]  c: get 1 [10,11]  d: get 2 [12,13]");
    expect(checkLinearizability(operations)).toEqual(checkLinearizability(operations));
    expect(explanationOf(checkLinearizability(operations))).not.toEqual([]);
  });
});

describe("the budget", () => {
  test("Simulation: a check that is not finished is undecided, not passed", () => {
    const operations = generateHistory(new Random(1), LARGE);
    expect(checkLinearizability(operations, { maxSteps: 1_000 })).toEqual({ kind: "undecided", key: "x" });
  });

  test("Simulation: a violation on one key outweighs an undecided one", () => {
    const undecided = generateHistory(new Random(1), LARGE);
    const wrong = parseHistory("a: get y=1 [0,1]");
    const verdict = checkLinearizability([...undecided, ...wrong], { maxSteps: 1_000 });
    expect(verdict).toMatchObject({ kind: "violation", key: "y" });
  });

  for (const [what, options, stepsPerOperation] of [
    ["20 clients, 5 % unknown", LARGE, 100],
    ["50 clients, 20 % unknown", { ...LARGE, clientCount: 50, unknownShare: 0.2 }, 300],
    ["values that repeat", { ...LARGE, valueCount: 10 }, 1_000],
    [
      "values that repeat, 50 clients, 20 % unknown",
      { ...LARGE, valueCount: 10, clientCount: 50, unknownShare: 0.2 },
      3_000,
    ],
    ["swaps of values that repeat", { ...LARGE, valueCount: 5, swapShare: 0.3 }, 1_000],
  ] as const) {
    test(`Simulation: thousands of operations on one key take few steps each: ${what}`, () => {
      for (let seed = 0; seed < 3; seed += 1) {
        const operations = generateHistory(new Random(seed), options);
        const verdict = checkLinearizability(operations, { maxSteps: stepsPerOperation * operations.length });
        expect(verdict).toEqual({ kind: "linearizable" });
      }
    });
  }

  test("Simulation: where values are distinct, a violation takes few steps too", () => {
    for (let seed = 0; seed < 10; seed += 1) {
      const random = new Random(seed);
      const wrong = withWrongRead(random, generateHistory(random, LARGE), String(random.int(0, 4_999)));
      expect(checkLinearizability(wrong ?? [], { maxSteps: 500_000 }).kind).toBe("violation");
    }
    const pairs = Array.from({ length: 40 }, (_, i) => `p${i}: put ${i} [0,900]  g${i}: get ${i} [0,900]`);
    const wrong = "z: put old [100,101]  z: put new [102,103]  z: get old [104,105]";
    const verdict = checkLinearizability(parseHistory(`${pairs.join(" ")} ${wrong}`), { maxSteps: 50_000 });
    expect(verdict.kind).toBe("violation");
  });

  test("Simulation: a value from nowhere takes few steps even where values repeat", () => {
    const operations = generateHistory(new Random(1), { ...LARGE, valueCount: 10 });
    const wrong = withWrongRead(new Random(1), operations, "from nowhere");
    expect(checkLinearizability(wrong ?? [], { maxSteps: 500_000 }).kind).toBe("violation");
  });

  test("Simulation: hundreds of unknown puts of few values, all open at once, are judged within the budget", () => {
    const history = new History();
    const put = (i: number) => history.put({ client: `u${i}`, key: "x", invokedAt: 0 }, String(i % 3));
    for (let i = 0; i < 300; i += 1) put(i);
    for (let i = 0; i < 300; i += 1) {
      const get = history.get({ client: "r", key: "x", invokedAt: 2 * i });
      get({ kind: "ok", completedAt: 2 * i + 1, value: String((i * 7) % 3) });
    }
    expect(checkLinearizability(history.operations)).toEqual({ kind: "linearizable" });
    const last = history.get({ client: "r", key: "x", invokedAt: 1_000 });
    last({ kind: "ok", completedAt: 1_001, value: null });
    expect(checkLinearizability(history.operations).kind).toBe("violation");
  });
});

describe("the states a search remembers", () => {
  test("Simulation: one with fewer unknown writes used up makes up for one with more, and for no other", () => {
    const text =
      "a: put 1 [0,?]  b: put 2 [0,?]  c: put 1 [0,9]  c: put 2 [0,9]  d: get 1 [5,9]  d: get 2 [5,9]";
    const budget = new StepBudget(10_000);
    const { accesses, initial } = registerOf(parseHistory(text));
    const states = new VisitedStates(budget);
    const pending = new PendingAccesses(accesses, budget);
    const [one, two, known] = [0, 1, 2] as const;
    const isNew = (placed: readonly number[], held: RegisterValue | null = null): boolean => {
      pending.undo(0);
      for (const i of placed) pending.place(defined(accesses[i], "an access"));
      return states.add(pending, held);
    };
    expect(isNew([one])).toBe(true);
    expect(isNew([one])).toBe(false);
    expect(isNew([two])).toBe(true);
    expect(isNew([one, two])).toBe(false);
    expect(isNew([one], initial)).toBe(true);
    expect(isNew([one, known])).toBe(true);
    expect(isNew([])).toBe(true);
  });
});

describe("a history", () => {
  test("Simulation: an operation that is never settled is unknown, or unanswered", () => {
    const history = new History();
    history.put({ client: "a", key: "x", invokedAt: 0 }, "1");
    history.get({ client: "b", key: "x", invokedAt: 1 });
    history.compareAndSwap({ client: "c", key: "x", invokedAt: 2 }, null, "2");
    expect(history.operations.map(describeOperation)).toEqual([
      `a: put "1" unknown [0, …)`,
      `b: get unanswered [1, …)`,
      `c: swap missing for "2" unknown [2, …)`,
    ]);
  });

  test("Simulation: to settle an operation twice, or before it was invoked, is a bug", () => {
    const history = new History();
    const settle = history.put({ client: "a", key: "x", invokedAt: 5 }, "1");
    settle({ kind: "ok", completedAt: 4 });
    expect(() => settle({ kind: "failed" })).toThrow("settled twice");
    expect(() => checkLinearizability(history.operations)).toThrow("impossible times");
  });
});
