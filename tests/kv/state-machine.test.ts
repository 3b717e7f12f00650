import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import type { Command } from "../../src/kv/command.ts";
import { RetryWindow } from "../../src/kv/retry-window.ts";
import { digestOf } from "../../src/kv/running-digest.ts";
import { KvStateMachine } from "../../src/kv/state-machine.ts";
import { anyText, collidingLog, collidingCommand, put } from "./command-arbitrary.ts";
import { KvDouble } from "./kv-double.ts";
import { applyAll, machineAfter } from "./machines.ts";

/** Of requests and calls, and of sessions. */
const capacities = [fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 4 })] as const;

function digestAfter(...log: readonly (Command | null)[]): string {
  return machineAfter(log, 2).digest();
}

describe("data", () => {
  test("C4: a missing key is not the empty string", () => {
    const machine = new KvStateMachine();
    expect(machine.get("k")).toBeUndefined();
    machine.apply(1, put("k", ""));
    expect(machine.get("k")).toBe("");
    expect(machine.size).toBe(1);
  });

  test("I1: no key is there before it is set, whatever objects inherit", () => {
    const machine = new KvStateMachine();
    for (const key of ["__proto__", "constructor", "toString", "hasOwnProperty", ""]) {
      expect(machine.get(key)).toBeUndefined();
    }
  });

  test("I1: any key and value come back exactly, and keys that look alike stay apart", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(anyText, anyText), { maxLength: 30 }), (pairs) => {
        const machine = new KvStateMachine();
        applyAll(
          machine,
          pairs.map(([key, value]) => put(key, value)),
        );
        const expected = new Map(pairs);
        expect(machine.size).toBe(expected.size);
        for (const [key, value] of expected) expect(machine.get(key)).toBe(value);
        expect([...machine.entries()]).toEqual([...expected]);
      }),
    );
  });

  test("I1: the largest value comes back exactly, and its retry is known", () => {
    const machine = new KvStateMachine();
    const largest = put("k", "\ud83e\udd9c".repeat(1 << 18), { request: [1, 1] });
    expect(machine.apply(1, largest).kind).toBe("applied");
    expect(machine.apply(2, largest).kind).toBe("repeated");
    expect(machine.get("k") === largest.value).toBe(true);
  });
});

describe("the applied index", () => {
  test("P8: moves by one with every entry, applied, repeated or skipped", () => {
    const machine = new KvStateMachine();
    const write = put("k", "A", { request: [1, 1] });
    expect(machine.appliedIndex).toBe(0);
    applyAll(machine, [null, write, write, null]);
    expect(machine.appliedIndex).toBe(4);
  });

  test("P8: an entry out of order is a bug, and changes nothing", () => {
    const machine = new KvStateMachine();
    machine.skip(1);
    for (const index of [0, 1, 3]) {
      expect(() => machine.apply(index, put("k", "A"))).toThrow(`entry ${index} applied after entry 1`);
      expect(() => machine.skip(index)).toThrow(`entry ${index} applied after entry 1`);
    }
    expect(machine.appliedIndex).toBe(1);
    expect(machine.size).toBe(0);
  });
});

describe("the same log", () => {
  test("C1, C3: gives what the double says, entry by entry, at any capacity", () => {
    fc.assert(
      fc.property(collidingLog, ...capacities, (log, ...capacity) => {
        const machine = new KvStateMachine(...capacity);
        const double = new KvDouble(...capacity);
        for (const [i, command] of log.entries()) {
          if (command === null) machine.skip(i + 1);
          else expect(machine.apply(i + 1, command).kind).toBe(double.apply(i + 1, command));
          expect([...machine.entries()]).toEqual(double.data);
        }
      }),
      { numRuns: 300 },
    );
  });

  test("C3: leaves the same memory as the double, in the same order", () => {
    fc.assert(
      fc.property(
        fc.array(collidingCommand, { maxLength: 60, size: "max" }),
        ...capacities,
        (puts, ...capacity) => {
          const window = new RetryWindow(...capacity);
          const double = new KvDouble(...capacity);
          for (const [i, command] of puts.entries()) {
            window.admit(i + 1, command);
            double.apply(i + 1, command);
          }
          const requests = [...window.requests()].map(([name, { index }]) => ({ name, index }));
          expect(requests).toEqual(double.requests.map(({ name, index }) => ({ name, index })));
          expect([...window.sessions.calls()].map(([, call]) => call)).toEqual(double.calls);
          const sessions = [...window.sessions.sessions()].map(([routerId, session]) => {
            const { pending, released, forgotten, opener, index } = session;
            expect(released).toBe(pending);
            return { routerId: Number(routerId), pending, forgotten, opener, index };
          });
          expect(sessions).toEqual(double.sessions);
          expect(window.sessions.expired).toBe(double.expired);
        },
      ),
    );
  });

  test("C3: gives the same state and digest on every server, whenever the digest is read first", () => {
    fc.assert(
      fc.property(collidingLog, fc.nat({ max: 60 }), (log, firstRead) => {
        const early = new KvStateMachine(4, 2);
        const late = new KvStateMachine(4, 2);
        applyAll(early, log.slice(0, firstRead));
        early.digest();
        applyAll(early, log.slice(firstRead));
        applyAll(late, log);
        expect(early.digest()).toBe(late.digest());
        expect([...early.entries()]).toEqual([...late.entries()]);
      }),
    );
  });
});

describe("the digest", () => {
  test("C3: tells states apart that differ in a value, a key, the memory of retries or the index", () => {
    const states = [
      digestAfter(),
      digestAfter(null),
      digestAfter(put("k", "A")),
      digestAfter(put("k", "B")),
      digestAfter(put("l", "A")),
      digestAfter(put("k", "\ud800")),
      digestAfter(put("k", "\ud801")),
      digestAfter(put("A", "k")),
      digestAfter(put("k", "A", { request: [1, 1] })),
      digestAfter(put("k", "A", { request: [1, 2] })),
      digestAfter(put("k", "A", { routed: [1, 2] })),
      digestAfter(put("k", "A", { routed: [1, 2, 1] })),
      digestAfter(put("k", "A", { routed: [1, 2, 2] })),
    ];
    expect(new Set(states).size).toBe(states.length);
  });

  test("C3: tells apart the order in which the same names are remembered", () => {
    const one = put("k", "A", { request: [1, 1] });
    const two = put("k", "A", { request: [1, 2] });
    expect(digestAfter(one, two)).not.toBe(digestAfter(two, one));
  });

  test("C3: tells apart the order of sessions, and whether one has expired", () => {
    const [one, two, three] = [1, 2, 3].map((router) => put("k", "A", { routed: [router, 1, 1] }));
    if (one === undefined || two === undefined || three === undefined) throw new Error("three puts");
    expect(digestAfter(one, two)).not.toBe(digestAfter(two, one));
    const digests = [2, 3].map((sessions) => machineAfter([one, two, three], 1, sessions).digest());
    expect(digests[0]).not.toBe(digests[1]);
  });

  test("C3: does not depend on the order in which elements are visited", () => {
    const elements = [
      ["a", "1"],
      ["b", "2"],
      ["__proto__", "3"],
    ] as const;
    expect(digestOf(elements)).toBe(digestOf(elements.toReversed()));
    expect(digestOf([])).toBe(0n);
  });
});
