import { expect, test } from "bun:test";
import { resolve } from "node:path";
import { filesOf, mutate } from "./mutant.ts";
import { hunt, twoAtATime, type HuntOutcome } from "./mutant-hunt.ts";
import { MUTANTS } from "./mutants.ts";

/** Several times what any mutant needs when its focus is used. */
const MOST_SEEDS = 400;
/** Ten times what it takes on two idle cores. */
const TIMEOUT_MS = 1_200_000;
/** `make mutants` hunts them all. */
const HUNTED_OF_A_RULE = 3;

const HUNTED = MUTANTS.filter((mutant) => {
  const sameRule = MUTANTS.filter(({ rule }) => rule === mutant.rule);
  return sameRule.indexOf(mutant) < HUNTED_OF_A_RULE;
});

test("Simulation: every planted bug has one place in the source, and a name of its own", async () => {
  for (const mutant of MUTANTS) {
    for (const file of filesOf(mutant)) {
      const source = await Bun.file(resolve(import.meta.dir, "../..", file)).text();
      expect(mutate(mutant, file, source)).not.toBe(source);
    }
  }
  expect(new Set(MUTANTS.map(({ name }) => name)).size).toBe(MUTANTS.length);
});

test(
  "Simulation: planted bugs are found, up to three of each rule",
  async () => {
    const outcomes = new Map<string, HuntOutcome>();
    await twoAtATime(HUNTED, async (mutant) => {
      outcomes.set(mutant.name, await hunt(mutant, { mostSeeds: MOST_SEEDS, focused: true }));
    });
    const lines = HUNTED.map(({ name, rule }) => {
      const outcome = outcomes.get(name);
      const how = outcome?.caught === true ? `${outcome.property}, in ${outcome.seeds} seeds` : "not found";
      return `  ${rule.padEnd(4)}${name.padEnd(36)}${how}`;
    });
    process.stderr.write(`${lines.join("\n")}\n`);
    const missed = HUNTED.filter(({ name }) => outcomes.get(name)?.caught !== true);
    expect(missed.map(({ name }) => name)).toEqual([]);
  },
  TIMEOUT_MS,
);
