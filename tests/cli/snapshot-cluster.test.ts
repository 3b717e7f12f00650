/** The tools against real clusters, by the compiled executable. */
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { rename } from "node:fs/promises";
import { join } from "node:path";
import { encodeText } from "../../src/rpc/text.ts";
import { Deployment, EXECUTABLE } from "../cluster/deployment.ts";
import { waitFor } from "../cluster/waiting.ts";

setDefaultTimeout(90_000);

const deployments: Deployment[] = [];

afterAll(async () => {
  for (const deployment of deployments) await deployment.close();
});

async function deploy(): Promise<Deployment> {
  const deployment = await Deployment.create();
  deployments.push(deployment);
  return deployment;
}

/** Runs the executable in the deployment's directory; its JSON answer. */
async function run(deployment: Deployment, ...args: readonly string[]) {
  const child = Bun.spawn([EXECUTABLE, ...args, "--json"], {
    cwd: deployment.directory,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [exitCode, stdout] = await Promise.all([child.exited, child.stdout.text()]);
  const json: unknown = JSON.parse(stdout);
  return { exitCode, json };
}

async function putAs(deployment: Deployment, requestId: number, value: string): Promise<void> {
  const request = { key: encodeText("counter"), value: encodeText(value), clientId: 7, requestId };
  expect((await deployment.frontend.call("Put", request, 10_000)).error).toBe("");
}

/** Puts keys one after the other until it is told to stop; resolves to how many were acknowledged. */
function putting(deployment: Deployment) {
  let acknowledged = 0;
  const stopping = new AbortController();
  const done = (async () => {
    while (!stopping.signal.aborted) {
      await deployment.put(`key${acknowledged}`, `value${acknowledged}`);
      acknowledged += 1;
    }
  })();
  return {
    acknowledged: () => acknowledged,
    async stop() {
      stopping.abort();
      await done;
    },
  };
}

test("S5: a snapshot saved under puts holds every write acknowledged before, and a restored cluster serves it", async () => {
  const old = await deploy();
  await old.startFrontend("--start", "3");
  await waitFor("the cluster serves", () => old.put("ready", "yes").then(() => true));
  await putAs(old, 1, "first");
  await putAs(old, 2, "second");
  const writer = putting(old);
  await waitFor("some puts", () => writer.acknowledged() >= 50);

  const before = writer.acknowledged();
  const saved = await run(old, "snapshot", "save", "backup", "--address", old.frontendAddress);
  expect(saved).toMatchObject({ exitCode: 0, json: { ok: true, file: "backup" } });
  // The servers write while they are looked at.
  expect(await run(old, "inspect", "raft_state")).toMatchObject({
    exitCode: 0,
    json: { sound: true, servers: [{ start: { kind: "runs" } }, { start: { kind: "runs" } }, {}] },
  });
  await writer.stop();
  await old.put("key0", "changed after the snapshot");
  await old.stopFrontend("SIGTERM");
  const stopped = await run(old, "inspect", "raft_state");
  expect(stopped).toMatchObject({ exitCode: 0, json: { sound: true } });

  const fresh = await deploy();
  await rename(join(old.directory, "backup"), join(fresh.directory, "backup"));
  const restored = await run(fresh, "snapshot", "restore", "backup", "--dir", "raft_state");
  expect(restored).toMatchObject({ exitCode: 0, json: { ok: true, servers: 3 } });
  expect(await run(fresh, "inspect", "raft_state")).toMatchObject({ exitCode: 0, json: { sound: true } });
  await fresh.startFrontend("--start", "3");
  await fresh.leader(3);
  for (let key = 0; key < before; key++) expect(await fresh.get(`key${key}`)).toBe(`value${key}`);

  // C1: the retry of a write from before the snapshot is still known as one.
  await putAs(fresh, 1, "first");
  expect(await fresh.get("counter")).toBe("second");
  await fresh.put("new", "write");
  for (const id of [0, 1, 2]) {
    await waitFor(`server ${id} has it`, async () => (await fresh.getOn(id, "new")) === "write");
  }
});
