import { describe, expect, test } from "bun:test";
import type { Operation, Value } from "../../src/sim/history.ts";
import { ASKED, judge, judgeTimes, type ChaosEvidence } from "./chaos-verdict.ts";

function put(value: string, invokedAt: number, completedAt: number): Operation {
  return { kind: "put", client: "a", key: "k", value, invokedAt, outcome: { kind: "ok", completedAt } };
}

function unknownPut(value: string, invokedAt: number): Operation {
  return { kind: "put", client: "a", key: "k", value, invokedAt, outcome: { kind: "unknown" } };
}

function get(value: Value, invokedAt: number, completedAt: number): Operation {
  return { kind: "get", client: "b", key: "k", invokedAt, outcome: { kind: "ok", completedAt, value } };
}

function finalState(id: number, value: Value, lastApplied = 10): ChaosEvidence["finalStates"][number] {
  return { id, lastApplied, commitIndex: lastApplied, values: new Map([["k", value]]) };
}

/** A run of a minute that holds: "1", then "2" was written, and that is what everybody has. */
const GOOD: ChaosEvidence = {
  operations: [put("1", 0, 1), get("1", 2, 3), put("2", 4, 5), get("2", 6, 7)],
  lastValues: new Map([["k", "2"]]),
  finalStates: [finalState(0, "2"), finalState(1, "2"), finalState(2, "2")],
  deaths: [],
  leftovers: [],
  succeeded: 6000,
  faults: 20,
  lastedMs: 60_000,
};

function complaints(planted: Partial<ChaosEvidence>): string {
  return judge({ ...GOOD, ...planted }, ASKED).join("\n");
}

describe("the verdict on a run of chaos", () => {
  test("a run in which nothing is wrong holds", () => {
    expect(judge(GOOD, ASKED)).toEqual([]);
  });

  test("L1: a stale read is found", () => {
    const stale = [...GOOD.operations, get("1", 8, 9)];
    expect(complaints({ operations: stale })).toContain("the history of k is not linearizable");
  });

  test("P1: an acknowledged write that is not there in the end is found", () => {
    const found = complaints({ lastValues: new Map([["k", "1"]]) });
    expect(found).toContain('1 lost: k holds "1", not "2"');
  });

  test("P1: a key that is missing in the end has lost everything that was acknowledged", () => {
    expect(complaints({ lastValues: new Map([["k", null]]) })).toContain("2 lost: k holds missing");
  });

  test("P1: a key that nobody read in the end is complained of", () => {
    expect(complaints({ lastValues: new Map() })).toContain("k was not read at the end");
  });

  test("C2: a write of unknown outcome may be what is there in the end, whenever it was sent", () => {
    const operations = [unknownPut("late", 0), ...GOOD.operations, get("late", 8, 9)];
    const finalStates = [finalState(0, "late"), finalState(1, "late")];
    expect(complaints({ operations, finalStates, lastValues: new Map([["k", "late"]]) })).toBe("");
  });

  test("servers that hold different values, or have applied a different part of the log, are found", () => {
    expect(complaints({ finalStates: [finalState(0, "2"), finalState(1, "1")] })).toContain(
      '1 keys differ: k is "2" on server 0, "1" on server 1',
    );
    expect(complaints({ finalStates: [finalState(0, "2"), finalState(1, "2", 9)] })).toContain(
      "server 0 has applied 10, server 1 9",
    );
    expect(complaints({ finalStates: [] })).toContain("no server was looked at");
  });

  test("a process or a port that outlives the stop, and a process that ended by itself, are found", () => {
    const found = complaints({
      leftovers: ["process 7 (raftserver1)", "port 12001"],
      deaths: ["raftserver2 ended"],
    });
    expect(found.split("\n")).toEqual([
      "raftserver2 ended",
      "still there after the stop: process 7 (raftserver1)",
      "still there after the stop: port 12001",
    ]);
  });

  test("too few faults or too few operations are no proof of anything", () => {
    expect(complaints({ faults: 9 })).toContain("too few faults: 9.0 a minute");
    expect(complaints({ succeeded: 600 })).toContain("too few operations succeeded: 10.0 a second");
  });

  test("times are judged: recovery by the worst, failover by median and 99th percentile", () => {
    expect(judgeTimes([100, 1999], [200, 300, 400])).toEqual([]);
    expect(judgeTimes([2001], [501, 502, 2500])).toEqual([
      "2001 ms from healing to the first write",
      "failover: p50 is 502 ms",
      "failover: p99 is 2500 ms",
    ]);
    expect(judgeTimes([100], [])).toEqual(["no leader was lost while a majority went on"]);
  });
});
