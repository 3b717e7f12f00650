import { expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { RaftKvError } from "../../src/base/errors.ts";
import { restoreSnapshot } from "../../src/cli/snapshot-restore.ts";
import { readClusterRecord } from "../../src/frontend/cluster-record.ts";
import { FrontendLock } from "../../src/frontend/frontend-lock.ts";
import { KvStateMachine } from "../../src/kv/state-machine.ts";
import { initialConfiguration } from "../../src/raft/configuration.ts";
import { MemoryDisk, type FaultPlan, type MemoryFileSystem } from "../../src/storage/memory-file-system.ts";
import { OsFileSystem } from "../../src/storage/os-file-system.ts";
import { openServerStore } from "../../src/storage/server-store.ts";
import { SPREAD } from "../storage/sample-log.ts";
import { HEADER, sampleMachine, snapshotBytes, writeSnapshot } from "../storage/sample-snapshot.ts";
import { answerOf, failureLine } from "./command-answer.ts";
import { raftkv } from "./raftkv-process.ts";
import { temporaryDirectory } from "./temporary-directory.ts";

setDefaultTimeout(30_000);

const BYTES = await snapshotBytes();
const never = new AbortController().signal;

/** Every name below the directory, without what a lock leaves, which means nothing. */
async function names(directory: string): Promise<readonly string[]> {
  const all = await readdir(directory, { recursive: true });
  return all.filter((name) => name !== "frontend.lock").toSorted();
}

test("S5: each restored server has the data and the memory of retries, in a new cluster, and starts", async () => {
  await using directory = await temporaryDirectory();
  const file = join(directory.path, "backup");
  const stateDir = join(directory.path, "new");
  await Bun.write(file, BYTES);
  const { exitCode, output } = await answerOf(["snapshot", "restore", file, "--dir", `${stateDir}/`]);
  expect(exitCode).toBe(0);
  expect(output.stdout).toContain(`restored to ${stateDir}: a new cluster of 3 servers, state up to entry 5`);
  expect(output.json).toMatchObject({ ok: true, servers: 3, index: 5, term: 2, keys: 3 });

  const fs = new OsFileSystem();
  const record = await readClusterRecord(fs, stateDir);
  expect(record).toMatchObject({ state: "started", members: initialConfiguration([0, 1, 2]) });
  expect(record?.clusterId).not.toBe("cluster-a");
  const members = initialConfiguration([0, 1, 2]);
  for (const serverId of [0, 1, 2]) {
    const { store, recovered } = await openServerStore(fs, stateDir, serverId);
    expect(recovered.identity).toEqual({ clusterId: record?.clusterId ?? "", serverId, members });
    expect(recovered.snapshot?.configuration).toEqual(members);
    expect(recovered.hardState).toEqual({ currentTerm: 2, votedFor: null, abstainsThrough: 0 });
    expect(recovered.log).toEqual({ base: { index: 5, term: 2 }, entries: [] });
    expect(recovered.repairs).toEqual([]);
    const machine = new KvStateMachine();
    if (recovered.snapshot !== null) machine.restore(recovered.snapshot.state);
    expect(machine.digest()).toBe(sampleMachine().digest());
    await store.close();
  }
  expect((await answerOf(["inspect", stateDir])).exitCode).toBe(0);
});

test("a cluster of another size is made with --servers", async () => {
  await using directory = await temporaryDirectory();
  const file = join(directory.path, "backup");
  await Bun.write(file, BYTES);
  const stateDir = join(directory.path, "new");
  expect((await answerOf(["snapshot", "restore", file, "--dir", stateDir, "--servers", "1"])).exitCode).toBe(
    0,
  );
  const { store, recovered } = await openServerStore(new OsFileSystem(), stateDir, 0);
  await store.close();
  expect(recovered.identity.members).toEqual(initialConfiguration([0]));
  for (const servers of ["0", "16", "x"]) {
    const line = await failureLine(["snapshot", "restore", file, "--dir", "d", "--servers", servers]);
    expect(line).toContain("--servers must be a whole number from 1 to 15");
  }
  expect(await failureLine(["snapshot", "restore", file])).toContain("--dir is missing");
});

test("S5: of the cluster that a snapshot was saved from nothing stays: neither addresses nor who voted", async () => {
  await using directory = await temporaryDirectory();
  const file = join(directory.path, "backup");
  const stateDir = join(directory.path, "new");
  const header = { ...HEADER, configuration: SPREAD };
  await Bun.write(file, await snapshotBytes(sampleMachine(), header));
  const inspected = await answerOf(["inspect", file]);
  expect(inspected.output.stdout).toContain("servers 0=10.0.0.1:9001 1 7=[2001:db8::7]:9008 (no vote)");
  expect(inspected.output.json).toMatchObject({ members: SPREAD });
  expect((await answerOf(["snapshot", "restore", file, "--dir", stateDir])).exitCode).toBe(0);
  const { store, recovered } = await openServerStore(new OsFileSystem(), stateDir, 2);
  await store.close();
  expect(recovered.identity.members).toEqual(initialConfiguration([0, 1, 2]));
  expect(recovered.snapshot?.configuration).toEqual(initialConfiguration([0, 1, 2]));
});

/** What is done to a good snapshot file, and what the one line about it must hold. */
const BAD_FILES: readonly (readonly [string, (bytes: Buffer) => Buffer, string])[] = [
  ["empty", () => Buffer.of(), "byte 0: the file is empty"],
  ["truncated within a line", (bytes) => bytes.subarray(0, -30), "the file ends within this line"],
  ["truncated after a line", (bytes) => bytes.subarray(0, bytes.indexOf("\n") + 1), "the file ends here"],
  ["flipped", (bytes) => flipped(bytes, 200), "this line is not what was written"],
  ["not a snapshot", () => Buffer.from("PK\u0003\u0004 something else"), "byte 0: "],
  ["of another version", newerVersion, "has format 2"],
  ["longer than it was", (bytes) => Buffer.concat([bytes, bytes]), "something follows the end"],
];

function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ 4;
  return copy;
}

