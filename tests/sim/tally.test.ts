import { expect, test } from "bun:test";
import { Tally, type SeedReport } from "../../src/sim/tally.ts";

function report(seed: number, changes: Partial<SeedReport> = {}): SeedReport {
  return {
    seed,
    hash: `hash-${seed}`,
    events: seed,
    virtualUs: 10,
    elections: 1,
    operations: { done: 2, unknown: 1, failed: 0 },
    faults: {},
    violation: null,
    replayHash: null,
    ...changes,
  };
}

function tallyOf(reports: readonly SeedReport[]): Tally {
  const tally = new Tally();
  for (const each of reports) tally.add(each);
  return tally;
}

test("the sums, the hash and the failures do not depend on the order in which runs end", () => {
  const violation = { property: "Log Matching", message: "differ" } as const;
  const reports = [1, 2, 3, 4, 5].map((seed) => report(seed, seed % 2 === 0 ? { violation } : {}));
  const [tally, reversed] = [tallyOf(reports), tallyOf(reports.toReversed())];
  expect(reversed.hash).toBe(tally.hash);
  expect(reversed.totals).toEqual({ ...tally.totals });
  expect(reversed.violations.map(({ seed }) => seed)).toEqual([2, 4]);
  expect(tally.totals).toMatchObject({ events: 15, done: 10, unknown: 5 });
  expect(tally.passed).toBe(false);
  expect(tallyOf([...reports.slice(1), report(1, { hash: "another" })]).hash).not.toBe(tally.hash);
});

test("a fault that is switched on in twenty seeds and never happens fails the run", () => {
  const seeds = Array.from({ length: 20 }, (_, seed) => report(seed, { faults: { kill: 0, pause: 0 } }));
  expect(tallyOf(seeds.slice(1)).neverInjected).toEqual([]);
  expect(tallyOf(seeds)).toMatchObject({ neverInjected: ["kill", "pause"], passed: false });
  const tally = tallyOf([...seeds, report(20, { faults: { kill: 1 } })]);
  expect(tally.neverInjected).toEqual(["pause"]);
  expect(tally.faults).toContainEqual({ kind: "kill", seeds: 21, injected: 1 });
});

test("a second run that is another than the first fails the run", () => {
  expect(tallyOf([report(1, { replayHash: "hash-1" })]).passed).toBe(true);
  const tally = tallyOf([report(1, { replayHash: "hash-1" }), report(2, { replayHash: "other" })]);
  expect(tally.passed).toBe(false);
  expect(tally.unrepeatable.map(({ seed }) => seed)).toEqual([2]);
});
