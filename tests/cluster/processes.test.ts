import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { rm } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { Deployment, EXECUTABLE } from "./deployment.ts";
import { waitFor } from "./waiting.ts";

setDefaultTimeout(90_000);

let cluster: Deployment;

beforeEach(async () => {
  cluster = await Deployment.create();
});

afterEach(() => cluster.close());

/** Runs the executable to its end; what it says and how it ends. */
async function run(...args: readonly string[]): Promise<{ code: number; stderr: string; stdout: string }> {
  const child = Bun.spawn([EXECUTABLE, ...args], {
    cwd: cluster.directory,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const killer = setTimeout(() => child.kill("SIGKILL"), 30_000);
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  const code = await child.exited;
  clearTimeout(killer);
  return { code, stdout, stderr };
}

function listen(port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}

describe("processes of one deployment", () => {
  test("before StartRaft, Put and Get answer at once that there is no cluster", async () => {
    await cluster.startFrontend();
    const reply = await cluster.frontend.call("Put", { key: Buffer.from("k") }, 5000);
    expect(reply).toMatchObject({ wrongLeader: true, code: "NO_CLUSTER" });
    expect(reply.error).not.toBe("");
  });

  test("F1: StartRaft and StartServer twice and at the same time leave one process an id", async () => {
    await cluster.startFrontend();
    await Promise.all([cluster.startRaft(3), cluster.startRaft(3)]);
    await cluster.signal(1, "SIGKILL");
    const replies = await Promise.all([1, 1, 1, 0].map((id) => cluster.startServer(id)));
    expect(replies.map(({ error }) => error)).toEqual(["", "", "", ""]);
    for (const id of [0, 1, 2]) expect(cluster.pids(id)).toHaveLength(1);
  });

  test("F1: StartServer of a running server restarts nothing", async () => {
    await cluster.startFrontend();
    await cluster.startRaft(3);
    const before = cluster.pids(2);
    expect((await cluster.startServer(2)).error).toBe("");
    expect(cluster.pids(2)).toEqual(before);
  });

  test("F2: a taken port is a clear error, and the cluster does not half start", async () => {
    await cluster.startFrontend();
    const squatter = await listen(cluster.basePort + 1);
    const reply = await cluster.frontend.call("StartRaft", { arg: 3 }, 30_000);
    expect(reply.error).toContain(String(cluster.basePort + 1));
    expect([0, 1, 2].flatMap((id) => cluster.pids(id))).toEqual([]);
    await new Promise((resolve) => squatter.close(resolve));
    await cluster.startRaft(3);
  });

  test("F2: a second frontend on the same port says so and exits with 1", async () => {
    await cluster.startFrontend();
    await cluster.startRaft(1);
    const { code, stderr } = await run();
    expect(code).toBe(1);
    expect(stderr).toMatch(/port \d+ .*in use/);
    expect(cluster.pids(0)).toHaveLength(1);
  });

  test("F4: SIGTERM to the frontend stops its servers cleanly, and nothing is lost", async () => {
    await cluster.startFrontend();
    await cluster.startRaft(3);
    await cluster.put("k", "v");
    expect(await cluster.stopFrontend("SIGTERM")).toBe(0);
    expect([0, 1, 2].flatMap((id) => cluster.pids(id))).toEqual([]);
    await cluster.startFrontend("--start", "3");
    expect(await cluster.get("k")).toBe("v");
  });

  test("F4: SIGTERM while a cluster is being started stops what there is, soon", async () => {
    await cluster.startFrontend();
    const starting = cluster.frontend.call("StartRaft", { arg: 7 }, 30_000).catch(() => null);
    await waitFor("a server runs", () => cluster.pids(0).length === 1);
    expect(await cluster.stopFrontend("SIGTERM")).toBe(0);
    await starting;
    expect([0, 1, 2, 3, 4, 5, 6].flatMap((id) => cluster.pids(id))).toEqual([]);
  });

  test("F4: after SIGKILL of the frontend servers serve on, and the next frontend takes them over", async () => {
    await cluster.startFrontend();
    await cluster.startRaft(3);
    await cluster.put("k", "v");
    const before = [0, 1, 2].flatMap((id) => cluster.pids(id));
    await cluster.stopFrontend("SIGKILL");
    const { id } = await cluster.leader(3);
    expect((await cluster.putOn(id, "k", "without a frontend")).success).toBe(true);
    await cluster.startFrontend();
    expect(await cluster.get("k")).toBe("without a frontend");
    expect([0, 1, 2].flatMap((server) => cluster.pids(server))).toEqual(before);
    await cluster.startRaft(3);
    expect(await cluster.get("k")).toBeNull();
    await cluster.stopFrontend("SIGTERM");
    expect([0, 1, 2].flatMap((server) => cluster.pids(server))).toEqual([]);
  });

  test("StartRaft replaces servers whose state directory was deleted under them, and stopped ones", async () => {
    await cluster.startFrontend();
    await cluster.startRaft(3);
    await cluster.signal(1, "SIGSTOP");
    await rm(cluster.stateDirectory, { recursive: true });
    await cluster.startRaft(3);
    await cluster.put("k", "v");
    for (const id of [0, 1, 2]) expect(cluster.pids(id)).toHaveLength(1);
  });

  test("StartRaft erases the old cluster's state and nothing else", async () => {
    await cluster.startFrontend();
    await cluster.startRaft(5);
    await cluster.put("k", "v");
    await Bun.write(join(cluster.stateDirectory, "notes.txt"), "mine");
    await cluster.startRaft(3);
    expect(await cluster.get("k")).toBeNull();
    expect(await Bun.file(join(cluster.stateDirectory, "notes.txt")).text()).toBe("mine");
    expect(await Bun.file(join(cluster.stateDirectory, "server_4.json")).exists()).toBe(false);
  });

  test("I2: StartServer of an id that no server can have is a clear error", async () => {
    await cluster.startFrontend();
    await cluster.startRaft(3);
    expect((await cluster.startServer(-1)).error).toBe("a server's id is 0 or more, not -1");
    expect((await cluster.startServer(65_535)).error).toMatch(/port \d+ of server 65535 does not exist/);
    expect((await cluster.startServer(2 ** 40)).error).not.toBe("");
    for (const id of [0, 1, 2]) expect(cluster.pids(id)).toHaveLength(1);
  });

  test("a server started by hand carries its name in the process list and serves the state it finds", async () => {
    await cluster.startFrontend();
    await cluster.startRaft(3);
    await cluster.put("k", "v");
    await cluster.signal(1, "SIGKILL");
    const child = Bun.spawn([EXECUTABLE, "--mode", "server", "--id", "1"], {
      cwd: cluster.directory,
      stdin: "ignore",
      stdout: "ignore",
      stderr: "ignore",
    });
    await waitFor("it has the value", async () => (await cluster.getOn(1, "k")) === "v");
    expect(cluster.pids(1)).toEqual([child.pid]);
    expect((await cluster.startServer(1)).error).toBe("");
    expect(cluster.pids(1)).toEqual([child.pid]);
    await cluster.signal(1, "SIGTERM");
    expect(await child.exited).toBe(0);
  });

  test("P10: a second process on one state directory is refused with one clear line", async () => {
    await cluster.startFrontend();
    await cluster.startRaft(1);
    const { code, stderr } = await run("--mode", "server", "--id", "0");
    expect(code).toBe(1);
    expect(stderr).toMatch(/another process/);
  });

  test("P4, P7: a server whose state file is garbage, or whose log is damaged, refuses to start and says where", async () => {
    await cluster.startFrontend();
    await cluster.startRaft(3);
    await cluster.put("k", "v");
    await cluster.signal(0, "SIGKILL");
    const stateFile = join(cluster.stateDirectory, "server_0.json");
    const content = await Bun.file(stateFile).text();
    await Bun.write(stateFile, "");
    expect((await cluster.startServer(0)).error).toContain("server_0.json");
    await Bun.write(stateFile, content);
    const log = join(cluster.stateDirectory, "server_0", "log-0000000000000001.jsonl");
    const bytes = Buffer.from(await Bun.file(log).arrayBuffer());
    bytes[bytes.length - 5] = (bytes[bytes.length - 5] ?? 0) ^ 1;
    await Bun.write(log, bytes);
    expect((await cluster.startServer(0)).error).toMatch(/log-0000000000000001.jsonl.*byte/);
    expect(await cluster.get("k")).toBe("v");
  });

  test("P9: a server whose files are gone is not started as an empty one", async () => {
    await cluster.startFrontend();
    await cluster.startRaft(3);
    await cluster.signal(2, "SIGKILL");
    await rm(join(cluster.stateDirectory, "server_2.json"));
    await rm(join(cluster.stateDirectory, "server_2"), { recursive: true });
    expect((await cluster.startServer(2)).error).toMatch(/no state/);
    expect(cluster.pids(2)).toEqual([]);
  });

  test("a wrong config value stops the process with one line that names it", async () => {
    const path = join(cluster.directory, "config.ini");
    await Bun.write(path, (await Bun.file(path).text()).replace(/base_port = \d+/, "base_port = 90o1"));
    const { code, stderr } = await run();
    expect(code).toBe(1);
    expect(stderr.trim().split("\n")).toHaveLength(1);
    for (const part of ["config.ini", "Servers", "base_port", "90o1"]) expect(stderr).toContain(part);
  });

  test("a state directory that cannot be made is one clear line", async () => {
    await Bun.write(join(cluster.directory, "raft_state"), "a file in the way");
    const { code, stderr } = await run("--start", "1");
    expect(code).toBe(1);
    expect(stderr).toMatch(/raft_state/);
    expect(stderr.trim().split("\n")).toHaveLength(1);
  });
});