/** A first line as a later version would write it. */
function newerVersion(bytes: Buffer): Buffer {
  const payload = bytes
    .subarray(13, bytes.indexOf("\n") - 1)
    .toString()
    .replace('"snapshot":1', '"snapshot":2');
  const checksum = Bun.hash.crc32(payload).toString(16).padStart(8, "0");
  return Buffer.from(`[["${checksum}",${payload}]\n`);
}

test.each(BAD_FILES)(
  "P7: a file that is %s is refused with one line, and nothing is made",
  async (_, change, says) => {
    await using directory = await temporaryDirectory();
    const file = join(directory.path, "backup");
    await Bun.write(file, change(BYTES));
    const line = await failureLine(["snapshot", "restore", file, "--dir", join(directory.path, "new")]);
    expect(line).toStartWith(`${file}: `);
    expect(line).toContain(says);
    expect(await names(directory.path)).toEqual(["backup"]);
  },
);

test("P7: a file that is missing, and a directory, are refused with one line", async () => {
  await using directory = await temporaryDirectory();
  const to = ["--dir", join(directory.path, "new")];
  const missing = join(directory.path, "missing");
  expect(await failureLine(["snapshot", "restore", missing, ...to])).toContain("there is no such file");
  expect(await failureLine(["snapshot", "restore", directory.path, ...to])).toContain("is a directory");
  expect(await names(directory.path)).toEqual([]);
});

