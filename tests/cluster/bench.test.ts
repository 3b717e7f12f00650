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

test("puts and gets through the frontend: every call is answered, every key is found, nobody is elected", async () => {
  const args = ["--workload", "mixed", "--count", "1000", "--keys", "100", "--warm-up", "0", "--json"];
  const { code, stdout, stderr } = await runRaftkv(cluster, "bench", ...args);
  expect([code, stderr]).toEqual([0, ""]);
  const { term, id } = await cluster.leader(3);
  expect(JSON.parse(stdout)).toMatchObject({
    operations: { answered: 1000, failed: 0 },
    found: 1,
    elections: { count: 0, leaders: [{ term, leaderId: id }] },
  });
  expect(await cluster.get("bench/0")).toHaveLength(256);
});

test("the leader dies: puts at the servers themselves go on at the next one, and the election is told", async () => {
  const { id, lastLogIndex } = await cluster.leader(3);
  const addresses = [0, 1, 2].map((server) => cluster.server(server).address);
  const args = ["bench", "--servers", addresses.join(","), "--duration", "6", "--warm-up", "0", "--json"];
  const child = Bun.spawn([EXECUTABLE, ...args], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  await waitFor("puts", async () => (await cluster.status(id)).lastLogIndex > lastLogIndex + 100);
  await cluster.kill([id]);
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  expect([await child.exited, stderr]).toEqual([0, ""]);
  const { errors, elections, seconds } = JSON.parse(stdout);
  expect(elections.count).toBeGreaterThan(0);
  expect(elections.leaders.at(-1).leaderId).toBe((await cluster.leader(3)).id);
  expect(errors.length).toBeGreaterThan(0);
  expect(seconds).toBe(6);
});
