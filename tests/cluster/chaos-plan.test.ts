import { describe, expect, test } from "bun:test";
import { Random } from "../../src/sim/random.ts";
import { chaosPlan, describeFault, type Episode } from "./chaos-plan.ts";

function episodes(seed: number, count: number): Episode[] {
  return chaosPlan(new Random(seed)).take(count).toArray();
}

describe("the plan of a run of chaos", () => {
  test("one seed, one plan", () => {
    expect(episodes(7, 50)).toEqual(episodes(7, 50));
    expect(episodes(7, 5)).not.toEqual(episodes(8, 5));
  });

  test("the episodes of two minutes have every kind of fault in them", () => {
    const kinds = episodes(1, 24).flatMap(({ faults }) => faults.map(({ fault }) => fault.kind));
    expect([...new Set(kinds)].toSorted()).toEqual([
      "add",
      "kill",
      "killAll",
      "killFrontend",
      "link",
      "partition",
      "remove",
      "reset",
      "rollingRestart",
      "stop",
      "transfer",
    ]);
  });

  test("a fault in one line says all that was drawn", () => {
    const treatment = { kind: "delay", delayMs: 30 } as const;
    const fault = { kind: "link", victim: "leader", treatment, way: "in", breadth: "all" } as const;
    expect(describeFault(fault)).toBe("link leader delay 30 in all");
    expect(describeFault({ kind: "killAll" })).toBe("killAll");
  });
});
