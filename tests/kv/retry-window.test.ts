import { describe, expect, test } from "bun:test";
import { FifoMap } from "../../src/kv/fifo-map.ts";
import { RETRY_WINDOW_CAPACITY } from "../../src/kv/retry-window.ts";
import { KvStateMachine } from "../../src/kv/state-machine.ts";
import { put } from "./command-arbitrary.ts";

/** Applies the puts one after the other and tells what became of each. */
function results(puts: readonly ReturnType<typeof put>[], capacity?: number): string[] {
  const machine = new KvStateMachine(capacity);
  return puts.map((command, i) => machine.apply(i + 1, command).kind);
}

const request = [1, 1] as const;

/** The n-th call of a frontend. */
const routed = (n: number) => [7, n] as const;

/** A write under a pair of its own. */
const write = (n: number, value = "A") => put("k", value, { request: [1, n] });

/** A write that only a frontend has named. */
const call = (n: number) => put("k", "A", { routed: routed(n) });

describe("a request", () => {
  test("C1: the same pair with the same key and value is applied once, however often it comes", () => {
    const write = put("k", "A", { request });
    expect(results([write, write, write])).toEqual(["applied", "repeated", "repeated"]);
  });

  test("C1: put A, put B, put A under one pair all take effect", () => {
    const a = put("k", "A", { request });
    const b = put("k", "B", { request });
    expect(results([a, b, a, a])).toEqual(["applied", "applied", "applied", "repeated"]);
  });

  test("C1: one pair with another key is a write of its own", () => {
    expect(results([put("k", "A", { request }), put("l", "A", { request })])).toEqual(["applied", "applied"]);
  });

  test("C1: pairs do not run into one another, nor into routed calls of the same numbers", () => {
    const names = [
      { request: [1, 23] },
      { request: [12, 3] },
      { request: [-1, 23] },
      { routed: [1, 23] },
    ] as const;
    const puts = names.map((name) => put("k", "A", name));
    expect(results(puts)).toEqual(["applied", "applied", "applied", "applied"]);
  });

  test("C1: a write without any name is never a repeat", () => {
    expect(results([put("k", "A"), put("k", "A")])).toEqual(["applied", "applied"]);
  });

  test("C1: where the key ends is part of what is the same", () => {
    const splits = [
      ["a", "bc"],
      ["ab", "c"],
      ["", "abc"],
      ['a","b', "c"],
      ["a", 'b","c'],
    ] as const;
    const puts = splits.map(([key, value]) => put(key, value, { request }));
    expect(new Set(results(puts))).toEqual(new Set(["applied"]));
  });

  test("I1: values that differ only in a lone surrogate are different writes", () => {
    const values = ["\ud800", "\ud801", "\udc00", "\ufffd", "\ud800\udc00", "\\ud800", ""];
    expect(new Set(results(values.map((value) => put("k", value, { request }))))).toEqual(
      new Set(["applied"]),
    );
  });
});

describe("a routed call", () => {
  test("C1: sent again by the frontend, it is a repeat although its pair has moved on", () => {
    const machine = new KvStateMachine();
    const first = put("k", "A", { request, routed: routed(1) });
    expect(machine.apply(1, first).kind).toBe("applied");
    expect(machine.apply(2, put("k", "B", { request, routed: routed(2) })).kind).toBe("applied");
    expect(machine.apply(3, first).kind).toBe("repeated");
    expect(machine.get("k")).toBe("B");
  });

  test("C1: a client's own retry comes as another routed call and is a repeat", () => {
    const puts = [1, 2].map((call) => put("k", "A", { request, routed: routed(call) }));
    expect(results(puts)).toEqual(["applied", "repeated"]);
  });

  test("C1: a fresh write under the same pair, after another one, is applied", () => {
    const values = ["A", "B", "A"];
    const puts = values.map((value, i) => put("k", value, { request, routed: routed(i) }));
    expect(results(puts)).toEqual(["applied", "applied", "applied"]);
  });

  test("C1: one that was a repeat when it came first is a repeat for ever", () => {
    const retry = put("k", "A", { request, routed: routed(2) });
    const puts = [put("k", "A", { request, routed: routed(1) }), retry, put("k", "B", { request }), retry];
    expect(results(puts)).toEqual(["applied", "repeated", "applied", "repeated"]);
  });

  test("C1: without a request it is told by its own name alone", () => {
    const elsewhere = put("k", "A", { routed: [8, 1] });
    expect(results([call(1), call(1), call(2), elsewhere])).toEqual([
      "applied",
      "repeated",
      "applied",
      "applied",
    ]);
  });
});

describe("the window", () => {
  test("C3: the oldest name is forgotten, and only when a new one needs its place", () => {
    expect(results([write(1), write(2), write(1), write(3), write(1)], 2)).toEqual([
      "applied",
      "applied",
      "repeated", // Two names fit.
      "applied",
      "applied", // 3 took the place of 1, which the repeat had not moved.
    ]);
  });

  test("C3: a new write under an old pair makes the pair the newest", () => {
    expect(results([write(1), write(2), write(1, "B"), write(3), write(1, "B"), write(2)], 2)).toEqual([
      "applied",
      "applied",
      "applied",
      "applied",
      "repeated",
      "applied",
    ]);
  });

  test("C3: a routed call that repeats does not move either", () => {
    expect(results([call(1), call(2), call(1), call(3), call(1)], 2)).toEqual([
      "applied",
      "applied",
      "repeated",
      "applied",
      "applied",
    ]);
  });

  test("C3: requests and routed calls do not take each other's places", () => {
    const calls = [1, 2, 3].map((n) => put("k", "B", { routed: [7, n] }));
    expect(results([write(1), ...calls, write(1)], 2).at(-1)).toBe("repeated");
  });

  test("C3: the full window remembers exactly as many writes as it says", () => {
    const machine = new KvStateMachine();
    const last = RETRY_WINDOW_CAPACITY + 1;
    for (let n = 1; n <= last; n += 1) machine.apply(n, write(n));
    expect(machine.apply(last + 1, write(2)).kind).toBe("repeated");
    expect(machine.apply(last + 2, write(1)).kind).toBe("applied");
  });
});

describe("a FifoMap", () => {
  test("C3: gives its names in the order in which they were set last", () => {
    const map = new FifoMap<number>(3);
    for (const [i, name] of ["a", "b", "c", "b", "a", "d", "d"].entries()) map.set(name, i);
    expect([...map.entries()]).toEqual([
      ["b", 3],
      ["a", 4],
      ["d", 6],
    ]);
    expect(map.size).toBe(3);
    expect(map.get("c")).toBeUndefined();
  });

  test("C3: with room for one it holds the newest", () => {
    const map = new FifoMap<number>(1);
    for (const [i, name] of ["a", "a", "b", "c"].entries()) map.set(name, i);
    expect([...map.entries()]).toEqual([["c", 3]]);
  });

  test("C3: room for none is a bug", () => {
    expect(() => new FifoMap(0)).toThrow("a capacity of at least 1, not 0");
  });
});
