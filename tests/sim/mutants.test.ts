import { expect, test } from "bun:test";
import { resolve } from "node:path";
import { filesOf, mutate } from "./mutant.ts";
import { hunt, twoAtATime, type HuntOutcome } from "./mutant-hunt.ts";
import { MUTANTS } from "./mutants.ts";

/** Several times what any mutant needs when its focus is used. */
const MOST_SEEDS = 400;
const TIMEOUT_MS = 300_000;

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
  "Simulation: every planted bug is found",
  async () => {
    const outcomes = new Map<string, HuntOutcome>();
    await twoAtATime(MUTANTS, async (mutant) => {
      outcomes.set(mutant.name, await hunt(mutant, { mostSeeds: MOST_SEEDS, focused: true }));
    });
    const lines = MUTANTS.map(({ name, rule }) => {
      const outcome = outcomes.get(name);
      const how = outcome?.caught === true ? `${outcome.property}, in ${outcome.seeds} seeds` : "not found";
      return `  ${rule.padEnd(4)}${name.padEnd(36)}${how}`;
    });
    process.stderr.write(`${lines.join("\n")}\n`);
    const missed = MUTANTS.filter(({ name }) => outcomes.get(name)?.caught !== true);
    expect(missed.map(({ name }) => name)).toEqual([]);
  },
  TIMEOUT_MS,
);
