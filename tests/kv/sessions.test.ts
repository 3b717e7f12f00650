import { describe, expect, test } from "bun:test";
import type { RoutedCall } from "../../src/kv/command.ts";
import { KvStateMachine } from "../../src/kv/state-machine.ts";
import { Sessions, type Admission } from "../../src/kv/sessions.ts";
import { put, routedCall } from "./command-arbitrary.ts";
import { machineFrom, sectionsOf } from "./machines.ts";

type Call = readonly [routerId: number, routerCall: number, pending: number, retried?: "retried"];

/** Gives the calls to a table one after the other and tells what became of each. */
function admissions(calls: readonly Call[], callCapacity = 100, sessionCapacity = 100): readonly string[] {
  const sessions = new Sessions(callCapacity, sessionCapacity);
  return calls.map((call, i) => sessions.admit(i + 1, callOf(call)));
}

function callOf([routerId, routerCall, pending, retried]: Call): RoutedCall {
  return routedCall(routerId, routerCall, pending, retried === "retried");
}

function heldBy(sessions: Sessions): readonly string[] {
  return [...sessions.calls()].map(([name]) => name);
}

describe("a session", () => {
  test("C1: decides as the table in its documentation says, and holds what stands there", () => {
    const sessions = new Sessions(100, 100);
    const rows: readonly (readonly [Call, Admission, string])[] = [
      [[4, 7, 7], "new", "7"],
      [[4, 9, 7], "new", "7 9"],
      [[4, 7, 7, "retried"], "repeated", "7 9"],
      [[4, 8, 7, "retried"], "new", "7 9 8"],
      [[4, 10, 9], "new", "9 10"],
      [[4, 8, 7], "repeated", "9 10"],
    ];
    for (const [i, [call, admission, held]] of rows.entries()) {
      expect([call, sessions.admit(i + 1, callOf(call))]).toEqual([call, admission]);
      const numbers = heldBy(sessions).map((name) => name.replace("4/", ""));
      expect(numbers.join(" ")).toBe(held);
    }
  });

  test("C1: calls below pending are never applied, also those that never were", () => {
    expect(
      admissions([
        [4, 9, 8],
        [4, 7, 7],
        [4, 3, 1, "retried"],
        [4, 8, 8],
      ]),
    ).toEqual(["new", "repeated", "repeated", "new"]);
  });

  test("C1: pending never goes back", () => {
    expect(
      admissions([
        [4, 9, 9],
        [4, 12, 5],
        [4, 8, 5],
      ]),
    ).toEqual(["new", "new", "repeated"]);
  });

  test("C1: another frontend's calls have nothing to do with it", () => {
    const calls: readonly Call[] = [
      [4, 1, 1],
      [5, 1, 1],
      [4, 2, 2],
      [5, 1, 1, "retried"],
      [5, 2, 1],
      [4, 1, 1],
    ];
    expect(admissions(calls)).toEqual(["new", "new", "new", "repeated", "new", "repeated"]);
  });

  test("C1: a call that was sent in vain before any session expired opens its session", () => {
    expect(admissions([[4, 1, 1, "retried"]])).toEqual(["new"]);
  });

  test("C1: holds any number of calls between a slow one and the newest, and lets them go once it has its answer", () => {
    const sessions = new Sessions(10_000, 10);
    for (let n = 2; n <= 5000; n += 1) expect(sessions.admit(n, routedCall(4, n, 1))).toBe("new");
    expect(sessions.admit(5001, routedCall(4, 1, 1, true))).toBe("new");
    expect(heldBy(sessions).length).toBe(5000);
    for (let n = 5001; n <= 5100; n += 1) sessions.admit(n + 1, routedCall(4, n, n));
    expect(heldBy(sessions)).toEqual(["4/5100"]);
  });

  test("I3: a call whose pending leaps takes no longer to apply than others", () => {
    const sessions = new Sessions(10, 10);
    sessions.admit(1, routedCall(4, 1, 1));
    sessions.admit(2, routedCall(4, Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER));
    expect(sessions.admit(3, routedCall(4, 1, 1, true))).toBe("repeated");
    expect(heldBy(sessions)).toEqual([`4/${Number.MAX_SAFE_INTEGER}`]);
  });
});

