/** A frontend without a supervisor, pointed at servers that were started by hand. */
import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { runRaftkv } from "./command-run.ts";
import { Deployment } from "./deployment.ts";
import { SteadyLoad } from "./steady-load.ts";
import { waitFor } from "./waiting.ts";

setDefaultTimeout(90_000);

let cluster: Deployment;
let load: SteadyLoad | null = null;

beforeEach(async () => {
  cluster = await Deployment.create();
});

afterEach(async () => {
  await load?.stop();
  load = null;
  await cluster.close();
});

async function startServersByHand(servers: number): Promise<void> {
  const bootstrap = { servers, clusterId: "by-hand" };
  const launched = [...Array(servers).keys()].map((id) => cluster.launch(id, { bootstrap }));
  for (const server of launched) expect(await cluster.serving(server)).toBeNull();
}

test("F4, F7: it finds the cluster, serves it across a failover, and leaves the servers alone", async () => {
  await startServersByHand(3);
  await cluster.startFrontend("--servers", `127.0.0.1:${cluster.basePort + 2}`);
  const clients = (load = new SteadyLoad(cluster));
  await clients.more(50);
  const { id } = await cluster.leader(3);
  await cluster.signal(id, "SIGTERM");
  await clients.more(50);
  expect(await cluster.serving(cluster.launch(id))).toBeNull();
  await clients.stop();
  expect(clients.failures).toEqual([]);
  for (const words of [
    ["start", "3"],
    ["start-server", "1"],
    ["replace", "1"],
  ]) {
    const { code, stderr } = await runRaftkv(cluster, ...words);
    expect([code, stderr]).toEqual([1, expect.stringMatching(/^raftkv: this frontend starts no servers: /)]);
  }
  expect(await cluster.stopFrontend("SIGTERM")).toBe(0);
  for (const server of [0, 1, 2]) expect(cluster.pids(server)).toHaveLength(1);
});

test("M5: through it a member goes, and calls are served on", async () => {
  await startServersByHand(3);
  const servers = [0, 1, 2].map((id) => `${id}=127.0.0.1:${cluster.basePort + id}`).join(",");
  await cluster.startFrontend("--servers", servers);
  await cluster.put("k", "v");
  const { id } = await cluster.leader(3);
  expect((await runRaftkv(cluster, "member", "remove", String(id))).code).toBe(0);
  expect(await cluster.get("k")).toBe("v");
  const { members } = await cluster.frontend.call("Status", {}, 5000);
  expect(members.map((member) => member.id)).toEqual([0, 1, 2].filter((other) => other !== id));
  // Nobody here started it, and so nobody stops it.
  expect(cluster.pids(id)).toHaveLength(1);
});

test("L4: what any server has can be read without a leader, and nothing else", async () => {
  await startServersByHand(3);
  await cluster.startFrontend("--servers", `127.0.0.1:${cluster.basePort}`);
  await cluster.put("k", "v");
  await waitFor("server 0 has it", async () => (await cluster.getOn(0, "k")) === "v");
  await cluster.kill([1, 2]);
  const local = await runRaftkv(cluster, "get", "k", "--consistency", "local");
  expect([local.code, local.stdout]).toEqual([0, "v\n"]);
  const linearizable = await runRaftkv(cluster, "get", "k", "--timeout", "2");
  expect([linearizable.code, linearizable.stdout]).toEqual([1, ""]);
});
