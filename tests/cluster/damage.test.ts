import { expect, setDefaultTimeout, test } from "bun:test";
import { truncate } from "node:fs/promises";
import { join } from "node:path";
import { Random } from "../../src/sim/random.ts";
import { Auditor } from "./auditor.ts";
import { damageFiles } from "./damage.ts";
import { Deployment } from "./deployment.ts";
import { Ledger } from "./ledger.ts";
import { leaderRoute } from "./put-route.ts";

setDefaultTimeout(90_000);

const SERVERS = [0, 1, 2] as const;
const WRITES = 20;
const LOST = 5;

test("P3, P4, P7: a server whose files were damaged rejoins or refuses with one clear line, and nobody answers wrongly", async () => {
  const { rounds, complaints } = await damageFiles(6, new Random(3));
  expect(complaints).toEqual([]);
  expect(rounds).toBe(6);
});

test("P3: a killed server whose log lost whole records at its end, as no file can show, gets them again from the same leader", async () => {
  const cluster = await Deployment.create();
  try {
    await cluster.startFrontend();
    await cluster.startRaft(SERVERS.length);
    const ledger = new Ledger();
    const auditor = new Auditor(cluster, ledger, leaderRoute(cluster, SERVERS.length));
    for (let write = 0; write < WRITES; write += 1) await auditor.writeBarrier();
    await auditor.check(SERVERS);
    const follower = ((await cluster.leader(SERVERS.length)).id + 1) % SERVERS.length;
    await cluster.kill([follower]);
    const path = join(cluster.stateDirectory, `server_${follower}`, "log-0000000000000001.jsonl");
    const kept = (await Bun.file(path).text()).trimEnd().split("\n").slice(0, -LOST);
    await truncate(path, Buffer.byteLength(`${kept.join("\n")}\n`));
    await auditor.writeBarrier();
    expect((await cluster.startServer(follower)).error).toBe("");
    await auditor.check(SERVERS);
    expect(ledger.complaints).toEqual([]);
  } finally {
    await cluster.close();
  }
});
