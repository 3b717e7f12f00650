/** How the kernel is to run a server: a real process that is called. */
import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import { schedulingSwitch } from "../../src/server/scheduling-policy.ts";
import { Deployment } from "./deployment.ts";
import { waitFor } from "./waiting.ts";

setDefaultTimeout(120_000);

const CALLERS = 64;
const CALL_TIMEOUT_MS = 10_000;
const DEADLINE_MS = 30_000;

let cluster: Deployment | null = null;

afterEach(async () => {
  await cluster?.close();
  cluster = null;
});

/** As the kernel numbers them: 0 is SCHED_OTHER, 3 SCHED_BATCH. The 41st field, the third being the first after the name. */
async function policyOf(pid: number): Promise<number> {
  const stat = await Bun.file(`/proc/${pid}/stat`).text();
  return Number(stat.split(") ").at(-1)?.split(" ")[38]);
}

test.skipIf(schedulingSwitch() === null)(
  "a server that many call at once lets others finish what they do, and interrupts them again when it is idle",
  async () => {
    const deployment = (cluster = await Deployment.create());
    await deployment.startFrontend();
    await deployment.startRaft(1);
    const [pid = 0] = deployment.pids(0);
    expect(await policyOf(pid)).toBe(0);
    const server = deployment.server(0);
    const over = new AbortController();
    const callers = Array.from({ length: CALLERS }, async () => {
      while (!over.signal.aborted) await server.call("ping", {}, CALL_TIMEOUT_MS);
    });
    await waitFor("batch", async () => (await policyOf(pid)) === 3, DEADLINE_MS).finally(() => over.abort());
    await Promise.all(callers);
    await waitFor("normal", async () => (await policyOf(pid)) === 0, DEADLINE_MS);
  },
);
