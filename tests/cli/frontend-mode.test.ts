import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { resolve } from "node:path";
import { raftkv, spawnRaftkv } from "./raftkv-process.ts";
import { workingDirectory } from "./working-directory.ts";

setDefaultTimeout(30_000);

const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** What the process has said by the time that it has said `text`. */
async function readUntil(stream: ReadableStream<Uint8Array>, text: string): Promise<string> {
  const decoder = new TextDecoder();
  let said = "";
  for await (const chunk of stream) {
    said += decoder.decode(chunk, { stream: true });
    if (said.includes(text)) return said;
  }
  throw new Error(`the process ended without saying ${text}; it said ${said}`);
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  test(`F4: a frontend says where it listens and how to talk to it, and ends with 0 on ${signal}`, async () => {
    const { directory, frontendPort, remove } = await workingDirectory();
    cleanups.push(remove);
    const frontend = spawnRaftkv([], { cwd: directory });
    cleanups.push(async () => {
      frontend.kill("SIGKILL");
      await frontend.exited;
    });
    const said = await readUntil(frontend.stdout, "Ctrl-C");
    expect(said).toContain(`the frontend listens on 127.0.0.1:${frontendPort}`);
    expect(said.match(/^ {2}\S.* --address 127\.0\.0\.1:\d+$/gm)).toHaveLength(3);

    const status = await raftkv(["status", "--address", `127.0.0.1:${frontendPort}`]);
    expect(status).toMatchObject({
      exitCode: 1,
      stderr: 'raftkv: no cluster: start one with "raftkv start 3"\n',
    });

    frontend.kill(signal);
    expect(await frontend.exited).toBe(0);
  });
}

test("F4: a frontend that nohup started goes on when its terminal closes", async () => {
  const { directory, remove } = await workingDirectory();
  cleanups.push(remove);
  const main = resolve(import.meta.dir, "../../src/main.ts");
  const frontend = Bun.spawn(["sh", "-c", 'trap "" HUP; exec "$@"', "sh", process.execPath, main], {
    cwd: directory,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "ignore",
  });
  cleanups.push(async () => {
    frontend.kill("SIGKILL");
    await frontend.exited;
  });
  await readUntil(frontend.stdout, "Ctrl-C");
  frontend.kill("SIGHUP");
  frontend.kill("SIGTERM");
  // Its second signal would have ended it at once, with another code.
  expect(await frontend.exited).toBe(0);
});

test("F2: a second frontend on one port ends with 1, names the port, and with --json says so in one document", async () => {
  const { directory, frontendPort, remove } = await workingDirectory();
  cleanups.push(remove);
  const first = spawnRaftkv(["--json"], { cwd: directory });
  cleanups.push(async () => {
    first.kill("SIGKILL");
    await first.exited;
  });
  const said: unknown = JSON.parse(await readUntil(first.stdout, "\n"));
  expect(said).toEqual({ version: "dev", address: `127.0.0.1:${frontendPort}`, pid: first.pid });

  const second = await raftkv([], { cwd: directory });
  expect([second.exitCode, second.stdout]).toEqual([1, ""]);
  expect(second.stderr).toContain(`raftkv: port ${frontendPort} on 127.0.0.1 is in use`);
  const json = await raftkv(["--json"], { cwd: directory });
  expect(json.exitCode).toBe(1);
  expect(JSON.parse(json.stdout)).toMatchObject({ error: { code: "io" } });
});

test("a frontend of servers that others start says where it routes to, and leaves no files", async () => {
  const { directory, frontendPort, remove } = await workingDirectory();
  cleanups.push(remove);
  const frontend = spawnRaftkv(["--servers", "0=127.0.0.1:1,1=127.0.0.1:2"], { cwd: directory });
  cleanups.push(async () => {
    frontend.kill("SIGKILL");
    await frontend.exited;
  });
  const said = await readUntil(frontend.stdout, "the servers go on.");
  expect(said).toContain(
    `the frontend listens on 127.0.0.1:${frontendPort}; routes to the servers at 127.0.0.1:1, 127.0.0.1:2`,
  );
  const at = ["--address", `127.0.0.1:${frontendPort}`];
  const start = await raftkv(["start", "3", ...at]);
  expect([start.exitCode, start.stderr]).toEqual([
    1,
    expect.stringMatching(/^raftkv: this frontend starts no servers: [^\n]+\n$/),
  ]);
  frontend.kill("SIGTERM");
  expect(await frontend.exited).toBe(0);
  expect(await readdir(directory)).toEqual(["config.ini"]);
});
