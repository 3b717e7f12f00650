/** The table at the head of server-store.ts, a test a row: snapshots, and snapshot and log together. */
import { expect, test } from "bun:test";

import { RaftKvError } from "../../src/base/errors.ts";
import { ORIGIN } from "../../src/raft/snapshot-position.ts";
import type { FileSystem } from "../../src/storage/file-system.ts";
import { encodeEntry, encodeFooter } from "../../src/storage/log-record.ts";
import { MemoryDisk } from "../../src/storage/memory-file-system.ts";
import { encodeHeader } from "../../src/storage/segment.ts";
import { segmentName } from "../../src/storage/server-files.ts";
import { createServerStore, openServerStore } from "../../src/storage/server-store.ts";
import { decodeStateFile, encodeStateFile } from "../../src/storage/state-file.ts";
import {
  cutAt,
  DIRECTORY,
  ENTRIES,
  expectRefused,
  FIRST,
  flip,
  LAST,
  lineStart,
  MIDDLE,
  OPTIONS,
  read,
  server,
  STATE,
} from "./damaged-server.ts";
import { append, compact, group, IDENTITY, MEMBERS, noop, puts, readServer, term } from "./sample-log.ts";
import { digestOf, foreignSnapshot, machineAt, receiveSnapshot } from "./sample-life.ts";

const SNAPSHOT = `${DIRECTORY}/snapshot-8.json`;
const STATE_DIGEST = machineAt(ORIGIN, ENTRIES, 8).digest();

/** The server of damaged-server.ts with a snapshot at 8, its log from there on; it was killed. */
async function compacted(through = 8): Promise<FileSystem> {
  const disk = new MemoryDisk();
  const mount = disk.mount();
  await createServerStore(mount, "raft_state", IDENTITY);
  const { store } = await openServerStore(mount, "raft_state", 1, OPTIONS);
  await store.persist(group(term(1), append(...ENTRIES.slice(0, 7))));
  await store.persist(group(term(2), append(...ENTRIES.slice(7))));
  const writer = await store.prepareSnapshot({ index: 8, term: 2 }, MEMBERS);
  const frozen = machineAt(ORIGIN, ENTRIES, 8).freeze();
  for (const section of frozen.sections()) await writer.append(section);
  await writer.finish();
  await store.persist(group(null, compact(8, 2, through)));
  disk.kill(mount);
  const fs = disk.mount();
  const segments = through === 8 ? [LAST] : [FIRST, MIDDLE, LAST];
  expect(await fs.listDirectory(DIRECTORY)).toEqual(["lock", ...segments, "reserve", "snapshot-8.json"]);
  return fs;
}

/** Those files and these, by their names. */
async function compactedWith(
  files: Readonly<Record<string, Uint8Array | string | null>>,
): Promise<FileSystem> {
  const fs = await compacted();
  for (const [name, content] of Object.entries(files)) {
    if (content === null) await fs.removeFile(`${DIRECTORY}/${name}`);
    else await fs.writeFile(`${DIRECTORY}/${name}`, Buffer.from(content));
  }
  return fs;
}

/** Expects a start that finds the snapshot at 8 and these entries, repairs as told, and nothing the next time. */
async function expectFound(fs: FileSystem, first: number, last: number, ...repairs: readonly string[]) {
  const found = await readServer(fs, "raft_state", OPTIONS);
  expect(found.snapshot?.info.position).toEqual({ index: 8, term: 2 });
  expect(digestOf(found.snapshot)).toBe(STATE_DIGEST);
  expect(found.log).toEqual({
    base: { index: first - 1, term: ENTRIES[first - 2]?.term ?? 0 },
    entries: ENTRIES.slice(first - 1, last),
  });
  expect(found.repairs).toEqual(repairs.map((words) => expect.stringContaining(words)));
  expect((await readServer(fs, "raft_state", OPTIONS)).repairs).toEqual([]);
}

/** A snapshot file of this or another cluster. */
const snapshotFile = async (index: number, term: number, clusterId?: string) =>
  (await foreignSnapshot({ index, term }, clusterId)).bytes;

test("S2: a server finds its snapshot, and the log from there on or from before it", async () => {
  await expectFound(await compacted(8), 8, 10);
  await expectFound(await compacted(2), 1, 10);
});

