import { expect, setDefaultTimeout, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { pairLine } from "../../src/cli/bulk/pair-line.ts";
import { exportTo } from "../../src/cli/export.ts";
import { MemoryDisk } from "../../src/storage/memory-file-system.ts";
import { sampleMachine, snapshotBytes } from "../storage/sample-snapshot.ts";
import { answerOf, failureLine } from "./command-answer.ts";
import { fakeCluster, leaderWith, snapshotReply } from "./fake-cluster.ts";
import { freePort } from "./fake-frontend.ts";
import { raftkv, spawnRaftkv } from "./raftkv-process.ts";
import { temporaryDirectory } from "./temporary-directory.ts";

setDefaultTimeout(30_000);

const BYTES = await snapshotBytes();
const LINES = Array.from(sampleMachine().entries(), ([key, value]) => pairLine(key, value)).join("");

test("I1, S5: an export holds every key and value of the leader's snapshot, and nothing else is left", async () => {
  await using directory = await temporaryDirectory();
  await using cluster = await fakeCluster(leaderWith(BYTES));
  const file = join(directory.path, "data.jsonl");
  const { exitCode, output } = await answerOf(["export", file, "--address", cluster.address]);
  expect(exitCode).toBe(0);
  expect(output.stdout).toBe(`exported 3 entries to ${file}: state up to entry 5, from server 1`);
  expect(output.json).toEqual({ ok: true, file, entries: 3, index: 5, leaderId: 1 });
  expect(await Bun.file(file).text()).toBe(LINES);
  expect(await readdir(directory.path)).toEqual(["data.jsonl"]);
});

test("a file that is there is replaced with --force only", async () => {
  await using directory = await temporaryDirectory();
  await using cluster = await fakeCluster(leaderWith(BYTES));
  const file = join(directory.path, "data.jsonl");
  await Bun.write(file, "precious");
  const args = ["export", file, "--address", cluster.address];
  expect(await failureLine(args)).toBe(`${file} exists: give --force to replace it, or another name`);
  expect(await Bun.file(file).text()).toBe("precious");
  expect((await answerOf([...args, "--force"])).exitCode).toBe(0);
  expect(await Bun.file(file).text()).toBe(LINES);
});

test("an export to stdout is nothing but lines there, and what there is to say stands on stderr", async () => {
  await using cluster = await fakeCluster(leaderWith(BYTES, 64 * 1024));
  const { exitCode, stdout, stderr } = await raftkv(["export", "-", "--address", cluster.address]);
  expect([exitCode, stdout]).toEqual([0, LINES]);
  expect(stderr).toBe("exported 3 entries to stdout: state up to entry 5, from server 1\n");
});

test("S6: a leader that is lost in the middle makes an export to a file begin anew", async () => {
  await using directory = await temporaryDirectory();
  const file = join(directory.path, "data.jsonl");
  let taken = 0;
  await using cluster = await fakeCluster({
    async TakeSnapshot() {
      taken += 1;
      return snapshotReply(BYTES);
    },
    async ReadSnapshot({ offset }) {
      if (taken === 1 && offset >= 300) return {};
      return { data: BYTES.subarray(offset, offset + 100) };
    },
  });
  expect((await answerOf(["export", file, "--address", cluster.address])).exitCode).toBe(0);
  expect([taken, await Bun.file(file).text()]).toEqual([2, LINES]);
});

test("S5: a snapshot that comes damaged is never exported to a file, and said to be incomplete on stdout", async () => {
  await using directory = await temporaryDirectory();
  const file = join(directory.path, "data.jsonl");
  const damaged = Buffer.from(BYTES);
  const at = BYTES.indexOf('"requests"') + 3;
  damaged[at] = (damaged[at] ?? 0) ^ 1;
  await using cluster = await fakeCluster(leaderWith(damaged, 64 * 1024));
  expect(await failureLine(["export", file, "--address", cluster.address])).toContain(
    "the leader sent a damaged snapshot: byte",
  );
  await using announced = await fakeCluster({
    ...leaderWith(BYTES, 100),
    TakeSnapshot: async () => ({ ...snapshotReply(BYTES), checksum: "00000000" }),
  });
  expect(await failureLine(["export", file, "--address", announced.address])).toContain("its checksum is");
  expect(await readdir(directory.path)).toEqual([]);
  const { exitCode, stderr } = await raftkv(["export", "-", "--address", announced.address]);
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(
    /^raftkv: the leader sent a damaged snapshot: .*; what was written is not complete\n$/,
  );
});

test("P6: a full disk is one line, and leaves nothing", async () => {
  await using directory = await temporaryDirectory();
  await using cluster = await fakeCluster(leaderWith(BYTES));
  const file = join(directory.path, "data.jsonl");
  const disk = new MemoryDisk();
  const fs = disk.mount();
  await fs.makeDirectory(directory.path);
  disk.capacityBytes = 20;
  const options = { file, force: false, address: cluster.address, timeout: "5" };
  await expect(exportTo(fs, options, new AbortController().signal)).rejects.toThrow(
    `no room for ${file}: nothing was exported`,
  );
  expect(await fs.listDirectory(directory.path)).toEqual([]);
});

test("an export that is interrupted leaves no file, and the exit code says so", async () => {
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
  const file = join(directory.path, "data.jsonl");
  const child = spawnRaftkv(["export", file, "--address", cluster.address]);
  await reading.promise;
  child.kill("SIGINT");
  expect(await child.exited).toBe(130);
  expect(await child.stderr.text()).toBe(`raftkv: interrupted: ${file} is not complete\n`);
  expect(await readdir(directory.path)).toEqual([]);
});

test("who does not answer is one line", async () => {
  await using directory = await temporaryDirectory();
  const file = join(directory.path, "data.jsonl");
  const line = await failureLine(["export", file, "--address", `127.0.0.1:${await freePort()}`]);
  expect(line).toContain("no frontend answers at");
  expect(await readdir(directory.path)).toEqual([]);
});
