/** Leadership is handed over on demand (dissertation §3.10): real processes under load. */
import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { runRaftkv, type CommandRun } from "./command-run.ts";
import { Deployment } from "./deployment.ts";
import { SteadyLoad } from "./steady-load.ts";
import { waitFor } from "./waiting.ts";

setDefaultTimeout(90_000);

let cluster: Deployment;
let load: SteadyLoad | null = null;

beforeEach(async () => {
  cluster = await Deployment.create();
  await cluster.startFrontend();
  await cluster.startRaft(3);
});

afterEach(async () => {
  await load?.stop();
  load = null;
  await cluster.close();
});

/** Runs `raftkv transfer` until it works: a server that gets no time to stand in an election does not take over. */
function transfer(...args: readonly string[]): Promise<CommandRun> {
  return waitFor(`transfer ${args.join(" ")}`, async () => {
    const run = await runRaftkv(cluster, "transfer", ...args);
    return run.code === 0 ? run : null;
  });
}

test("leadership goes to each server that is named, and to any when none is, and no call fails", async () => {
  const clients = (load = new SteadyLoad(cluster));
  await clients.more(100);
  for (const offset of [1, 2, 1, 2]) {
    const before = await cluster.leader(3);
    const to = (before.id + offset) % 3;
    expect(await transfer("--to", String(to))).toEqual({
      code: 0,
      stdout: `server ${to} leads now\n`,
      stderr: "",
    });
    await clients.more(20);
    expect((await cluster.leader(3)).term).toBeGreaterThan(before.term);
  }
  const before = await cluster.leader(3);
  const { stdout } = await transfer("--json");
  expect(JSON.parse(stdout)).toEqual({ ok: true, leaderId: expect.any(Number) });
  expect((await cluster.leader(3)).term).toBeGreaterThan(before.term);
  await clients.stop();
  expect(clients.failures).toEqual([]);
});

test("to a server that cannot lead it is refused in one line, and the leader leads on", async () => {
  const { id } = await cluster.leader(3);
  const [dead, other] = [(id + 1) % 3, (id + 2) % 3];
  await cluster.signal(dead, "SIGKILL");
  for (const [to, says] of [
    [id, `server ${id} leads already`],
    [7, "server 7 is not a member"],
    [dead, `server ${dead}|no other server took over`],
  ] as const) {
    const { code, stderr } = await runRaftkv(cluster, "transfer", "--to", String(to));
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(new RegExp(`^raftkv: [^\\n]*(${says})[^\\n]*\\n$`)),
    ]);
    await cluster.put("k", String(to));
  }
  expect((await transfer("--to", String(other))).stdout).toBe(`server ${other} leads now\n`);
});
