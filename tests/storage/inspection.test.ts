import { expect, setDefaultTimeout, test } from "bun:test";
import type { FileSystem } from "../../src/storage/file-system.ts";
import {
  inspectServer,
  isSound,
  listServers,
  type FileInspection,
  type ServerInspection,
} from "../../src/storage/inspection.ts";
import { MemoryDisk } from "../../src/storage/memory-file-system.ts";
import { OsFileSystem } from "../../src/storage/os-file-system.ts";
import { segmentName } from "../../src/storage/server-files.ts";
import { openServerStore } from "../../src/storage/server-store.ts";
import { temporaryDirectory } from "../cli/temporary-directory.ts";
import { writeInspectedServer } from "./inspected-server.ts";
import { contents, IDENTITY } from "./sample-log.ts";

setDefaultTimeout(30_000);

const DIR = "raft_state";
const STATE = `${DIR}/server_1.json`;
const SNAPSHOT = `${DIR}/server_1/snapshot-5.json`;
const FIRST = `${DIR}/server_1/${segmentName(6)}`;

async function server(): Promise<FileSystem> {
  const fs = new MemoryDisk().mount();
  await writeInspectedServer(fs, DIR);
  return fs;
}

/** Reading is all that it lets pass: whatever else is asked for fails the test. */
function readOnly(fs: FileSystem): FileSystem {
  return {
    readFile: (path) => fs.readFile(path),
    listDirectory: (path) => fs.listDirectory(path),
    openRead: (path) => fs.openRead(path),
    writeFile: refuse,
    syncFile: refuse,
    rename: refuse,
    removeFile: refuse,
    removeDirectory: refuse,
    makeDirectory: refuse,
    syncDirectory: refuse,
    openAppend: refuse,
    lock: refuse,
  };
}

function refuse(): never {
  throw new Error("an inspection writes");
}

/** Inspects server 1, and makes sure that nothing was changed. */
async function inspect(fs: FileSystem, runs = false): Promise<ServerInspection> {
  const before = await contents(fs, DIR);
  const inspection = await inspectServer(readOnly(fs), DIR, 1, runs);
  expect(await contents(fs, DIR)).toEqual(before);
  return inspection;
}

async function edit(fs: FileSystem, path: string, change: (text: string) => string): Promise<void> {
  const text = Buffer.from((await fs.readFile(path)) ?? []).toString("latin1");
  await fs.writeFile(path, Buffer.from(change(text), "latin1"));
}

/** Where each line of the file begins, in bytes. */
async function lineStarts(fs: FileSystem, path: string): Promise<readonly number[]> {
  const text = Buffer.from((await fs.readFile(path)) ?? []).toString("latin1");
  return [0, ...[...text.matchAll(/\n/g)].map(({ index }) => index + 1)].slice(0, -1);
}

function flipAt(offset: number, bit = 1): (text: string) => string {
  return (text) =>
    text.slice(0, offset) +
    String.fromCharCode(text.charCodeAt(offset) ^ (1 << bit)) +
    text.slice(offset + 1);
}

function places(inspection: ServerInspection): readonly (readonly [string, number | null])[] {
  return inspection.files.flatMap((file) => file.damage.map(({ path, offset }) => [path, offset] as const));
}

function kinds(files: readonly FileInspection[]): readonly string[] {
  return files.map(({ kind }) => kind);
}

test("a good server is sound, and its files tell what they hold", async () => {
  const fs = await server();
  const inspection = await inspect(fs);
  expect(isSound(inspection)).toBe(true);
  expect(inspection).toMatchObject({ serverId: 1, leftOvers: [], strangers: [] });
  expect(inspection.start).toEqual({ kind: "starts", repairs: [] });
  const [state, snapshot, ...segments] = inspection.files;
  expect(state).toMatchObject({ path: STATE, state: { identity: IDENTITY, hardState: { currentTerm: 3 } } });
  expect(snapshot).toMatchObject({
    path: SNAPSHOT,
    clusterId: IDENTITY.clusterId,
    position: { index: 5, term: 2 },
    keys: 3,
  });
  expect(kinds(segments).every((kind) => kind === "segment")).toBe(true);
  expect(segments.length).toBeGreaterThan(2);
  expect(segments[0]).toMatchObject({ firstIndex: 6, previousTerm: 2, lastTerm: 3, sealed: true });
  expect(segments.at(-1)).toMatchObject({ lastIndex: 20, lastTerm: 3, sealed: false, tornBytes: 0 });
});

