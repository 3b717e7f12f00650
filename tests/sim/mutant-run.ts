/**
 * Simulates seed after seed until one violates a property, and prints a HuntOutcome.
 *
 *   RAFTKV_MUTANT=<name> bun --preload ./tests/sim/mutant-loader.ts tests/sim/mutant-run.ts <most seeds> [focused]
 */
import { simulate, swarmOf } from "../../src/sim/simulation.ts";
import type { HuntOutcome } from "./mutant-hunt.ts";
import { mutantNamed } from "./mutants.ts";

const [mostSeeds, focused] = process.argv.slice(2);
const mutant = mutantNamed(Bun.env["RAFTKV_MUTANT"] ?? "");
const focus = focused === undefined ? {} : (mutant.focus ?? {});

function run(most: number): HuntOutcome {
  for (let seed = 1; seed <= most; seed += 1) {
    const { violation } = simulate({ seed, swarm: { ...swarmOf(seed), ...focus } });
    if (violation !== null) {
      return { caught: true, seeds: seed, property: violation.property, message: violation.message };
    }
  }
  return { caught: false, seeds: most };
}

process.stdout.write(JSON.stringify(run(Number(mostSeeds))));
