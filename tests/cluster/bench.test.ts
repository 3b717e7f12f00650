/** `raftkv bench` measures a real cluster, and tells what happened to it meanwhile. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { runRaftkv } from "./command-run.ts";
import { Deployment, EXECUTABLE } from "./deployment.ts";
import { waitFor } from "./waiting.ts";

setDefaultTimeout(90_000);

let cluster: Deployment;

beforeAll(async () => {
  cluster = await Deployment.create();
  await cluster.startFrontend();
  await cluster.startRaft(3);
});

afterAll(() => cluster.close());

test("puts and gets through the frontend: every call is answered, every key is found, and who leads is told", async () => {
  const args = ["--workload", "mixed", "--count", "1000", "--keys", "100", "--warm-up", "0", "--json"];
  const before = await cluster.leader(3);
  const { code, stdout, stderr } = await runRaftkv(cluster, "bench", ...args);
  expect([code, stderr]).toEqual([0, ""]);
  const { term, id } = await cluster.leader(3);
  const { operations, found, elections } = JSON.parse(stdout);
  expect(operations).toMatchObject({ answered: 1000, failed: 0 });
  expect(found).toBe(1);
  // On a busy machine there may be an election at any time.
  expect(elections.count).toBeLessThanOrEqual(term - before.term);
  if (before.term === term) expect(elections.leaders).toMatchObject([{ term, leaderId: id }]);
  expect(await cluster.get("bench/0")).toHaveLength(256);
});

test("the leader dies: puts at the servers themselves go on at the next one, and the election is told", async () => {
  const { id, lastLogIndex } = await cluster.leader(3);
  const addresses = [0, 1, 2].map((server) => cluster.server(server).address);
  const args = ["bench", "--servers", addresses.join(","), "--duration", "600", "--warm-up", "0", "--json"];
  const child = Bun.spawn([EXECUTABLE, ...args], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  await waitFor("puts", async () => (await cluster.status(id)).lastLogIndex > lastLogIndex + 100);
  await cluster.kill([id]);
  const next = await cluster.leader(3);
  await waitFor("puts at the next leader", async () => {
    return (await cluster.status((await cluster.leader(3)).id)).lastLogIndex > next.lastLogIndex + 100;
  });
  child.kill("SIGINT");
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  expect([await child.exited, stderr]).toEqual([130, ""]);
  const { errors, elections, interrupted } = JSON.parse(stdout);
  expect(interrupted).toBe(true);
  expect(elections.count).toBeGreaterThan(0);
  expect(elections.leaders.at(-1).leaderId).not.toBe(id);
  expect(errors.length).toBeGreaterThan(0);
});
