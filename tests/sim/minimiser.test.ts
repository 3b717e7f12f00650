import { expect, setDefaultTimeout, test } from "bun:test";
import { fileURLToPath } from "node:url";
import { minimise } from "../../src/sim/minimiser.ts";
import { swarmOf } from "../../src/sim/simulation.ts";
import { LARGE_WINDOW, MANY_SESSIONS, type Swarm } from "../../src/sim/swarm.ts";
import { raftkv, type RunOptions } from "../cli/raftkv-process.ts";

setDefaultTimeout(120_000);

/** As wild as a swarm gets. */
const WILD: Swarm = {
  ...swarmOf(1),
  servers: 7,
  spares: 2,
  clients: 6,
  keys: 5,
  stormUs: 16_000_000,
  strikes: ["partition", "kill", "powerLoss", "pause", "bitFlip"],
  clockSkew: 0.1,
  maxBatchEntries: 100,
  maxInflight: 8,
  snapshot: { everyEntries: 5, keepEntries: 3, maxChunkBytes: 300 },
  frontends: 3,
  frontendRestart: 0.1,
  memory: { window: 8, sessions: 2 },
  batches: 0.4,
  network: {
    latencyMinUs: 100,
    latencyMaxUs: 30_000,
    loss: 0.3,
    duplication: 0.1,
    delay: 0.1,
    delayMaxUs: 50_000,
  },
  disk: { latencyMinUs: 50, latencyMaxUs: 20_000, fsyncError: 0.1, slow: 0.1, slowMaxUs: 50_000 },
};

const FAILING = { seed: 100, swarm: WILD, property: "Log Matching" } as const;
const PLAIN = { latencyMinUs: 1000, latencyMaxUs: 1000 };

test("everything that the failure does not need goes, and what it needs stays", async () => {
  const attempt = async (_: number, swarm: Swarm) => {
    const fails = swarm.servers >= 3 && swarm.strikes.includes("kill") && swarm.network.loss > 0;
    return fails && swarm.stormUs >= 2_000_000 ? FAILING.property : null;
  };
  const { seed, swarm, runs } = await minimise(FAILING, attempt);
  expect(seed).toBe(FAILING.seed);
  expect(swarm).toEqual({
    ...WILD,
    servers: 3,
    spares: 0,
    clients: 1,
    keys: 1,
    stormUs: 2_000_000,
    strikes: ["kill"],
    clockSkew: 0,
    maxBatchEntries: 1,
    maxInflight: 1,
    snapshot: { everyEntries: 0, keepEntries: 0, maxChunkBytes: 100_000 },
    frontends: 1,
    frontendRestart: 0,
    memory: { window: LARGE_WINDOW, sessions: MANY_SESSIONS },
    batches: 0,
    network: { ...WILD.network, ...PLAIN, duplication: 0, delay: 0 },
    disk: { ...WILD.disk, ...PLAIN, fsyncError: 0, slow: 0 },
  });
  expect(await minimise(FAILING, attempt)).toEqual({ seed, swarm, runs });
});

test("a neighbouring seed may stand in, another property may not", async () => {
  const neighbour = await minimise(FAILING, async (seed, { servers }) =>
    servers === 7 || seed === 103 ? FAILING.property : "Convergence",
  );
  expect(neighbour).toMatchObject({ seed: 103, swarm: { servers: 1 } });
  const alone = await minimise(FAILING, async () => "Convergence");
  expect(alone.swarm).toBe(WILD);
});

test("the search is bounded", async () => {
  let attempts = 0;
  const options = { maxRuns: 7, neighbours: 2 };
  const { runs } = await minimise(
    FAILING,
    async () => (attempts++ % 3 === 0 ? FAILING.property : null),
    options,
  );
  expect([runs, attempts]).toEqual([7, 7]);
});

/** What `--json` says of the first seed that fails. */
interface Failed {
  readonly property: string;
  readonly events: number;
  readonly smaller: { readonly property: string; readonly events: number; readonly replay: string };
}

const BUG = fileURLToPath(new URL("./planted-bug.ts", import.meta.url));
/** Bun reads this in every process, so the campaign's workers have the bug too. */
const PLANTED: RunOptions = { env: { BUN_OPTIONS: `--preload ${BUG}` } };

test("E3: a planted bug is found, explained, and shown again by a smaller run that can be typed in", async () => {
  const campaign = await raftkv(["simulate", "--seeds", "40", "--json"], PLANTED);
  expect(campaign.exitCode).toBe(1);
  const { property, events, smaller }: Failed = JSON.parse(campaign.stdout).firstViolation;
  expect(smaller.property).toBe(property);
  expect(smaller.events).toBeLessThanOrEqual(events);

  // As a shell would: the words of the command, the swarm in quotes.
  const typed = /^raftkv simulate --seed (\d+) --swarm '([^']+)' --trace$/.exec(smaller.replay) ?? [];
  const [, seed = "", swarm = ""] = typed;
  const again = await raftkv(["simulate", "--seed", seed, "--swarm", swarm], PLANTED);
  expect(again.exitCode).toBe(1);
  expect(again.stdout).toContain(`seed ${seed} violates ${property}`);
  expect(again.stdout).toContain("What happened last");
  const sound = await raftkv(["simulate", "--seed", seed, "--swarm", swarm]);
  expect(sound.exitCode).toBe(0);
});
