import { expect, setDefaultTimeout, test } from "bun:test";
import { chmod, mkdir, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { inspectStateDirectory } from "../../src/cli/inspect.ts";
import { writeClusterRecord } from "../../src/frontend/cluster-record.ts";
import { initialConfiguration } from "../../src/raft/configuration.ts";
import { createServerStore, openServerStore } from "../../src/storage/server-store.ts";
import { OsFileSystem } from "../../src/storage/os-file-system.ts";
import { segmentName } from "../../src/storage/server-files.ts";
import { writeInspectedServer } from "../storage/inspected-server.ts";
import { append, configuration, group, MEMBERS, noop, SPREAD, term } from "../storage/sample-log.ts";
import { snapshotBytes } from "../storage/sample-snapshot.ts";
import { answerOf, failureLine } from "./command-answer.ts";
import { raftkv } from "./raftkv-process.ts";
import { temporaryDirectory } from "./temporary-directory.ts";

setDefaultTimeout(30_000);

const fs = new OsFileSystem();

async function writeCluster(stateDir: string, clusterId = "cluster-a"): Promise<void> {
  for (const serverId of [0, 1, 2]) {
    await writeInspectedServer(fs, stateDir, { clusterId, serverId, members: MEMBERS });
  }
  await writeClusterRecord(fs, stateDir, { state: "started", clusterId, members: MEMBERS });
}

async function flip(path: string, offset: number): Promise<void> {
  const bytes = await readFile(path);
  bytes[offset] = (bytes[offset] ?? 0) ^ 2;
  await Bun.write(path, bytes);
}

/** Everything that a look could have changed: names, bytes, times of change. */
async function fingerprint(directory: string): Promise<readonly string[]> {
  const names = (await readdir(directory, { recursive: true })).toSorted();
  return Promise.all(
    names.map(async (name) => {
      const path = join(directory, name);
      const stats = await stat(path);
      const text = stats.isFile() ? await Bun.file(path).text() : "";
      return `${name} ${stats.mtimeMs} ${stats.ctimeMs} ${Bun.hash(text)}`;
    }),
  );
}

test("a good state directory: everything that is in it, exit code 0, and nothing is changed", async () => {
  await using directory = await temporaryDirectory();
  await writeCluster(directory.path);
  const before = await fingerprint(directory.path);
  const { exitCode, output } = await answerOf(["inspect", `${directory.path}/`]);
  const text = String(output.stdout);
  expect(exitCode).toBe(0);
  expect(text).toStartWith(`${directory.path}: cluster cluster-a, 3 servers\n`);
  expect(text.match(/^server [012]: would start$/gm)).toHaveLength(3);
  expect(text).toContain("term 3, vote for 0; created with servers 0 1 2");
  expect(text).toContain("state up to entry 5 of term 2; 3 keys");
  expect(text).toMatch(/entries 6 to \d+, the last of term 3; sealed/);
  expect(text).toEndWith("\neverything is as it was written");
  expect(await fingerprint(directory.path)).toEqual(before);
});

test("the members that the log changed to are told, and a server that is to be added to a cluster as such", async () => {
  await using directory = await temporaryDirectory();
  const joiner = { clusterId: "cluster-a", serverId: 7, members: [] };
  await createServerStore(fs, directory.path, joiner, { hardState: term(2, 7) });
  const text = async () => String((await answerOf(["inspect", directory.path])).output.stdout);
  expect(await text()).toContain("term 2, vote for 7; to be added to its cluster");
  const { store } = await openServerStore(fs, directory.path, 7);
  const entries = [noop(1, 2), configuration(2, 2, MEMBERS), configuration(3, 2, SPREAD), noop(4, 2)];
  await store.persist(group(null, append(...entries)));
  await store.close();
  expect(await text()).toContain(
    "entries 1 to 4, the last of term 2; changed to servers 0=10.0.0.1:9001 1 7=[2001:db8::7]:9008 (no vote)",
  );
  const { output } = await answerOf(["inspect", directory.path, "--json"]);
  expect(output.json).toMatchObject({
    servers: [{ files: [{ state: { identity: joiner } }, { members: SPREAD }] }],
  });
});

test("P4: with damage the exit code is 1, and each damaged place is a line with file and byte", async () => {
  await using directory = await temporaryDirectory();
  await writeCluster(directory.path);
  const log = join(directory.path, "server_0", segmentName(6));
  const snapshot = join(directory.path, "server_2", "snapshot-5.json");
  await flip(log, 10);
  await flip(snapshot, 1);
  const before = await fingerprint(directory.path);
  const { exitCode, output } = await answerOf(["inspect", directory.path]);
  const text = Bun.stripANSI(String(output.stdout));
  expect(exitCode).toBe(1);
  expect(text).toContain(`damaged: ${log}: byte 0: the segment's header is damaged`);
  expect(text).toContain(
    `damaged: ${snapshot}: byte 0: this is not a snapshot, or its first line is damaged`,
  );
  expect(text.match(/^server [02]: would not start: /gm)).toHaveLength(2);
  expect(text).toContain("server 1: would start\n");
  expect(text).toEndWith("\nnot everything is as it was written: see above");
  expect(await fingerprint(directory.path)).toEqual(before);

  const json = JSON.parse(
    JSON.stringify((await answerOf(["inspect", directory.path, "--json"])).output.json),
  );
  expect(json).toMatchObject({ sound: false, cluster: { clusterId: "cluster-a" }, servers: { length: 3 } });
  expect(json.servers[2].files[1].damage).toEqual([
    { path: snapshot, offset: 0, what: "this is not a snapshot, or its first line is damaged" },
  ]);
});

test("P7: a damaged record of the cluster is a fault, and the servers are inspected all the same", async () => {
  await using directory = await temporaryDirectory();
  await writeCluster(directory.path);
  await Bun.write(join(directory.path, "cluster.json"), "{");
  const { exitCode, output } = await answerOf(["inspect", directory.path]);
  expect(exitCode).toBe(1);
  expect(output.stdout).toContain("cluster.json is not a record of a cluster");
  expect(output.stdout).toContain("server 2: would start\n");
});

test("P10: a server of another cluster is a fault", async () => {
  await using directory = await temporaryDirectory();
  await writeCluster(directory.path);
  await writeClusterRecord(fs, directory.path, {
    state: "started",
    clusterId: "cluster-b",
    members: MEMBERS,
  });
  const { exitCode, output } = await answerOf(["inspect", directory.path]);
  expect(exitCode).toBe(1);
  expect(output.stdout).toContain("server_2.json: belongs to cluster cluster-a, cluster.json to cluster-b");
});

test("P9: a server of the recorded cluster that has no files would not start", async () => {
  await using directory = await temporaryDirectory();
  const members = initialConfiguration([0, 1]);
  await writeInspectedServer(fs, directory.path, { clusterId: "c", serverId: 0, members });
  await writeClusterRecord(fs, directory.path, { state: "started", clusterId: "c", members });
  const { exitCode, output } = await answerOf(["inspect", directory.path]);
  expect(exitCode).toBe(1);
  expect(output.stdout).toContain("server 1: would not start: ");
});

test("a member with an address of its own may be on another machine: it needs no files here", async () => {
  await using directory = await temporaryDirectory();
  const members = [SPREAD[1], SPREAD[2]].filter((member) => member !== undefined);
  const identity = { clusterId: "c", serverId: 1, members: initialConfiguration([1]) };
  await writeInspectedServer(fs, directory.path, identity);
  await writeClusterRecord(fs, directory.path, { state: "started", clusterId: "c", members });
  const { exitCode, output } = await answerOf(["inspect", directory.path]);
  expect(exitCode).toBe(0);
  expect(output.stdout).toContain("cluster c, 2 servers: 1 7=[2001:db8::7]:9008 (no vote)\n");
  expect(output.stdout).not.toContain("server 7");
});

test("what a cut short StartRaft leaves is no cluster, and what is not ours is named", async () => {
  await using directory = await temporaryDirectory();
  await writeClusterRecord(fs, directory.path, { state: "starting", clusterId: "c", members: MEMBERS });
  await Bun.write(join(directory.path, "notes.txt"), "mine");
  await Bun.write(join(directory.path, "server_0.log"), "a server's");
  const { exitCode, output } = await answerOf(["inspect", directory.path]);
  expect(exitCode).toBe(0);
  expect(output.stdout).toContain("a cluster of 3 servers that was never completed");
  expect(output.stdout).toContain(`not ours, left alone: ${directory.path}/notes.txt`);
  expect(output.stdout).not.toContain("server_0.log");
});

test("P10: of a running server it is said that it runs", async () => {
  await using directory = await temporaryDirectory();
  await writeCluster(directory.path);
  const inspection = await inspectStateDirectory(fs, directory.path, new Set([1]));
  expect(inspection.servers.map(({ start }) => start.kind)).toEqual(["starts", "runs", "starts"]);
  expect(inspection.sound).toBe(true);
});

test("a snapshot file is told from a directory, and a damaged one from a whole one", async () => {
  await using directory = await temporaryDirectory();
  const file = join(directory.path, "snapshot-1.json");
  const bytes = await snapshotBytes();
  await Bun.write(file, bytes);
  const whole = await answerOf(["inspect", file]);
  expect(whole.exitCode).toBe(0);
  expect(whole.output.stdout).toStartWith(`${file}: a snapshot, whole\n`);
  expect(whole.output.stdout).toContain("cluster cluster-a, servers 0 1 2".replace(" ", "  "));
  expect(whole.output.json).toMatchObject({ position: { index: 5, term: 2 }, keys: 3, damage: [] });
  await Bun.write(file, bytes.subarray(0, -5));
  const cut = await answerOf(["inspect", file]);
  expect(cut.exitCode).toBe(1);
  expect(cut.output.stdout).toMatch(/^damaged: .*snapshot-1\.json: byte \d+: the file ends/);
});

test("P10: what is missing, empty or nothing of ours is refused with one line", async () => {
  await using directory = await temporaryDirectory();
  const missing = join(directory.path, "missing");
  expect(await failureLine(["inspect", missing])).toBe(`${missing}: there is no such file or directory`);
  expect(await failureLine(["inspect", directory.path])).toContain("no cluster has files here");
  expect(await failureLine(["inspect", "/dev/null"])).toContain("is no file and no directory");
  expect(await failureLine(["inspect"])).toContain("PATH is missing: raftkv inspect PATH");
});

test("P10: a part of a state directory is told from a snapshot, and the advice names what to inspect", async () => {
  await using directory = await temporaryDirectory();
  await writeCluster(directory.path);
  for (const name of ["server_0.json", "cluster.json", `server_0/${segmentName(6)}`]) {
    const line = await failureLine(["inspect", join(directory.path, name)]);
    expect(line).toContain(`${name}: is a part of a state directory, and no snapshot`);
    expect(line).not.toContain("damaged");
  }
  expect(await failureLine(["inspect", join(directory.path, "server_0")])).toContain(
    "name the directory above",
  );
  expect(await failureLine(["inspect", ""])).toContain("the path is empty");
  const through = join(directory.path, "cluster.json", "x");
  expect(await failureLine(["inspect", through])).toContain(`${through}: a part of the path is a file`);
});

test.if(process.getuid?.() !== 0)("a file that may not be read is damage like any other", async () => {
  await using directory = await temporaryDirectory();
  await writeCluster(directory.path);
  await chmod(join(directory.path, "server_1.json"), 0);
  const { exitCode, output } = await answerOf(["inspect", directory.path]);
  expect(exitCode).toBe(1);
  expect(output.stdout).toContain("server_1.json: cannot read");
});

test("a directory in the place of a file is damage like any other", async () => {
  await using directory = await temporaryDirectory();
  await writeCluster(directory.path);
  await mkdir(join(directory.path, "server_1", segmentName(99)));
  const { exitCode, output } = await answerOf(["inspect", directory.path]);
  expect(exitCode).toBe(1);
  expect(output.stdout).toContain(segmentName(99));
});

test("the command line prints the report, and one document with --json", async () => {
  await using directory = await temporaryDirectory();
  await writeCluster(directory.path);
  const { exitCode, stdout, stderr } = await raftkv(["inspect", "."], { cwd: directory.path });
  expect([exitCode, stderr]).toEqual([0, ""]);
  expect(stdout).not.toContain("\u001B");
  const json = await raftkv(["inspect", "--json", "."], { cwd: directory.path });
  expect(JSON.parse(json.stdout)).toMatchObject({ stateDir: ".", sound: true });
});