test("P10: a directory that holds anything of a cluster is refused, and stays as it is", async () => {
  await using directory = await temporaryDirectory();
  const file = join(directory.path, "backup");
  await Bun.write(file, BYTES);
  for (const name of ["server_0.json", "cluster.json", "server_4.json.tmp", "server_2/log"]) {
    const stateDir = join(directory.path, name.replaceAll("/", "-"));
    await mkdir(join(stateDir, name, ".."), { recursive: true });
    await Bun.write(join(stateDir, name), "somebody's");
    const line = await failureLine(["snapshot", "restore", file, "--dir", stateDir]);
    expect(line).toContain(`${stateDir}: a cluster has files here, such as ${name.split("/")[0]}`);
    expect(await Bun.file(join(stateDir, name)).text()).toBe("somebody's");
    expect(await readdir(stateDir)).toHaveLength(1);
  }
  expect(await failureLine(["snapshot", "restore", file, "--dir", file])).toContain("is not a directory");
});

test("F1: a directory in which a frontend is at work is refused", async () => {
  await using directory = await temporaryDirectory();
  const file = join(directory.path, "backup");
  const stateDir = join(directory.path, "state");
  await Bun.write(file, BYTES);
  const lock = new FrontendLock(new OsFileSystem(), stateDir);
  await lock.take();
  const line = await failureLine(["snapshot", "restore", file, "--dir", stateDir]);
  await lock.release();
  expect(line).toContain("another frontend supervises the servers there");
  expect(await names(stateDir)).toEqual([]);
});

test.if(process.platform === "linux")("P10: a directory that cannot be written is one line", async () => {
  await using directory = await temporaryDirectory();
  const file = join(directory.path, "backup");
  await Bun.write(file, BYTES);
  // Nobody may make files there, not even root.
  const line = await failureLine(["snapshot", "restore", file, "--dir", "/sys/restored"]);
  expect(line).toContain("cannot create directory /sys/restored");
});

/** A disk with the snapshot file on it, and what a restore on it meets. */
async function diskWith(plan: FaultPlan) {
  const disk = new MemoryDisk();
  await writeSnapshot(disk.mount(), "/backup");
  return { disk, fs: disk.mount(plan) };
}

const OPTIONS = { file: "/backup", stateDir: "/restored", servers: 3 };

test("P2: a restore into new directories of new directories survives a power loss", async () => {
  const { disk, fs } = await diskWith(() => null);
  await restoreSnapshot(fs, { ...OPTIONS, stateDir: "/x/y/z" }, never);
  disk.crash();
  expect(await readClusterRecord(disk.mount(), "/x/y/z")).toMatchObject({ state: "started" });
  const { store, recovered } = await openServerStore(disk.mount(), "/x/y/z", 2);
  await store.close();
  expect(recovered.snapshot?.state.data.size).toBe(3);
});

test.if(process.platform !== "win32")(
  "P7: what is no regular file is refused and not waited for",
  async () => {
    await using directory = await temporaryDirectory();
    const pipe = join(directory.path, "pipe");
    expect(Bun.spawnSync(["mkfifo", pipe]).exitCode).toBe(0);
    const to = ["--dir", join(directory.path, "new")];
    expect(await failureLine(["snapshot", "restore", pipe, ...to])).toContain("is no regular file");
    expect(await names(directory.path)).toEqual(["pipe"]);
    await expect(new OsFileSystem().readFile(pipe)).rejects.toMatchObject({ code: "io" });
    await expect(new OsFileSystem().openRead(pipe)).rejects.toMatchObject({ code: "io" });
  },
);

test("a restore that is interrupted while it reads ends at once and makes nothing", async () => {
  const controller = new AbortController();
  const disk = new MemoryDisk();
  await writeSnapshot(disk.mount(), "/backup");
  const fs = disk.mount();
  const never = Promise.withResolvers<never>();
  fs.openRead = async () => {
    controller.abort(130);
    return never.promise;
  };
  const { exitCode, output } = await restoreSnapshot(fs, OPTIONS, controller.signal);
  expect([exitCode, output.stderr]).toEqual([1, "raftkv: interrupted: nothing was restored"]);
  expect(await fs.listDirectory(OPTIONS.stateDir)).toBeNull();
});

