import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import type { Command } from "../../src/kv/command.ts";
import { SECTION_LENGTH } from "../../src/kv/kv-state.ts";
import { RETRY_WINDOW_CAPACITY } from "../../src/kv/retry-window.ts";
import { SESSION_CAPACITY } from "../../src/kv/sessions.ts";
import { KvStateMachine } from "../../src/kv/state-machine.ts";
import { anyText, collidingLog, put } from "./command-arbitrary.ts";
import { applyAll, loaded, machineAfter, machineFrom, sectionsOf } from "./machines.ts";

const capacities = fc.tuple(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 4 }));

/** Many keys and names, so that a state has several sections of each kind. */
function largeLog(count: number): readonly Command[] {
  return Array.from({ length: count }, (_, n) =>
    put(`key ${n}`, `${n}`.padEnd(100, "."), { request: [n, 1], routed: [n % 2000, n + 1, 1] }),
  );
}

function firstSection(requests: number, sessions: number): string {
  return `{"retryCapacity":${requests},"sessionCapacity":${sessions},"expiredSessions":0}`;
}

describe("a frozen state", () => {
  test("S4: is that of its moment, whatever is written between one section and the next", () => {
    const before = largeLog(5000);
    const expected = machineAfter(before);
    const machine = machineAfter(before);
    const frozen = machine.freeze();
    const sections: string[] = [];
    let writes = 0;
    for (const section of frozen.sections()) {
      sections.push(section);
      for (let n = 0; n < 400; n += 1, writes += 1) {
        const key = writes % 3 === 0 ? `new ${writes}` : `key ${(writes * 7919) % 5000}`;
        applyAll(machine, [
          put(key, `late ${n}`, {
            request: [writes % 7000, 1],
            routed: [writes % 3000, writes + 6000, writes + 1],
          }),
        ]);
      }
    }
    frozen.release();
    expect(sections.length).toBeGreaterThan(10);
    expect(frozen.appliedIndex).toBe(5000);
    expect(frozen.size).toBe(5000);
    const copy = machineFrom(sections, 5000);
    expect(copy.digest()).toBe(expected.digest());
    expect([...copy.entries()]).toEqual([...expected.entries()]);
    expect(sections).toEqual([...sectionsOf(expected)]);
  });

  test("S4: of any log, with any writes before it is read, comes back as it was", () => {
    fc.assert(
      fc.property(collidingLog, collidingLog, capacities, (log, later, capacity) => {
        const machine = machineAfter(log, ...capacity);
        const frozen = machine.freeze();
        applyAll(machine, later);
        const copy = machineFrom(frozen.sections(), log.length);
        frozen.release();
        const expected = machineAfter(log, ...capacity);
        expect(copy.digest()).toBe(expected.digest());
        expect([...copy.entries()]).toEqual([...expected.entries()]);
      }),
      { numRuns: 300 },
    );
  });

  test("S4: is read from its start by every call, each reader on its own", () => {
    const machine = machineAfter(largeLog(2000));
    const frozen = machine.freeze();
    const expected = [...frozen.sections()];
    const slow: string[] = [];
    for (const section of frozen.sections()) {
      slow.push(section);
      applyAll(machine, [put("key 7", "late")]);
      expect([...frozen.sections()].length).toBe(expected.length);
    }
    expect(slow).toEqual(expected);
  });

  test("S4: is one at a time, not read after its release, and can be followed by another", () => {
    const machine = machineAfter([put("k", "A")]);
    const first = machine.freeze();
    expect(() => machine.freeze()).toThrow("one frozen state at a time");
    first.release();
    first.release();
    expect(() => first.sections()).toThrow("read before it is released");
    applyAll(machine, [put("k", "B")]);
    const second = machine.freeze();
    first.release();
    applyAll(machine, [put("k", "C")]);
    expect(loaded(second.sections(), 2).data).toEqual(new Map([["k", "B"]]));
  });

  test("S4: stays readable when its machine is restored to another state, which can be frozen too", () => {
    const machine = machineAfter([put("k", "A")]);
    const old = machine.freeze();
    machine.restore(loaded(sectionsOf(machineAfter([put("k", "B"), put("l", "B")])), 2));
    const young = machine.freeze();
    applyAll(machine, [put("k", "C")]);
    expect(loaded(old.sections(), 1).data).toEqual(new Map([["k", "A"]]));
    old.release();
    expect([...loaded(young.sections(), 2).data]).toEqual([
      ["k", "B"],
      ["l", "B"],
    ]);
  });

  test("S5: of nothing is one section that says how much is remembered", () => {
    expect(sectionsOf(new KvStateMachine(5, 2))).toEqual([firstSection(5, 2)]);
    expect(sectionsOf(new KvStateMachine())).toEqual([firstSection(RETRY_WINDOW_CAPACITY, SESSION_CAPACITY)]);
  });

  test("S5: has sections of bounded length, one line each", () => {
    const sections = sectionsOf(machineAfter(largeLog(4000)));
    const kinds = sections.map((section) => /^\{"(\w+)":/.exec(section)?.[1]);
    expect([...new Set(kinds)]).toEqual(["retryCapacity", "data", "requests", "routedCalls", "sessions"]);
    for (const section of sections) expect(section.length).toBeLessThan(2 * SECTION_LENGTH);
    for (const section of sections) expect(section).not.toContain("\n");
  });

  test("I1: keeps keys and values of any characters", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(anyText, anyText), { maxLength: 30 }), (pairs) => {
        const machine = machineAfter(pairs.map(([key, value]) => put(key, value)));
        const sections = sectionsOf(machine).map((section) => Buffer.from(section).toString());
        expect([...loaded(sections, pairs.length).data]).toEqual([...new Map(pairs)]);
      }),
    );
  });
});

describe("a restored machine", () => {
  test("C1, C3: decides on every later write as the one that never stopped, and ends with the same sections", () => {
    fc.assert(
      fc.property(collidingLog, collidingLog, capacities, (log, later, capacity) => {
        const machine = machineAfter(log, ...capacity);
        const copy = machineFrom(sectionsOf(machine), log.length);
        for (const command of later) {
          const index = machine.appliedIndex + 1;
          if (command === null) for (const each of [machine, copy]) each.skip(index);
          else expect(copy.apply(index, command)).toEqual(machine.apply(index, command));
        }
        expect(copy.digest()).toBe(machine.digest());
        expect(sectionsOf(copy)).toEqual([...sectionsOf(machine)]);
      }),
      { numRuns: 300 },
    );
  });

  test("P8: takes over data, retries, index and digest together", () => {
    const machine = machineAfter([put("old", "A", { request: [1, 1] }), null]);
    machine.digest();
    const source = machineAfter([put("a", "A"), put("b", "B", { request: [2, 2] }), null]);
    machine.restore(loaded(sectionsOf(source), 3));
    expect(machine.appliedIndex).toBe(3);
    expect(machine.get("old")).toBeUndefined();
    expect([...machine.entries()]).toEqual([...source.entries()]);
    expect(machine.digest()).toBe(source.digest());
    expect(machine.apply(4, put("b", "B", { request: [2, 2] })).kind).toBe("repeated");
    expect(machine.apply(5, put("old", "A", { request: [1, 1] })).kind).toBe("applied");
  });

  test("S3: never goes back", () => {
    const machine = machineAfter([null, null, put("k", "A")]);
    const older = loaded(sectionsOf(machineAfter([put("k", "B")])), 1);
    expect(() => machine.restore(older)).toThrow("state 1 restored over entry 3");
    expect(machine.get("k")).toBe("A");
  });
});
