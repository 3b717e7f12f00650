/** How the kernel is to run the servers: real processes under load. */
import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import { schedulingSwitch } from "../../src/server/scheduling-policy.ts";
import { Deployment } from "./deployment.ts";
import { SteadyLoad } from "./steady-load.ts";
import { waitFor } from "./waiting.ts";

setDefaultTimeout(150_000);

/** What a machine full of other work may take to be fast enough for a quarter of a second. */
const DEADLINE_MS = 60_000;

let cluster: Deployment | null = null;

afterEach(async () => {
  await cluster?.close();
  cluster = null;
});

/** As the kernel numbers them. */
async function policyOf(pid: number): Promise<"normal" | "batch" | null> {
  const stat = await Bun.file(`/proc/${pid}/stat`).text();
  const policy = Number(stat.split(") ").at(-1)?.split(" ")[38]);
  if (policy === 0) return "normal";
  return policy === 3 ? "batch" : null;
}

test.skipIf(schedulingSwitch() === null)(
  "a leader that many clients call lets others finish what they do, and interrupts them again when it is idle",
  async () => {
    const deployment = (cluster = await Deployment.create());
    await deployment.startFrontend();
    await deployment.startRaft(3);
    const { id } = await deployment.leader(3);
    const [pid = 0] = deployment.pids(id);
    expect(await policyOf(pid)).toBe("normal");
    const load = new SteadyLoad(deployment, 64);
    await waitFor("batch", async () => (await policyOf(pid)) === "batch", DEADLINE_MS).finally(() =>
      load.stop(),
    );
    await waitFor("normal", async () => (await policyOf(pid)) === "normal", DEADLINE_MS);
    expect(load.failures).toEqual([]);
  },
);
