import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import { SERVER_ENVIRONMENT } from "../../src/frontend/server-environment.ts";
import { RpcClient } from "../../src/rpc/rpc-client.ts";
import { raftkv, spawnRaftkv } from "./raftkv-process.ts";
import { workingDirectory } from "./working-directory.ts";

setDefaultTimeout(30_000);

const DEADLINE_MS = 15_000;

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function untilServing(port: number): Promise<void> {
  const client = new RpcClient("KeyValueStore", `127.0.0.1:${port}`);
  cleanups.push(async () => client.close());
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const answer = await client.call("ping", {}, 1000).catch(() => null);
    if (answer?.success === true) return;
    if (Date.now() > deadline) throw new Error(`nothing serves on port ${port}`);
    await Bun.sleep(20);
  }
}

/** Elsewhere than on Linux nobody can tell. */
async function hasServerEnvironment(pid: number): Promise<boolean> {
  if (process.platform !== "linux") return true;
  const words = (await Bun.file(`/proc/${pid}/environ`).text()).split("\0");
  return Object.entries(SERVER_ENVIRONMENT).every(([name, value]) => words.includes(`${name}=${value}`));
}

test("a server started by hand is found as raftserver<id + 1> with its absolute state directory, and SIGTERM ends it", async () => {
  const { directory, serverPort, remove } = await workingDirectory();
  cleanups.push(remove);
  const args = [
    "--id=0",
    "--mode=server",
    "--bootstrap",
    "1",
    "--cluster-id",
    "c1",
    "--state-dir",
    "./state",
  ];
  const server = spawnRaftkv(args, { cwd: directory });
  cleanups.push(async () => {
    server.kill("SIGKILL");
    await server.exited;
  });
  await untilServing(serverPort);

  const ps = Bun.spawnSync(["ps", "-ww", "-o", "command=", "-p", String(server.pid)]).stdout.toString();
  expect(ps).toStartWith("raftserver1 ");
  expect(ps).toContain(`--mode server --id 0 --state-dir ${directory}/state `);
  expect(await hasServerEnvironment(server.pid)).toBe(true);

  server.kill("SIGTERM");
  expect(await server.exited).toBe(0);
});

test("a server that cannot start says why in one line and exits with 1", async () => {
  const { directory, remove } = await workingDirectory();
  cleanups.push(remove);
  const { exitCode, stdout, stderr } = await raftkv(["--mode", "server", "--id", "0"], { cwd: directory });
  expect([exitCode, stdout]).toEqual([1, ""]);
  const lines = stderr.trimEnd().split("\n");
  expect(lines).toHaveLength(1);
  expect(lines[0]).toStartWith("raftkv: ");
});
