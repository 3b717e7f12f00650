/**
 * Hunts mutants and prints how many seeds each one took.
 *
 *   bun tests/sim/mutant-campaign.ts [--focused] [name …]
 *
 * No name: all of them. MOST_SEEDS says when to give one up.
 */
import type { Mutant } from "./mutant.ts";
import { hunt, twoAtATime, type HuntOutcome } from "./mutant-hunt.ts";
import { MUTANTS } from "./mutants.ts";

const MOST_SEEDS = Number(Bun.env["MOST_SEEDS"] ?? 3000);

function row({ name, rule }: Mutant, outcome: HuntOutcome): string {
  const how = outcome.caught ? outcome.property : "NOT CAUGHT";
  const cells = [name.padEnd(34), rule.padEnd(4), String(outcome.seeds).padStart(5), how.padEnd(32)];
  return `${[...cells, outcome.caught ? outcome.message.split("\n")[0] : ""].join("  ")}\n`;
}

const focused = process.argv.includes("--focused");
const names = process.argv.slice(2).filter((argument) => argument !== "--focused");
const hunted = names.length === 0 ? MUTANTS : MUTANTS.filter(({ name }) => names.includes(name));
const needed: number[] = [];
let missed = 0;
await twoAtATime(hunted, async (mutant) => {
  const outcome = await hunt(mutant, { mostSeeds: MOST_SEEDS, focused });
  if (!outcome.caught) missed += 1;
  needed.push(outcome.caught ? outcome.seeds : Infinity);
  process.stdout.write(row(mutant, outcome));
});
const median = needed.toSorted((a, b) => a - b)[Math.floor(needed.length / 2)];
process.stdout.write(`${hunted.length} mutants, ${missed} not caught, median ${median} seeds\n`);
process.exitCode = missed === 0 ? 0 : 1;