test("the servers of a directory are those with a state file or a directory", async () => {
  const fs = await server();
  await fs.makeDirectory(`${DIR}/server_7`);
  await fs.writeFile(`${DIR}/server_3.json`, Buffer.from("{}"));
  await fs.writeFile(`${DIR}/server_4.log`, Buffer.from(""));
  await fs.writeFile(`${DIR}/cluster.json`, Buffer.from("{}"));
  expect(await listServers(fs, DIR)).toEqual([1, 3, 7]);
  expect(await listServers(fs, "elsewhere")).toEqual([]);
});

test("P3: a torn end is not damage; a start would cut it off", async () => {
  const fs = await server();
  const last = (await inspect(fs)).files.at(-1)?.path ?? "";
  await edit(fs, last, (text) => `${text}12345678 {"index":21,"te`);
  const inspection = await inspect(fs);
  expect(isSound(inspection)).toBe(true);
  expect(inspection.files.at(-1)).toMatchObject({ lastIndex: 20, tornBytes: 24, damage: [] });
  expect(inspection.start).toMatchObject({ kind: "starts" });
  expect(JSON.stringify(inspection.start)).toContain("cut off a torn write of 24 bytes");
});

test("P4: every damaged file is named with the byte where it is, also behind the first one", async () => {
  const fs = await server();
  const [, second = 0, third = 0, fourth = 0] = await lineStarts(fs, FIRST);
  await edit(fs, FIRST, flipAt(second + 20));
  await edit(fs, FIRST, flipAt(fourth + 20));
  const next = (await inspect(fs)).files.filter(({ kind }) => kind === "segment")[1]?.path ?? "";
  await edit(fs, next, flipAt(2));
  const [, snapshotLine = 0] = await lineStarts(fs, SNAPSHOT);
  await edit(fs, SNAPSHOT, flipAt(snapshotLine + 20));
  await edit(fs, STATE, flipAt(40));

  const inspection = await inspect(fs);
  expect(isSound(inspection)).toBe(false);
  expect(places(inspection)).toEqual([
    [STATE, null],
    [SNAPSHOT, snapshotLine],
    [FIRST, second],
    [FIRST, fourth],
    [next, 0],
  ]);
  expect(third).toBeGreaterThan(second);
  expect(inspection.start.kind).toBe("refuses");
});

test("P4: no flipped bit anywhere in any file passes for what was written", async () => {
  const fs = await server();
  for (const [path, text] of Object.entries(await contents(fs, DIR))) {
    if (path.endsWith("/lock") || path.endsWith("/reserve")) continue;
    const before = Buffer.from(text, "latin1");
    for (let offset = 0; offset < before.length; offset += 3) {
      await edit(fs, path, flipAt(offset, offset % 8));
      const inspection = await inspectServer(fs, DIR, 1, false);
      if (isSound(inspection)) throw new Error(`${path}: byte ${offset}: the flipped bit was not found`);
      await fs.writeFile(path, before);
    }
  }
});

test("P4: a missing segment shows, whichever it is", async () => {
  const paths = (await inspect(await server())).files.flatMap((file) =>
    file.kind === "segment" ? [file.path] : [],
  );
  for (const path of paths) {
    const fs = await server();
    await fs.removeFile(path);
    const inspection = await inspect(fs);
    expect(isSound(inspection)).toBe(false);
    expect(inspection.start.kind).toBe("refuses");
  }
  const fs = await server();
  await fs.removeFile(paths[1] ?? "");
  expect(places(await inspect(fs))).toEqual([[paths[2] ?? "", 0]]);
});

