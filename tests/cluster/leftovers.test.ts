import { expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openPorts, processesIn } from "./leftovers.ts";

test("an orphan is found by the directory that it works in, until it has ended", async () => {
  const directory = await mkdtemp(join(tmpdir(), "raftkv-leftovers-"));
  expect(processesIn(directory)).toEqual([]);
  const orphan = Bun.spawn(["sleep", "60"], { cwd: directory });
  expect(processesIn(directory)).toEqual([{ pid: orphan.pid, name: "sleep" }]);
  orphan.kill("SIGKILL");
  await orphan.exited;
  expect(processesIn(directory)).toEqual([]);
  await rm(directory, { recursive: true });
});

test("a port is open as long as somebody listens on it", async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  expect(await openPorts([port])).toEqual([port]);
  await new Promise((resolve) => server.close(resolve));
  expect(await openPorts([port])).toEqual([]);
});