describe("what is forgotten", () => {
  test("I2: numbers as large as they get are kept and forgotten like others, and can be read again", () => {
    const machine = new KvStateMachine(1, 1);
    const largest = Number.MAX_SAFE_INTEGER;
    for (const [i, router] of [largest, largest, -largest].entries()) {
      machine.apply(i + 1, put("k", "A", { routed: [router, largest - i, largest - 2] }));
      const copy = machineFrom(sectionsOf(machine), i + 1);
      expect(copy.digest()).toBe(machine.digest());
    }
  });

  test("C2: a call that was pushed out is expired, and so are lower ones, but no higher one", () => {
    const calls: readonly Call[] = [
      [4, 2, 1],
      [4, 3, 1],
      [4, 4, 1],
      [4, 2, 1, "retried"],
      [4, 1, 1],
      [4, 5, 1],
    ];
    expect(admissions([...calls, [4, 4, 1, "retried"]], 2)).toEqual([
      "new",
      "new",
      "new", // Pushes 2 out.
      "expired",
      "expired",
      "new",
      "repeated",
    ]);
  });

  test("C3: a session expires when another needs its place, the one whose last new call is the oldest", () => {
    const open: readonly Call[] = [
      [4, 1, 1],
      [5, 1, 1],
      [4, 2, 2],
      [5, 1, 1, "retried"],
      [6, 1, 1],
    ];
    expect(admissions([...open, [5, 2, 1, "retried"], [4, 3, 3, "retried"]], 100, 2)).toEqual([
      "new",
      "new",
      "new",
      "repeated",
      "new", // In the place of 5: its repeat did not count.
      "expired",
      "new",
    ]);
  });

  test("C2: a call held is a repeat also when its session has expired", () => {
    expect(
      admissions(
        [
          [4, 1, 1],
          [5, 1, 1],
          [4, 1, 1, "retried"],
        ],
        100,
        1,
      ).at(-1),
    ).toBe("repeated");
  });

  test("C2: a session that may have been there before tells retries of old calls from those of new ones", () => {
    const expired: readonly Call[] = [
      [4, 7, 5],
      [4, 8, 8],
      [5, 1, 1],
    ];
    const calls: readonly Call[] = [
      [4, 9, 8, "retried"], // Unknown session.
      [4, 12, 8], // Opens it.
      [4, 11, 8, "retried"], // Perhaps applied in the former session.
      [4, 15, 12, "retried"], // It got its number while 12 was under way, perhaps before the opening.
      [4, 14, 8], // Sent for the first time.
      [4, 16, 13, "retried"], // 12 had its answer, so its first sending came after the opening.
    ];
    const all = admissions([...expired, ...calls], 1, 1);
    expect(all.slice(expired.length)).toEqual(["expired", "new", "expired", "expired", "new", "new"]);
  });

  test("C3: what is refused changes nothing", () => {
    const sessions = new Sessions(2, 1);
    for (const [i, call] of (
      [
        [4, 1, 1],
        [5, 2, 1],
        [5, 3, 1],
        [5, 4, 1],
      ] as const
    ).entries()) {
      sessions.admit(i + 1, callOf(call));
    }
    const before = sessions.digests();
    const refused: readonly Call[] = [
      [4, 2, 2, "retried"],
      [5, 2, 1],
      [5, 1, 1, "retried"],
      [5, 4, 4, "retried"],
    ];
    expect(refused.map((call) => sessions.admit(9, callOf(call)))).toEqual([
      "expired",
      "expired",
      "expired",
      "repeated",
    ]);
    expect(sessions.digests()).toEqual(before);
  });

  test("C1: a call without a session is remembered while there is room, and applied again after that", () => {
    expect(
      admissions(
        [
          [4, 1, 0],
          [4, 1, 0, "retried"],
          [4, 2, 0],
          [4, 3, 0],
          [4, 1, 0, "retried"],
        ],
        2,
      ),
    ).toEqual(["new", "repeated", "new", "new", "new"]);
  });
});