test("P7: left-overs are named, and strangers; neither is damage", async () => {
  const fs = await server();
  const leftOvers = [
    `${STATE}.tmp`,
    `${DIR}/server_1/snapshot-9.json.part`,
    `${DIR}/server_1/snapshot-9.json.tmp`,
  ];
  for (const path of leftOvers) await fs.writeFile(path, Buffer.from("half a"));
  const strangers = [`${DIR}/server_1/log-6.jsonl`, `${DIR}/server_1/notes`];
  for (const path of strangers) await fs.writeFile(path, Buffer.from("mine"));
  const inspection = await inspect(fs);
  expect(inspection).toMatchObject({ leftOvers, strangers });
  expect(isSound(inspection)).toBe(true);
  expect(inspection.start).toMatchObject({ kind: "starts", repairs: { length: 3 } });
});

test.each(["", "garbage", "{}", "null"])("P7: a state file that holds %j is damaged", async (text) => {
  const fs = await server();
  await fs.writeFile(STATE, Buffer.from(text));
  const inspection = await inspect(fs);
  expect(places(inspection).map(([path]) => path)).toEqual([STATE]);
  expect(inspection.start).toMatchObject({ kind: "refuses" });
});

test("P7: a server without its state file, or without its directory, would not start", async () => {
  const fs = await server();
  const state = (await fs.readFile(STATE)) ?? Buffer.of();
  await fs.removeFile(STATE);
  const headless = await inspect(fs);
  expect(headless.start).toMatchObject({
    kind: "refuses",
    why: expect.stringContaining("state file is missing"),
  });
  expect(kinds(headless.files)).toContain("segment");
  const bare = new MemoryDisk().mount();
  await bare.makeDirectory(DIR);
  await bare.writeFile(STATE, state);
  expect((await inspect(bare)).start).toMatchObject({ kind: "refuses" });
});

test("P10: another server's or another cluster's files are named as what they are", async () => {
  const fs = await server();
  const other = new MemoryDisk().mount();
  await writeInspectedServer(other, DIR, { ...IDENTITY, clusterId: "cluster-b" });
  for (const path of [SNAPSHOT, FIRST]) await fs.writeFile(path, (await other.readFile(path)) ?? Buffer.of());
  const inspection = await inspect(fs);
  const whats = inspection.files.flatMap(({ damage }) => damage.map(({ what }) => what));
  expect(whats).toHaveLength(2);
  for (const what of whats) expect(what).toContain("belongs to cluster cluster-b, not to cluster-a");

  const moved = new MemoryDisk().mount();
  await writeInspectedServer(moved, DIR, { ...IDENTITY, serverId: 2 });
  await moved.rename(`${DIR}/server_2.json`, STATE);
  await moved.makeDirectory(`${DIR}/server_1`);
  for (const name of (await moved.listDirectory(`${DIR}/server_2`)) ?? []) {
    if (name !== "lock") await moved.rename(`${DIR}/server_2/${name}`, `${DIR}/server_1/${name}`);
  }
  const swapped = await inspect(moved);
  expect(swapped.files[0]?.damage[0]?.what).toContain("belongs to server 2, not to server 1");
  expect(swapped.start).toMatchObject({ kind: "refuses" });
});

test("P7: a directory where a start would remove a file refuses the start, in thought as on disk", async () => {
  for (const name of ["server_1.json.tmp", "server_1/snapshot-3.json.tmp"]) {
    await using directory = await temporaryDirectory();
    const fs = new OsFileSystem();
    await writeInspectedServer(fs, directory.path, IDENTITY);
    await fs.makeDirectory(`${directory.path}/${name}`);
    const { start } = await inspectServer(fs, directory.path, 1, false);
    expect(start).toMatchObject({ kind: "refuses", why: expect.stringContaining(name) });
    await expect(openServerStore(fs, directory.path, 1)).rejects.toMatchObject({ code: "io" });
  }
});

test("P10: a running server is not started, not even in thought", async () => {
  const inspection = await inspect(await server(), true);
  expect(inspection.start).toEqual({ kind: "runs" });
  expect(isSound(inspection)).toBe(true);
});

test("a file that cannot be read is a finding, and the others are inspected all the same", async () => {
  const fs = await server();
  await fs.makeDirectory(`${DIR}/server_1/${segmentName(99)}`);
  const inspection = await inspectServer(readOnly(fs), DIR, 1, false);
  expect(kinds(inspection.files)).toContain("unreadable");
  expect(isSound(inspection)).toBe(false);
});