test("P4, S5: an empty or truncated snapshot is refused", async () => {
  const { length } = await read(await compacted(), SNAPSHOT);
  for (let size = 0; size < length; size++) {
    const fs = await compacted();
    await fs.writeFile(SNAPSHOT, cutAt(size)(await read(fs, SNAPSHOT)));
    await expectRefused(fs, "corruption", SNAPSHOT, "byte");
  }
});

test("P4, S5: a snapshot with a flipped bit is refused, also when an older one and the whole log are there", async () => {
  const fs = await compacted(2);
  await fs.writeFile(`${DIRECTORY}/snapshot-4.json`, await snapshotFile(4, 1));
  const whole = await read(fs, SNAPSHOT);
  for (let at = 0; at < whole.length; at++) {
    await fs.writeFile(SNAPSHOT, flip(at, 1 << (at % 8))(Buffer.from(whole)));
    const started = await readServer(fs, "raft_state", OPTIONS).catch((error: unknown) => error);
    const code = expect.stringMatching(/^(corruption|failedPrecondition)$/);
    expect(started).toMatchObject({ name: "RaftKvError", code, message: expect.stringContaining(SNAPSHOT) });
  }
  expect(await fs.listDirectory(DIRECTORY)).toContain("snapshot-4.json");
});

test("P10: another cluster's snapshot, or one of a newer format, is refused", async () => {
  const other = await compactedWith({ "snapshot-8.json": await snapshotFile(8, 2, "cluster-b") });
  await expectRefused(other, "failedPrecondition", SNAPSHOT, "cluster-b");
  const text = (await read(await compacted(), SNAPSHOT)).toString();
  const [, json = ""] = /^\[\["[0-9a-f]{8}",(.*)\]\n/.exec(text) ?? [];
  const newer = json.replace(`"snapshot":1`, `"snapshot":2`);
  const checksum = Bun.hash.crc32(newer).toString(16).padStart(8, "0");
  const fs = await compactedWith({ "snapshot-8.json": `[["${checksum}",${newer}]\n]\n` });
  await expectRefused(fs, "failedPrecondition", SNAPSHOT, "format 2");
});

test("P4: a snapshot that bears another's name, or is of a term that the state file does not know, is refused", async () => {
  const wrongName = await compactedWith({ "snapshot-9.json": await read(await compacted(), SNAPSHOT) });
  await expectRefused(wrongName, "corruption", "snapshot-9.json", "entry 8");
  const later = await compactedWith({ "snapshot-10.json": await snapshotFile(10, 3) });
  await expectRefused(later, "corruption", "snapshot-10.json", "term 3", "only 2");
});

test("P7: an older snapshot and unfinished ones are removed and reported, whatever is in them", async () => {
  for (const content of ["", "garbage", await snapshotFile(4, 1)]) {
    const names = ["snapshot-12.json.tmp", "snapshot-4.json", "snapshot-99.json.part"];
    const fs = await compactedWith(Object.fromEntries(names.map((name) => [name, content])));
    await expectFound(fs, 8, 10, ...names);
    expect(await fs.listDirectory(DIRECTORY)).toEqual(["lock", LAST, "reserve", "snapshot-8.json"]);
  }
});

test("P4, S2: without its snapshot, a log that begins later is refused, also when an older snapshot is there", async () => {
  const none = await compactedWith({ "snapshot-8.json": null });
  await expectRefused(none, "corruption", LAST, "begins with entry 8", "no snapshot");
  const older = await compactedWith({ "snapshot-8.json": null, "snapshot-4.json": await snapshotFile(4, 1) });
  await expectRefused(older, "corruption", LAST, "begins with entry 8", "ends with 4");
});

test("S2: a whole log that has lost its snapshot starts without it, for nothing is lost", async () => {
  const fs = await compacted(2);
  await fs.removeFile(SNAPSHOT);
  expect(await readServer(fs, "raft_state", OPTIONS)).toMatchObject({
    snapshot: null,
    log: { base: ORIGIN, entries: ENTRIES },
    repairs: [],
  });
});

test("S2: segments that the snapshot stands for may be missing from the beginning on, but not in the middle", async () => {
  const fs = await compacted(2);
  await fs.removeFile(`${DIRECTORY}/${FIRST}`);
  await expectFound(fs, 5, 10);
  const gap = await compacted(2);
  await gap.removeFile(`${DIRECTORY}/${MIDDLE}`);
  await expectRefused(gap, "corruption", MIDDLE, "missing");
});

test("P4: the log after a snapshot is refused when all of it is missing", async () => {
  await expectRefused(
    await compactedWith({ [LAST]: null }),
    "failedPrecondition",
    DIRECTORY,
    "log is missing",
  );
});

/** The state file says that a leader's snapshot is taking the log's place. */
async function markInstall(fs: FileSystem, index: number, snapshotTerm: number): Promise<FileSystem> {
  const state = decodeStateFile(STATE, await read(fs, STATE));
  const marked = encodeStateFile({ ...state, installing: { index, term: snapshotTerm } });
  await fs.writeFile(STATE, marked);
  return fs;
}

/** The server of damaged-server.ts with a leader's snapshot, as an install leaves it that was cut short there. */
async function installing(index: number, snapshotTerm: number): Promise<FileSystem> {
  const fs = await markInstall(await server(), index, snapshotTerm);
  await fs.writeFile(`${DIRECTORY}/snapshot-${index}.json`, await snapshotFile(index, snapshotTerm));
  return fs;
}

test("S1, S2: a log that ends before the snapshot, or has another term at its entry, gives way to it", async () => {
  for (const [index, snapshotTerm] of [
    [14, 2],
    [11, 2],
    [10, 1],
    [7, 2],
    [3, 2],
  ] as const) {
    const fs = await installing(index, snapshotTerm);
    const found = await readServer(fs, "raft_state", OPTIONS);
    expect(found.snapshot?.info.position).toEqual({ index, term: snapshotTerm });
    expect(found.log).toEqual({ base: { index, term: snapshotTerm }, entries: [] });
    expect(found.repairs).toEqual([expect.stringContaining(`install of snapshot ${index}`)]);
    expect(found.repairs[0]).toContain("entries 1 to 10");
    const files = ["lock", segmentName(index + 1), "reserve", `snapshot-${index}.json`];
    expect(await fs.listDirectory(DIRECTORY)).toEqual(files);
    expect(await readServer(fs, "raft_state", OPTIONS)).toEqual({ ...found, repairs: [] });
  }
});

test("P4: a log that ends before a snapshot of its own, or of which no install was under way, is refused", async () => {
  const path = `${DIRECTORY}/${LAST}`;
  const whole = await read(await compacted(2), path);
  for (const mark of [null, { index: 14, term: 2 }, { index: 8, term: 1 }]) {
    for (let length = lineStart(whole, 1); length < lineStart(whole, 2); length++) {
      const fs = await compacted(2);
      await fs.writeFile(path, cutAt(length)(Buffer.from(whole)));
      if (mark !== null) await markInstall(fs, mark.index, mark.term);
      await expectRefused(fs, "corruption", path, "entry 8 of term 2", "the snapshot proves");
    }
  }
});

test("P4: what the state file says of an install that never came to its snapshot is taken back at the start", async () => {
  const fs = await markInstall(await server(), 14, 2);
  expect((await readServer(fs, "raft_state", OPTIONS)).log.entries).toEqual(ENTRIES);
  expect(decodeStateFile(STATE, await read(fs, STATE)).installing).toBeNull();
});

test("P7: a snapshot that is lost after a crash in its install leaves no log that passes for whole", async () => {
  const outcomes = new Set<string>();
  for (const index of [7, 10, 14]) {
    for (let operations = 0, done = false; !done; operations += 1) {
      let left = Infinity;
      const disk = new MemoryDisk();
      const mount = disk.mount(() => ((left -= 1) < 0 ? { kind: "refuse", message: "EIO: it died" } : null));
      await createServerStore(mount, "raft_state", IDENTITY);
      const { store } = await openServerStore(mount, "raft_state", 1);
      await store.persist(group(term(2), append(...ENTRIES)));
      const { info } = await receiveSnapshot(store, { index, term: 2 });
      left = operations;
      const write = { kind: "install", snapshot: info.position } as const;
      done = await store.persist(group(null, write)).then(
        () => true,
        () => false,
      );
      disk.kill(mount);
      disk.crash(() => true);
      const fs = disk.mount();
      await fs.removeFile(`${DIRECTORY}/snapshot-${index}.json`);
      const found = await readServer(fs, "raft_state").catch((error: unknown) => error);
      const isRefused = found instanceof RaftKvError && found.code === "corruption";
      outcomes.add(isRefused ? "refused" : "whole");
      if (!isRefused)
        expect(found).toMatchObject({ log: { base: ORIGIN, entries: ENTRIES }, snapshot: null });
    }
  }
  expect(outcomes).toEqual(new Set(["whole", "refused"]));
});

test("S3: a snapshot whose entry the log holds leaves the log as it is", async () => {
  const found = await readServer(await installing(8, 2), "raft_state", OPTIONS);
  expect(found.log).toEqual({ base: ORIGIN, entries: ENTRIES });
  expect(found.repairs).toEqual([]);
});

test("P4: a damaged log is refused also when a snapshot would replace it", async () => {
  const fs = await installing(14, 2);
  const path = `${DIRECTORY}/${MIDDLE}`;
  await fs.writeFile(path, flip(250)(await read(fs, path)));
  await expectRefused(fs, "corruption", path);
});

test("S1: a segment that an install has replaced, or not quite, is removed and reported", async () => {
  const header = encodeHeader(IDENTITY, 9, 2);
  const old = segmentName(3);
  for (let length = 0; length <= header.length; length++) {
    const files = {
      [LAST]: null,
      [old]: encodeHeader(IDENTITY, 3, 1),
      [segmentName(9)]: header.slice(0, length),
    };
    const unmarked = await compactedWith(files);
    if (length === header.length) await expectRefused(unmarked, "corruption", "missing");
    const fs = await markInstall(await compactedWith(files), 8, 2);
    const repairs = length < header.length ? [segmentName(9), "no entries"] : [old];
    await expectFound(fs, 9, 8, ...repairs);
    expect(await fs.listDirectory(DIRECTORY)).toEqual(["lock", segmentName(9), "reserve", "snapshot-8.json"]);
  }
});

test("P4: a replaced segment beside one that is in use, sealed or torn, or beside a wrong one, is refused", async () => {
  const old = segmentName(3);
  const next = segmentName(9);
  const header = encodeHeader(IDENTITY, 3, 1);
  const nextHeader = encodeHeader(IDENTITY, 9, 2);
  const beside = async (changed: string, nextChanged: string) =>
    markInstall(await compactedWith({ [LAST]: null, [old]: changed, [next]: nextChanged }), 8, 2);
  await expectRefused(
    await beside(header, nextHeader + encodeEntry(noop(9, 2), 8)),
    "corruption",
    old,
    "in use",
  );
  await expectRefused(await beside(header, `${nextHeader}x`), "corruption", "in use");
  await expectRefused(await beside(`${header}x`, nextHeader), "corruption", old);
  await expectRefused(await beside(header + encodeFooter(3), nextHeader), "corruption", old);
  await expectRefused(await beside(header + encodeEntry(noop(3, 1), 2), nextHeader), "corruption", "missing");
  const wrong = await beside(header, encodeHeader(IDENTITY, 9, 1));
  await expectRefused(wrong, "corruption", next, "byte 0", "term 1");
});

test("P4: a segment after the snapshot that follows another term is refused", async () => {
  const fs = await compactedWith({ [LAST]: null, [segmentName(9)]: encodeHeader(IDENTITY, 9, 1) });
  await expectRefused(fs, "corruption", segmentName(9), "byte 0", "term 1");
});

/** The same server, cleanly stopped. */
async function stopped(): Promise<FileSystem> {
  const fs = await server();
  await readServer(fs, "raft_state", OPTIONS);
  return fs;
}

test("P4: after a clean stop, a log that was cut anywhere is refused", async () => {
  const path = `${DIRECTORY}/${LAST}`;
  const whole = await read(await stopped(), path);
  for (let length = 0; length < whole.length; length++) {
    const fs = await stopped();
    await fs.writeFile(path, cutAt(length)(Buffer.from(whole)));
    await expectRefused(fs, "corruption", `${DIRECTORY}/`, "byte");
  }
});

test("P1: what a stop said of the log's end is taken back before the end is truncated, and grows with the next", async () => {
  const fs = await stopped();
  const { store } = await openServerStore(fs, "raft_state", 1, OPTIONS);
  await store.persist(group(term(3), { kind: "truncate", from: 9 }));
  await store.close();
  expect((await readServer(fs, "raft_state", OPTIONS)).log.entries).toEqual(ENTRIES.slice(0, 8));
  const again = (await openServerStore(fs, "raft_state", 1, OPTIONS)).store;
  await again.persist(group(null, append(...puts(9, 3, 3))));
  await again.close();
  const path = `${DIRECTORY}/${LAST}`;
  await fs.writeFile(path, cutAt((await read(fs, path)).length - 1)(await read(fs, path)));
  await expectRefused(fs, "corruption", path, "entry 11 of term 3");
});
