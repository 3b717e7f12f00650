import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { KvStateLoader } from "../../src/kv/kv-state-loader.ts";
import { collidingLog, put } from "./command-arbitrary.ts";
import { loaded, machineAfter, machineFrom, sectionsOf } from "./machines.ts";

const FINGERPRINT = "a".repeat(43);
const CAPACITY = '{"retryCapacity":3,"sessionCapacity":2,"expiredSessions":0}';

/** What the loader says of the first section that it refuses; null: it takes them all. */
function refused(sections: readonly string[], appliedIndex = 100): string | null {
  const loader = new KvStateLoader(appliedIndex);
  for (const section of sections) {
    const why = loader.add(section);
    if (why !== null) return why;
  }
  return null;
}

test("S5: sections of every kind make the state that they say, also several of a kind", () => {
  const state = loaded(
    [
      CAPACITY,
      '{"data":["a","1"]}',
      '{"data":["__proto__","","\\ud800","\\u0000"]}',
      `{"requests":["1/9","${FINGERPRINT}",4]}`,
      `{"requests":["-1/0","${FINGERPRINT}",7]}`,
      '{"routedCalls":["4/7",2,"4/8",7]}',
      '{"sessions":["4",7,6,5,4,7]}',
    ],
    7,
  );
  expect(state.appliedIndex).toBe(7);
  expect([...state.data]).toEqual([
    ["a", "1"],
    ["__proto__", ""],
    ["\ud800", "\0"],
  ]);
  expect(state.retries.capacity).toBe(3);
  expect([...state.retries.requests()]).toEqual([
    ["1/9", { fingerprint: FINGERPRINT, index: 4 }],
    ["-1/0", { fingerprint: FINGERPRINT, index: 7 }],
  ]);
  const { sessions } = state.retries;
  expect([...sessions.calls()]).toEqual([
    ["4/7", { routerId: 4, routerCall: 7, index: 2 }],
    ["4/8", { routerId: 4, routerCall: 8, index: 7 }],
  ]);
  const session = { pending: 7, released: 6, forgotten: 5, opener: 4, index: 7 };
  expect([...sessions.sessions()]).toEqual([["4", session]]);
  expect([sessions.sessionCapacity, sessions.expired]).toEqual([2, 0]);
});

test("S5, C1: an older version's state holds its routed calls without sessions, and never applies them again", () => {
  const sections = ['{"retryCapacity":3}', '{"data":["k","A"]}', '{"routedCalls":["4/7",2,"5/1",7]}'];
  const machine = machineFrom(sections, 7);
  const copy = machineAfter([null, put("k", "A", { routed: [4, 7] }), null, null, null, null], 3);
  copy.apply(7, put("k", "A", { routed: [5, 1] }));
  expect(machine.digest()).toBe(copy.digest());
  expect(machine.apply(8, put("k", "B", { routed: [4, 7] })).kind).toBe("repeated");
  expect(machine.apply(9, put("k", "C", { routed: [4, 8, 7] })).kind).toBe("applied");
  expect(machine.apply(10, put("k", "B", { routed: [4, 7, 7, true] })).kind).toBe("repeated");
  expect(machine.get("k")).toBe("C");
});

test("S5: a state without any section is not complete", () => {
  expect(new KvStateLoader(1).finish()).toBeNull();
});

