import { expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, readdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { RaftKvError } from "../../src/base/errors.ts";
import { saveSnapshot } from "../../src/cli/snapshot-save.ts";
import { MemoryDisk } from "../../src/storage/memory-file-system.ts";
import { snapshotBytes } from "../storage/sample-snapshot.ts";
import { answerOf, failureLine } from "./command-answer.ts";
import { fakeCluster, leaderWith, snapshotReply } from "./fake-cluster.ts";
import { freePort } from "./fake-frontend.ts";
import { raftkv, spawnRaftkv } from "./raftkv-process.ts";
import { temporaryDirectory } from "./temporary-directory.ts";

setDefaultTimeout(30_000);

const BYTES = await snapshotBytes();

async function bytesOf(path: string): Promise<Buffer> {
  return Buffer.from(await Bun.file(path).bytes());
}

test("S5: a saved snapshot is the leader's, byte for byte, and nothing else is left", async () => {
  await using directory = await temporaryDirectory();
  await using cluster = await fakeCluster(leaderWith(BYTES));
  const file = join(directory.path, "backup");
  const args = ["snapshot", "save", file, "--address", cluster.address];
  const { exitCode, output } = await answerOf(args);
  expect(exitCode).toBe(0);
  expect(output.stdout).toBe(
    `saved to ${file}: state up to entry 5 of term 2, 3 keys, ${BYTES.length} bytes, from server 1`,
  );
  expect(output.json).toMatchObject({ ok: true, file, clusterId: "cluster-a", index: 5, term: 2, keys: 3 });
  expect(await bytesOf(file)).toEqual(BYTES);
  expect(await readdir(directory.path)).toEqual(["backup"]);
});

test("a file that is there is replaced with --force only", async () => {
  await using directory = await temporaryDirectory();
  await using cluster = await fakeCluster(leaderWith(BYTES));
  const file = join(directory.path, "backup");
  await Bun.write(file, "precious");
  const args = ["snapshot", "save", file, "--address", cluster.address];
  expect(await failureLine(args)).toBe(`${file} exists: give --force to replace it, or another name`);
  expect(await Bun.file(file).text()).toBe("precious");
  expect((await answerOf([...args, "--force"])).exitCode).toBe(0);
  expect(await bytesOf(file)).toEqual(BYTES);
});

test("a file that comes into being during the save is not replaced", async () => {
  await using directory = await temporaryDirectory();
  const file = join(directory.path, "backup");
  await using cluster = await fakeCluster({
    ...leaderWith(BYTES),
    async TakeSnapshot() {
      await Bun.write(file, "precious");
      return snapshotReply(BYTES);
    },
  });
  expect(await failureLine(["snapshot", "save", file, "--address", cluster.address])).toContain("exists");
  expect(await Bun.file(file).text()).toBe("precious");
  expect(await readdir(directory.path)).toEqual(["backup"]);
});

test("P10: a directory, a device, and a directory that is not there are refused before anything is asked", async () => {
  await using directory = await temporaryDirectory();
  const nobody = ["--address", `127.0.0.1:${await freePort()}`];
  const save = (file: string): Promise<string> => failureLine(["snapshot", "save", file, ...nobody]);
  await mkdir(join(directory.path, "d"));
  await symlink("/dev/null", join(directory.path, "device"));
  expect(await save(join(directory.path, "d"))).toContain("is a directory: name a file in it");
  expect(await save(join(directory.path, "device"))).toContain("is not a regular file");
  expect(await save(join(directory.path, "no", "file"))).toContain("there is no directory");
  expect(await save(join(directory.path, "file"))).toContain("no frontend answers at");
  expect((await readdir(directory.path)).toSorted()).toEqual(["d", "device"]);
});

test("S6: a leader that is lost in the middle makes the save begin anew, with the next leader's snapshot", async () => {
  await using directory = await temporaryDirectory();
  const file = join(directory.path, "backup");
  const lost = Buffer.concat([BYTES, Buffer.from("of the old leader")]);
  let taken = 0;
  await using cluster = await fakeCluster({
    async TakeSnapshot() {
      taken += 1;
      if (taken === 1) return snapshotReply(lost);
      if (taken === 2) return { code: "NOT_LEADER", error: "not the leader; no leader is known" };
      return snapshotReply(BYTES);
    },
    async ReadSnapshot({ offset, totalBytes }) {
      if (totalBytes === BYTES.length) return { data: BYTES.subarray(offset, offset + 100) };
      if (offset >= 200) throw new RaftKvError("failedPrecondition", "it is not open here");
      return { data: lost.subarray(offset, offset + 100) };
    },
  });
  const { exitCode } = await answerOf(["snapshot", "save", file, "--address", cluster.address]);
  expect([exitCode, taken]).toEqual([0, 3]);
  expect(await bytesOf(file)).toEqual(BYTES);
});

test("S5: a snapshot that comes damaged is never kept", async () => {
  await using directory = await temporaryDirectory();
  const file = join(directory.path, "backup");
  const damaged = Buffer.from(BYTES);
  damaged[150] = (damaged[150] ?? 0) ^ 1;
  await using whole = await fakeCluster(leaderWith(damaged));
  const args = ["snapshot", "save", file];
  expect(await failureLine([...args, "--address", whole.address])).toContain("sent a damaged snapshot: byte");
  await using announced = await fakeCluster({
    ...leaderWith(BYTES),
    TakeSnapshot: async () => ({ ...snapshotReply(BYTES), checksum: "00000000" }),
  });
  expect(await failureLine([...args, "--address", announced.address])).toContain(
    "the checksum does not match",
  );
  await using short = await fakeCluster({ ...leaderWith(BYTES), ReadSnapshot: async () => ({}) });
  expect(await failureLine([...args, "--address", short.address])).toContain("sent 0 bytes at byte 0");
  expect(await readdir(directory.path)).toEqual([]);
});

test("no cluster and no leader are one line each, and leave nothing", async () => {
  await using directory = await temporaryDirectory();
  const file = join(directory.path, "backup");
  await using leaderless = await fakeCluster({}, () => false);
  const args = ["snapshot", "save", file, "--timeout", "0.3", "--address", leaderless.address];
  expect(await failureLine(args)).toContain("no server leads");
  expect(await readdir(directory.path)).toEqual([]);
});

test("a save waits for a leader that is about to be elected", async () => {
  await using directory = await temporaryDirectory();
  let asked = 0;
  await using cluster = await fakeCluster(leaderWith(BYTES), () => ++asked > 2);
  const file = join(directory.path, "backup");
  const { exitCode } = await answerOf(["snapshot", "save", file, "--address", cluster.address]);
  expect(exitCode).toBe(0);
});

test.if(process.platform === "linux")("P10: a directory that cannot be written is one line", async () => {
  await using cluster = await fakeCluster(leaderWith(BYTES));
  // Nobody may make files there, not even root.
  const line = await failureLine(["snapshot", "save", "/sys/backup", "--address", cluster.address]);
  expect(line).toContain("cannot open /sys/backup");
});

test("P6: a full disk is one line, and what was there before is whole", async () => {
  await using directory = await temporaryDirectory();
  await using cluster = await fakeCluster(leaderWith(BYTES));
  const file = join(directory.path, "backup");
  const disk = new MemoryDisk();
  const fs = disk.mount();
  await fs.makeDirectory(directory.path);
  disk.capacityBytes = 300;
  const options = { file, force: false, address: cluster.address, timeout: "5" };
  const save = saveSnapshot(fs, options, new AbortController().signal);
  await expect(save).rejects.toThrow(`no room for ${file}: nothing was saved`);
  expect(await fs.listDirectory(directory.path)).toEqual([]);
});

test("a save that is interrupted leaves no file, and the exit code says so", async () => {
  await using directory = await temporaryDirectory();
  const reading = Promise.withResolvers<void>();
  await using cluster = await fakeCluster({
    ...leaderWith(BYTES),
    async ReadSnapshot({ offset }) {
      if (offset < 200) return { data: BYTES.subarray(offset, offset + 100) };
      reading.resolve();
      return new Promise(() => {});
    },
  });
  const file = join(directory.path, "backup");
  const child = spawnRaftkv(["snapshot", "save", file, "--address", cluster.address]);
  await reading.promise;
  child.kill("SIGINT");
  expect(await child.exited).toBe(130);
  expect(await child.stderr.text()).toBe(`raftkv: interrupted: ${file} was not saved\n`);
  expect(await readdir(directory.path)).toEqual([]);
});

test("the command line saves, and says so as JSON", async () => {
  await using directory = await temporaryDirectory();
  await using cluster = await fakeCluster(leaderWith(BYTES, 256 * 1024));
  const args = ["snapshot", "save", "backup", "--json", "--address", cluster.address];
  const { exitCode, stdout, stderr } = await raftkv(args, { cwd: directory.path });
  expect([exitCode, stderr]).toEqual([0, ""]);
  expect(JSON.parse(stdout)).toMatchObject({ ok: true, file: "backup", keys: 3, leaderId: 1 });
  const refused = await raftkv(args, { cwd: directory.path });
  expect(refused.exitCode).toBe(1);
  expect(JSON.parse(refused.stdout)).toMatchObject({ error: { code: "failedPrecondition" } });
});
