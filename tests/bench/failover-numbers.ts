/** How long clients that write all the time cannot, when the leader is killed. */
import { ChaosClient, frontendRoute } from "../cluster/chaos-clients.ts";
import { ChaosKeys } from "../cluster/chaos-keys.ts";
import { ChaosRecord } from "../cluster/chaos-record.ts";
import { ASKED, judgeTimes } from "../cluster/chaos-verdict.ts";
import type { Deployment } from "../cluster/deployment.ts";
import { failoverGaps } from "../cluster/failover-gaps.ts";
import { waitFor } from "../cluster/waiting.ts";
import { Random } from "../../src/sim/random.ts";
import { percentile } from "./load.ts";
import { formatMs, type NumberTable } from "./number-table.ts";

const KILLS = 50;
const CLIENTS = 32;
/** Writes after a kill, and after the killed server is there again. */
const WRITES_BETWEEN = 200;

export async function measureFailoverUnderLoad(deployment: Deployment, table: NumberTable): Promise<void> {
  await deployment.startRaft(3);
  const record = new ChaosRecord();
  const keys = new ChaosKeys(CLIENTS, Number.MAX_SAFE_INTEGER);
  const clients = Array.from(
    { length: CLIENTS },
    (_, at) =>
      new ChaosClient(at + 1, frontendRoute(deployment.frontendAddress), record, keys, new Random(1, at)),
  );
  const losses: number[] = [];
  const moreWrites = async (): Promise<void> => {
    const enough = record.acknowledged.length + WRITES_BETWEEN;
    await waitFor("more writes", () => record.acknowledged.length >= enough);
  };
  while (losses.length < KILLS) {
    await moreWrites();
    const leader = await deployment.leader(3);
    losses.push(performance.now());
    process.kill(leader.pid, "SIGKILL");
    await moreWrites();
    await deployment.startServer(leader.id);
    await waitFor("the killed server follows", async () => {
      return (await deployment.status(leader.id)).leaderId !== undefined;
    });
  }
  await Promise.all(clients.map((client) => client.stop()));
  const connectivity = [{ atMs: 0, isConnected: true }];
  const { acknowledged, counts } = record;
  const times = { losses, acknowledged, connectivity, endMs: performance.now() };
  const gapsMs = failoverGaps(times, ASKED.recoveryMs);
  const [p50, p99] = [percentile(gapsMs, 0.5), percentile(gapsMs, 0.99)];
  table.add({
    what: `leader SIGKILL under load, without a put, ${KILLS} kills`,
    asked: "p50 ≤ 0.5 s, p99 ≤ 2 s",
    measured: `p50 ${formatMs(p50)}, p99 ${formatMs(p99)}; ${counts.ok} operations, ${counts.unknown} unknown`,
    holds: judgeTimes([], gapsMs).length === 0,
  });
}
