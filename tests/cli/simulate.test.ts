import { expect, setDefaultTimeout, test } from "bun:test";
import { defined } from "../../src/base/assert.ts";
import { childrenOf, isAlive } from "./process-family.ts";
import { raftkv, spawnRaftkv } from "./raftkv-process.ts";

setDefaultTimeout(120_000);

const DEADLINE_MS = 60_000;
const POLL_MS = 20;

async function waitFor(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`waited in vain: ${what}`);
    await Bun.sleep(POLL_MS);
  }
}

/** A campaign without end, and its two workers at work. */
async function endlessCampaign() {
  const child = spawnRaftkv(["simulate", "--seeds", "1000000", "--jobs", "2"]);
  let workers: readonly number[] = [];
  await waitFor("two workers", async () => {
    workers = await childrenOf(child.pid);
    return workers.length === 2;
  });
  return { child, workers };
}

test("the summary is the same whatever the number of processes", async () => {
  const summaries = [];
  for (const jobs of ["1", "4"]) {
    const { exitCode, stdout } = await raftkv(["simulate", "--seeds", "8", "--jobs", jobs, "--json"]);
    expect(exitCode).toBe(0);
    const { seconds: _, seedsPerSecond: __, ...summary } = JSON.parse(stdout);
    summaries.push(summary);
  }
  expect(summaries[0]).toMatchObject({ passed: true, seeds: 8, interrupted: false, violations: [] });
  expect(summaries[1]).toEqual(summaries[0]);
});

test("one seed is told: its swarm, its phases, its verdict; with --trace every event", async () => {
  const plain = await raftkv(["simulate", "--seed", "3", "--replay"]);
  expect(plain).toMatchObject({ exitCode: 0, stderr: "" });
  for (const part of [
    "seed 3\n",
    "storm of",
    "phases",
    "all agree",
    "Every property held.",
    "was the same",
  ]) {
    expect(plain.stdout).toContain(part);
  }
  const traced = await raftkv(["simulate", "--seed", "3", "--trace"]);
  expect(traced.stdout.split("\n").length).toBeGreaterThan(plain.stdout.split("\n").length);
  expect(traced.stdout).toContain("becameLeader: term 1");
});

test("--swarm changes what it names and leaves the rest as the seed draws it", async () => {
  const drawn = JSON.parse((await raftkv(["simulate", "--seed", "3", "--json"])).stdout);
  const args = ["--swarm", '{"servers":2,"network":{"loss":0.25}}', "--json"];
  const { swarm } = JSON.parse((await raftkv(["simulate", "--seed", "3", ...args])).stdout);
  expect(swarm).toEqual({ ...drawn.swarm, servers: 2, network: { ...drawn.swarm.network, loss: 0.25 } });
});

test("Ctrl-C: what is known by then is told, the exit code is 130, and no worker is left", async () => {
  const { child, workers } = await endlessCampaign();
  child.kill("SIGINT");
  expect(await child.exited).toBe(130);
  expect(await child.stdout.text()).toContain("interrupted: ");
  await waitFor("the workers to be gone", () => !workers.some(isAlive));
});

test("a campaign that is killed leaves no worker", async () => {
  const { child, workers } = await endlessCampaign();
  child.kill("SIGKILL");
  await child.exited;
  await waitFor("the workers to be gone", () => !workers.some(isAlive));
});

test("a worker that is killed ends the campaign with one clear line", async () => {
  const { child, workers } = await endlessCampaign();
  process.kill(defined(workers[0], "a worker"), "SIGKILL");
  expect(await child.exited).toBe(1);
  expect(await child.stderr.text()).toMatch(
    /^raftkv: the process that simulated seed \d+ was ended by SIGKILL/m,
  );
  await waitFor("the workers to be gone", () => !workers.some(isAlive));
});
