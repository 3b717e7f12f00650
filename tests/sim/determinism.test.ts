/** One seed decides everything: the same seed and build make the same trace, event by event. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import { simulate } from "../../src/sim/simulation.ts";
import { seedReport, Tally } from "../../src/sim/tally.ts";
import { narrate } from "../../src/sim/narration.ts";
import { raftkv } from "../cli/raftkv-process.ts";
import { EXECUTABLE } from "../cluster/deployment.ts";

setDefaultTimeout(300_000);

const FROM = 900_001;
const SEEDS = 12;
const CAMPAIGN = ["simulate", "--from", `${FROM}`, "--seeds", `${SEEDS}`, "--json"];

/** Of a campaign over the seeds: whether they pass is another test's concern. */
interface Summary {
  readonly hash: string;
  readonly replayed: number;
  readonly unrepeatable: readonly number[];
}

function seeds(): readonly number[] {
  return Array.from({ length: SEEDS }, (_, i) => FROM + i);
}

test("the same seed makes the same run, another seed another one", () => {
  const results = seeds().map((seed) => simulate({ seed }));
  for (const { seed, hash, events, virtualUs } of results) {
    expect(simulate({ seed })).toMatchObject({ hash, events, virtualUs });
  }
  expect(new Set(results.map(({ hash }) => hash)).size).toBe(SEEDS);
});

test("watching a run does not change it", () => {
  const { hash, swarm } = simulate({ seed: FROM });
  expect(simulate({ seed: FROM, onTrace: narrate }).hash).toBe(hash);
  expect(simulate({ seed: FROM, swarm }).hash).toBe(hash);
});

test("another process, and whatever the number of its workers, makes the same runs", async () => {
  const tally = new Tally();
  for (const seed of seeds()) tally.add(seedReport(simulate({ seed }), null));
  for (const jobs of ["1", "3"]) {
    const { stdout } = await raftkv([...CAMPAIGN, "--jobs", jobs]);
    const summary: Summary = JSON.parse(stdout);
    expect(summary.hash).toBe(tally.hash);
  }
});

test.skipIf(!existsSync(EXECUTABLE))("the compiled executable makes the same runs every time", async () => {
  const once = await compiled("--jobs", "1");
  const twice = await compiled("--jobs", "2", "--replay");
  expect(twice).toMatchObject({ hash: once.hash, replayed: SEEDS, unrepeatable: [] });
});

async function compiled(...options: readonly string[]): Promise<Summary> {
  const child = Bun.spawn([EXECUTABLE, ...CAMPAIGN, ...options], { stderr: "ignore" });
  return JSON.parse(await child.stdout.text());
}
