/** The short version of chaos.ts. Its times are not judged here: they are the machine's, too. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { LEAST_ON_A_BUSY_MACHINE } from "./chaos-verdict.ts";
import { chaosRun } from "./chaos-run.ts";

const FOR_MS = 105_000;

setDefaultTimeout(600_000);

test("F4, F6, F7, L1, C1, C2, M4, P1: real servers under faults of every kind answer linearizably, lose nothing, and end", async () => {
  const never = new AbortController().signal;
  const result = await chaosRun({
    seed: 5,
    forMs: FOR_MS,
    least: LEAST_ON_A_BUSY_MACHINE,
    tell: () => {},
    stop: never,
  });
  expect(result.complaints).toEqual([]);
});