test.each([
  ["not JSON", ["", "{"], "not a section"],
  ["another JSON value", ["[]", "null", "7", '"data"', "{}", '{"data":[],"more":1}'], "not a section"],
  ["another kind of section", ['{"leases":[]}', '{"__proto__":[]}'], "not a section"],
  ["a section that is no list", ['{"data":{}}', '{"requests":"x"}', '{"routedCalls":1}'], "not a list"],
  ["a second capacity", [CAPACITY], "a second section"],
  [
    "a key without a value, or no text",
    ['{"data":["a"]}', '{"data":["a",1]}', '{"data":[null,"a"]}'],
    "not a text",
  ],
  ["a key that is there twice", ['{"data":["a","1","b","2","a","1"]}'], "there twice"],
  [
    "a request without a proper name or fingerprint",
    [
      `{"requests":["1","${FINGERPRINT}",1]}`,
      `{"requests":["01/2","${FINGERPRINT}",1]}`,
      '{"requests":["1/2","short",1]}',
      '{"requests":["1/2"]}',
    ],
    "without name or fingerprint",
  ],
  [
    "a request out of order, or from after the state",
    [
      `{"requests":["1/1","${FINGERPRINT}",4,"1/2","${FINGERPRINT}",4]}`,
      `{"requests":["1/1","${FINGERPRINT}",101]}`,
      `{"requests":["1/1","${FINGERPRINT}",0]}`,
      `{"requests":["1/1","${FINGERPRINT}"]}`,
    ],
    "a request out of order",
  ],
  [
    "a request twice, or more than fit",
    [
      `{"requests":["1/1","${FINGERPRINT}",1,"1/1","${FINGERPRINT}",2]}`,
      `{"requests":[${[1, 2, 3, 4].map((n) => `"1/${n}","${FINGERPRINT}",${n}`).join()}]}`,
    ],
    "a request too many",
  ],
  [
    "a routed call without a proper name",
    ['{"routedCalls":["x",1]}', '{"routedCalls":[1,1]}', '{"routedCalls":["1/2/3",1]}'],
    "without name",
  ],
  ["a routed call out of order", ['{"routedCalls":["1/1",2,"1/2",1]}'], "a routed call out of order"],
  [
    "more routed calls than fit",
    ['{"routedCalls":["1/1",1,"1/2",2,"1/3",3,"1/4",4]}'],
    "a routed call too many",
  ],
  [
    "a session without a proper name or numbers",
    ['{"sessions":[4,1,1,0,0,1]}', '{"sessions":["4/1",1,1,0,0,1]}', '{"sessions":["4",0,0,0,0,1]}'],
    "a session without",
  ],
  [
    "a session whose numbers cannot be",
    ['{"sessions":["4",1,2,0,0,1]}', '{"sessions":["4",1,1,-1,0,1]}', '{"sessions":["4",1,1,0,0.5,1]}'],
    "without numbers",
  ],
  [
    "a session out of order",
    ['{"sessions":["4",1,1,0,0,2,"5",1,1,0,0,2]}', '{"sessions":["4",1,1,0,0]}'],
    "a session out of order",
  ],
  [
    "a session twice, or more than fit",
    [
      '{"sessions":["4",1,1,0,0,1,"4",1,1,0,0,2]}',
      '{"sessions":["4",1,1,0,0,1,"5",1,1,0,0,2,"6",1,1,0,0,3]}',
    ],
    "a session too many",
  ],
])("S5: %s is refused", (_, sections, why) => {
  for (const section of sections)
    expect([section, refused([CAPACITY, section])]).toEqual([section, expect.stringContaining(why)]);
});

test("S5: a capacity that is none is refused, and so is what comes before it", () => {
  for (const section of ['{"retryCapacity":0}', '{"retryCapacity":1.5}', '{"retryCapacity":"3"}']) {
    expect(refused([section])).toContain("is no number");
  }
  for (const rest of [`"sessionCapacity":0,"expiredSessions":0`, `"sessionCapacity":1`, `"leases":1`]) {
    expect(refused([`{"retryCapacity":3,${rest}}`])).toContain("numbers of sessions");
  }
  expect(refused(['{"data":["a","1"]}'])).toContain("out of order");
});

test("S5: kinds of section in another order are refused", () => {
  expect(refused([CAPACITY, '{"routedCalls":["1/1",1]}', '{"data":["a","1"]}'])).toContain("out of order");
  expect(refused([CAPACITY, '{"sessions":["4",1,1,0,0,1]}', '{"routedCalls":["1/1",1]}'])).toContain("order");
  expect(refused([CAPACITY, `{"requests":["1/1","${FINGERPRINT}",1]}`, '{"data":["a","1"]}'])).toContain(
    "out of order",
  );
});

test("S5: sections left out, repeated or swapped never load as they were: refused, or another state", () => {
  const change = fc.constantFrom("drop", "repeat", "swap");
  fc.assert(
    fc.property(collidingLog, change, fc.nat(), fc.nat(), (log, kind, a, b) => {
      const sections = [...sectionsOf(machineAfter(log, 4, 2))];
      const [i, j] = [a % sections.length, b % sections.length];
      const [first = "", second = ""] = [sections[i], sections[j]];
      if (kind === "drop") sections.splice(i, 1);
      if (kind === "repeat") sections.splice(j, 0, first);
      if (kind === "swap") [sections[i], sections[j]] = [second, first];
      fc.pre(kind !== "swap" || i !== j);
      if (sections.length === 0 || refused(sections, log.length) !== null) return;
      expect(kind).toBe("drop");
      expect(machineFrom(sections, log.length).digest()).not.toBe(machineAfter(log, 4, 2).digest());
    }),
  );
});
