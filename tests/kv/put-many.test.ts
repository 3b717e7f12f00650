/** A batch is one write of many keys: it takes effect as a whole, once, in the order of its writes. */
import { expect, test } from "bun:test";
import { commandByteLength, writesOf } from "../../src/kv/command.ts";
import { KvStateMachine } from "../../src/kv/state-machine.ts";
import { put, putMany } from "./command-arbitrary.ts";
import { machineAfter, machineFrom, sectionsOf } from "./machines.ts";

const request = [1, 1] as const;

function results(commands: readonly (ReturnType<typeof put> | ReturnType<typeof putMany>)[]): string[] {
  const machine = new KvStateMachine();
  return commands.map((command, i) => machine.apply(i + 1, command).kind);
}

test("all writes of a batch take effect with its entry, and a later one to the same key wins", () => {
  const batch = putMany([
    ["a", "1"],
    ["b", "2"],
    ["a", "3"],
  ]);
  const machine = machineAfter([put("b", "0"), batch]);
  expect([...machine.entries()]).toEqual([
    ["b", "2"],
    ["a", "3"],
  ]);
  expect(machine.appliedIndex).toBe(2);
});

test("C1: the same pair with the same writes is applied once", () => {
  const batch = putMany(
    [
      ["a", "1"],
      ["b", "2"],
    ],
    { request },
  );
  expect(results([batch, batch, batch])).toEqual(["applied", "repeated", "repeated"]);
});

test("C1: the same pair with other writes, in another order, or as a put is a write of its own", () => {
  const names = { request };
  const commands = [
    putMany(
      [
        ["a", "1"],
        ["b", "2"],
      ],
      names,
    ),
    putMany(
      [
        ["b", "2"],
        ["a", "1"],
      ],
      names,
    ),
    putMany([["a", "1"]], names),
    putMany(
      [
        ["a", "1b"],
        ["", "2"],
      ],
      names,
    ),
    put("a", "1", names),
    putMany([["a", "1"]], names),
    putMany(
      [
        ["a", "1"],
        ["b", "2"],
      ],
      names,
    ),
  ];
  expect(results(commands)).toEqual(commands.map(() => "applied"));
});

test("C1: a call that a frontend sends again is applied once, and changes nothing the second time", () => {
  const batch = putMany(
    [
      ["a", "1"],
      ["b", "2"],
    ],
    { routed: [7, 1, 1] },
  );
  const again = putMany(
    [
      ["a", "1"],
      ["b", "2"],
    ],
    { routed: [7, 1, 1, true] },
  );
  const machine = machineAfter([batch, put("a", "later")]);
  expect(machine.apply(3, again).kind).toBe("repeated");
  expect(machine.get("a")).toBe("later");
});

test("C1, C2: a batch whose session has expired is expired as a whole", () => {
  const machine = new KvStateMachine(100, 1);
  machine.apply(1, putMany([["a", "1"]], { routed: [7, 1, 1] }));
  machine.apply(2, putMany([["a", "2"]], { routed: [8, 1, 1] }));
  expect(
    machine.apply(
      3,
      putMany(
        [
          ["a", "3"],
          ["b", "3"],
        ],
        { routed: [7, 2, 1, true] },
      ),
    ).kind,
  ).toBe("expired");
  expect([machine.get("a"), machine.get("b")]).toEqual(["2", undefined]);
});

test("C1, S5: a batch is recognised after a snapshot", () => {
  const batch = putMany(
    [
      ["a", "1"],
      ["\ud800", "\0"],
    ],
    { request, routed: [7, 1, 1] },
  );
  const machine = machineAfter([batch]);
  const restored = machineFrom(sectionsOf(machine), 1);
  expect(restored.digest()).toBe(machine.digest());
  expect(restored.apply(2, batch).kind).toBe("repeated");
  expect(
    restored.apply(
      3,
      putMany(
        [
          ["a", "1"],
          ["\ud800", "\0"],
        ],
        { request },
      ),
    ).kind,
  ).toBe("repeated");
});

test("a frozen state holds nothing of a batch that came later", () => {
  const machine = machineAfter([
    putMany([
      ["a", "1"],
      ["b", "1"],
    ]),
  ]);
  const frozen = machine.freeze();
  machine.apply(
    2,
    putMany([
      ["b", "2"],
      ["c", "2"],
    ]),
  );
  expect([...frozen.sections()].join("\n")).toContain(`{"data":["a","1","b","1"]}`);
  frozen.release();
});

test("a batch costs in memory and messages what its writes do", () => {
  const batch = putMany([
    ["a", "1"],
    ["bb", "22"],
  ]);
  expect(commandByteLength(batch)).toBe(
    commandByteLength(put("a", "1")) + commandByteLength(put("bb", "22")),
  );
  expect(writesOf(put("a", "1"))).toMatchObject([{ key: "a", value: "1" }]);
});
