/** A planned restart costs no client a call: real processes under load. */
import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { Deployment } from "./deployment.ts";
import { SteadyLoad } from "./steady-load.ts";
import { waitFor } from "./waiting.ts";

setDefaultTimeout(120_000);

const ROUNDS = 2;

let cluster: Deployment;
let load: SteadyLoad | null = null;

beforeEach(async () => {
  cluster = await Deployment.create();
  await cluster.startFrontend();
});

afterEach(async () => {
  await load?.stop();
  load = null;
  await cluster.close();
});

/** Waits until the server has everything that the leader had committed a moment ago. */
async function caughtUp(id: number, servers: number): Promise<void> {
  const { commitIndex } = await cluster.leader(servers);
  await waitFor(
    `server ${id} has entry ${commitIndex}`,
    async () => (await cluster.status(id)).lastApplied >= commitIndex,
  );
}

test.each([3, 5])(
  "C2, F7: each of %d servers is stopped and started again under load, and no call fails",
  async (servers) => {
    await cluster.startRaft(servers);
    const clients = (load = new SteadyLoad(cluster));
    await clients.more(100);
    for (let round = 0; round < ROUNDS; round += 1) {
      for (let id = 0; id < servers; id += 1) {
        await cluster.signal(id, "SIGTERM");
        await clients.more(20);
        expect((await cluster.startServer(id)).error).toBe("");
        await caughtUp(id, servers);
      }
    }
    await clients.more(100);
    await clients.stop();
    expect(clients.failures).toEqual([]);
    await clients.checkOn([...Array(servers).keys()]);
  },
);

test("C2, F7: the leader is stopped again and again under load, and no call fails", async () => {
  await cluster.startRaft(3);
  const clients = (load = new SteadyLoad(cluster));
  for (let round = 0; round < 6; round += 1) {
    await clients.more(50);
    const { id, term } = await cluster.leader(3);
    await cluster.signal(id, "SIGTERM");
    const next = await waitFor("another leader", async () => {
      const leader = await cluster.leader(3);
      return leader.term > term ? leader : null;
    });
    expect(next.id).not.toBe(id);
    expect((await cluster.startServer(id)).error).toBe("");
    await caughtUp(id, 3);
  }
  await clients.stop();
  expect(clients.failures).toEqual([]);
});