/** Goes as far as it can; only an operating error may end it. */
async function tryRestore(fs: MemoryFileSystem): Promise<void> {
  await restoreSnapshot(fs, OPTIONS, never).catch((error: unknown) => {
    if (!(error instanceof RaftKvError)) throw error;
  });
}

test.each([
  ["nothing", false],
  ["everything", true],
])(
  "P1: a restore that is killed at any moment leaves no cluster, or the whole one; %s survives of what was not synced",
  async (_, kept) => {
    const { fs: counting } = await diskWith(() => null);
    await restoreSnapshot(counting, OPTIONS, never);
    const outcomes = new Set<string>();
    for (let at = 0; at <= counting.operations; at++) {
      // From the kill on nothing works any more, so what was made until then is not undone.
      const { disk, fs } = await diskWith(({ number }) =>
        number < at ? null : { kind: "refuse", message: "EIO" },
      );
      await tryRestore(fs);
      disk.crash(() => kept);
      const after = disk.mount();
      const record = await readClusterRecord(after, OPTIONS.stateDir);
      outcomes.add(record?.state ?? "none");
      if (record?.state !== "started") continue;
      for (const id of [0, 1, 2]) {
        const { store, recovered } = await openServerStore(after, OPTIONS.stateDir, id);
        await store.close();
        expect(recovered.snapshot?.state.data.size).toBe(3);
      }
    }
    expect([...outcomes].toSorted()).toEqual(["none", "started", "starting"]);
  },
);

test("P5: a restore in which any one call fails undoes what it has done", async () => {
  const { fs: counting } = await diskWith(() => null);
  await restoreSnapshot(counting, OPTIONS, never);
  for (let at = 0; at < counting.operations; at++) {
    const { fs } = await diskWith(({ number }) =>
      number === at ? { kind: "refuse", message: "EIO" } : null,
    );
    await expect(restoreSnapshot(fs, OPTIONS, never)).rejects.toMatchObject({ code: "io" });
    const left = (await fs.listDirectory(OPTIONS.stateDir)) ?? [];
    expect(left.filter((name) => name !== "frontend.lock")).toEqual([]);
  }
});

test("P6: a full disk is one error, and what was made is gone", async () => {
  const { disk, fs } = await diskWith(() => null);
  disk.capacityBytes = disk.usedBytes + 2000;
  await expect(restoreSnapshot(fs, OPTIONS, never)).rejects.toMatchObject({ code: "diskFull" });
  expect(await fs.listDirectory(OPTIONS.stateDir)).toEqual(["frontend.lock"]);
});

test("a restore that is interrupted undoes what it has done", async () => {
  const controller = new AbortController();
  const { fs } = await diskWith(({ name, path }) => {
    if (name === "rename" && path.includes("server_1")) controller.abort(130);
    return null;
  });
  const { exitCode, output } = await restoreSnapshot(fs, OPTIONS, controller.signal);
  expect(exitCode).toBe(1);
  expect(output.stderr).toBe("raftkv: interrupted: /restored holds no cluster");
  expect(await fs.listDirectory(OPTIONS.stateDir)).toEqual(["frontend.lock"]);
});

test("the command line restores, and says so as JSON", async () => {
  await using directory = await temporaryDirectory();
  await Bun.write(join(directory.path, "backup"), BYTES);
  const args = ["snapshot", "restore", "backup", "--dir", "raft_state", "--json"];
  const { exitCode, stdout, stderr } = await raftkv(args, { cwd: directory.path });
  expect([exitCode, stderr]).toEqual([0, ""]);
  expect(JSON.parse(stdout)).toMatchObject({ ok: true, servers: 3, keys: 3 });
  const again = await raftkv(args, { cwd: directory.path });
  expect(again.exitCode).toBe(1);
  expect(JSON.parse(again.stdout)).toMatchObject({ error: { code: "failedPrecondition" } });
});
