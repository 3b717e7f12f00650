/** The snapshot side of the Store interface, on both file systems, and its order on the disk. */
import { expect, test } from "bun:test";

import type { Entry } from "../../src/raft/entry.ts";
import type { Command } from "../../src/kv/command.ts";
import { ORIGIN, type SnapshotPosition } from "../../src/raft/snapshot-position.ts";
import { MemoryDisk, type Operation } from "../../src/storage/memory-file-system.ts";
import { createServerStore, openServerStore } from "../../src/storage/server-store.ts";
import type { Store } from "../../src/storage/store.ts";
import { onBothFileSystems } from "./both-file-systems.ts";
import {
  append,
  compact,
  group,
  IDENTITY,
  install,
  MEMBERS,
  puts,
  readServer,
  refusal,
  SPREAD,
  term,
  truncate,
} from "./sample-log.ts";
import { digestOf, foreignSnapshot, machineAt } from "./sample-life.ts";

const SMALL = { maxSegmentBytes: 400 };
const ENTRIES = puts(1, 20, 1, 60);

/** A prepared snapshot, finished. */
async function prepare(store: Store, entries: readonly Entry<Command>[], position: SnapshotPosition) {
  const writer = await store.prepareSnapshot(position, MEMBERS);
  const frozen = machineAt(ORIGIN, entries, position.index).freeze();
  for (const section of frozen.sections()) await writer.append(section);
  await writer.finish();
  return writer;
}

/** A received snapshot, finished. */
async function receive(store: Store, position: SnapshotPosition) {
  const { info, bytes } = await foreignSnapshot(position);
  const receipt = await store.receiveSnapshot(info);
  expect(receipt.size).toBe(0);
  await receipt.append(bytes.subarray(0, 100));
  await receipt.append(bytes.subarray(100));
  expect(receipt.size).toBe(info.totalBytes);
  const content = await receipt.finish();
  expect([content.info, content.configuration]).toEqual([info, MEMBERS]);
  expect(digestOf(content)).toBe(machineAt(position, [], position.index).digest());
  return { receipt, info, bytes };
}

onBothFileSystems((fresh) => {
  /** An open store of twenty entries in several segments. */
  async function twenty() {
    const { fs, directory } = await fresh();
    await createServerStore(fs, directory, IDENTITY);
    const { store } = await openServerStore(fs, directory, 1, SMALL);
    await store.persist(group(term(3), append(...ENTRIES)));
    const names = async () => (await fs.listDirectory(`${directory}/server_1`)) ?? [];
    return { fs, directory, store, names };
  }

  test("S2, S5: a snapshot counts from its compaction on, and the segments that it stands for go, but never the last", async () => {
    const { fs, directory, store, names } = await twenty();
    const segments = (await names()).filter((name) => name.startsWith("log-")).length;
    const bytes = store.logBytes;
    await prepare(store, ENTRIES, { index: 12, term: 1 });
    expect([store.snapshotInfo, store.logBytes, await store.openSnapshot()]).toEqual([null, bytes, null]);
    await store.persist(group(null, compact(12, 1, 9)));
    expect(store.snapshotInfo?.position).toEqual({ index: 12, term: 1 });
    expect(store.logBytes).toBeLessThan(bytes);
    await prepare(store, ENTRIES, { index: 20, term: 1 });
    await store.persist(group(null, compact(20, 1), append(...puts(21, 1, 3))));
    await store.close();
    const left = await names();
    expect(left.filter((name) => name.startsWith("snapshot-"))).toEqual(["snapshot-20.json"]);
    expect(left.filter((name) => name.startsWith("log-")).length).toBeLessThan(Math.min(3, segments));
    const { snapshot, log } = await readServer(fs, directory, SMALL);
    expect(digestOf(snapshot)).toBe(machineAt(ORIGIN, ENTRIES, 20).digest());
    expect(snapshot?.info).toEqual(store.snapshotInfo ?? expect.anything());
    expect(log.entries).toEqual([...ENTRIES, ...puts(21, 1, 3)].slice(log.base.index));
    expect(log.base.term).toBe(1);
  });

  test("S3, S5: an installed snapshot takes the place of the whole log", async () => {
    const { fs, directory, store, names } = await twenty();
    const { info } = await receive(store, { index: 40, term: 2 });
    expect(store.snapshotInfo).toBeNull();
    await store.persist(group(null, install(info), append(...puts(41, 2, 3))));
    expect(store.snapshotInfo).toEqual(info);
    await store.close();
    expect(await names()).toEqual(["lock", "log-0000000000000041.jsonl", "reserve", "snapshot-40.json"]);
    const { snapshot, log, repairs } = await readServer(fs, directory, SMALL);
    expect(snapshot?.info).toEqual(info);
    expect(log).toEqual({ base: info.position, entries: puts(41, 2, 3) });
    expect(repairs).toEqual([]);
  });

  test("S6: an opened snapshot can be read to its end, though another has taken its place", async () => {
    const { store } = await twenty();
    const { info, bytes } = await receive(store, { index: 30, term: 2 });
    await store.persist(group(null, install(info)));
    const source = await store.openSnapshot();
    expect(source?.info).toEqual(info);
    const next = await receive(store, { index: 35, term: 2 });
    await store.persist(group(null, install(next.info)));
    expect(Buffer.from((await source?.read(0, 100)) ?? "")).toEqual(Buffer.from(bytes.subarray(0, 100)));
    expect(Buffer.from((await source?.read(100, bytes.length)) ?? "")).toEqual(
      Buffer.from(bytes.subarray(100)),
    );
    expect((await source?.read(bytes.length, 100))?.length).toBe(0);
    await source?.close();
    await store.close();
  });

  test("S1, S4: one is prepared while another is received, both can be abandoned, and then begun again", async () => {
    const { store, names } = await twenty();
    const before = await names();
    const writer = await prepare(store, ENTRIES, { index: 12, term: 1 });
    const { receipt } = await receive(store, { index: 30, term: 2 });
    expect(await names()).toEqual([...before, "snapshot-12.json.tmp", "snapshot-30.json.part"]);
    for (let times = 0; times < 2; times++) await Promise.all([writer.abandon(), receipt.abandon()]);
    expect(await names()).toEqual(before);
    expect((await refusal(writer.append("{}"))).message).toContain("abandoned");
    await prepare(store, ENTRIES, { index: 12, term: 1 });
    await store.persist(group(null, compact(12, 1, 0)));
    const { receipt: second } = await receive(store, { index: 30, term: 2 });
    await store.close();
    expect(await names()).toEqual([...before, "snapshot-12.json"]);
    expect((await refusal(second.append(Buffer.alloc(1)))).code).toBe("failedPrecondition");
  });

  test("S5: what was received is refused when it is not what was announced, and the store goes on", async () => {
    const { fs, directory, store } = await twenty();
    const { info, bytes } = await foreignSnapshot({ index: 30, term: 2 });
    const foreign = await foreignSnapshot({ index: 30, term: 2 }, "cluster-b");
    const flipped = Buffer.from(bytes).fill(0x41, 200, 201);
    const wrong = [
      [info, bytes.subarray(0, -1), "corruption"],
      [info, Buffer.concat([bytes, Buffer.alloc(1)]), "corruption"],
      [info, flipped, "corruption"],
      [{ ...info, position: { index: 31, term: 2 } }, bytes, "corruption"],
      [{ ...info, position: { index: 30, term: 1 } }, bytes, "corruption"],
      [{ ...info, checksum: "00000000" }, bytes, "corruption"],
      [foreign.info, foreign.bytes, "failedPrecondition"],
    ] as const;
    for (const [announced, sent, code] of wrong) {
      const receipt = await store.receiveSnapshot(announced);
      const error = await refusal(receipt.append(sent).then(() => receipt.finish()));
      expect([error.code, error.message]).toEqual([code, error.message]);
      await receipt.abandon();
    }
    await store.persist(group(null, append(...puts(21, 1, 1))));
    await store.close();
    expect((await readServer(fs, directory, SMALL)).log.entries).toHaveLength(21);
  });

  test.each([
    ["made anew", { currentTerm: 8, votedFor: 1, abstainsThrough: 8 }],
    ["that waits to be added", { currentTerm: 8, votedFor: 1, abstainsThrough: 0, abstainsTo: 41 }],
  ])("P9: a server %s abstains as it was told, until it says that it votes again", async (_, hardState) => {
    const { fs, directory } = await fresh();
    await createServerStore(fs, directory, IDENTITY, { hardState });
    const { store, recovered } = await openServerStore(fs, directory, 1);
    expect(recovered.hardState).toEqual(hardState);
    await store.persist(group({ ...hardState, currentTerm: 9, votedFor: null }));
    await store.persist(group({ currentTerm: 9, votedFor: null, abstainsThrough: 0 }));
    await store.close();
    expect((await readServer(fs, directory)).hardState).toEqual(term(9));
  });

  test("S5: a server can begin with a snapshot, and goes on after it", async () => {
    const { fs, directory } = await fresh();
    const disk = new MemoryDisk().mount();
    await createServerStore(disk, "other", IDENTITY);
    const other = await openServerStore(disk, "other", 1);
    const { receipt } = await receive(other.store, { index: 30, term: 4 });
    const { state } = await loaded(receipt.info.position);
    const snapshot = { position: { index: 30, term: 4 }, configuration: SPREAD, state };
    await createServerStore(fs, directory, IDENTITY, { hardState: term(4), snapshot });
    const { store, recovered } = await openServerStore(fs, directory, 1);
    expect(recovered.snapshot?.info.position).toEqual(snapshot.position);
    expect(recovered.snapshot?.configuration).toEqual(SPREAD);
    expect(digestOf(recovered.snapshot)).toBe(machineAt(snapshot.position, [], 30).digest());
    expect(recovered.log).toEqual({ base: snapshot.position, entries: [] });
    await store.persist(group(term(5), append(...puts(31, 1, 5))));
    await store.close();
    expect((await readServer(fs, directory)).log.entries).toEqual(puts(31, 1, 5));
  });
});

/** What a leader's snapshot holds. */
async function loaded(position: SnapshotPosition) {
  const { info, bytes } = await foreignSnapshot(position);
  const fs = new MemoryDisk().mount();
  await createServerStore(fs, "scratch", IDENTITY);
  const { store } = await openServerStore(fs, "scratch", 1);
  const receipt = await store.receiveSnapshot(info);
  await receipt.append(bytes);
  return receipt.finish();
}

/** A store of four entries, a segment each but for the last two, and what its file system was asked to do. */
async function watched(plan: (operation: Operation) => string | null = () => null) {
  const operations: Operation[] = [];
  const disk = new MemoryDisk();
  const fs = disk.mount((operation) => {
    operations.push(operation);
    const message = plan(operation);
    return message === null ? null : { kind: "refuse", message };
  });
  await createServerStore(fs, "raft_state", IDENTITY);
  const { store } = await openServerStore(fs, "raft_state", 1, { maxSegmentBytes: 1 });
  await store.persist(group(term(2), append(...puts(1, 4, 1))));
  return { disk, store, operations };
}

/** The operations as words: what was done to which segment or snapshot, by its index. */
function told(operations: readonly Operation[]): string {
  const words = operations.map(({ name, path }) => {
    const [, kind, index, ending = ""] = /(log|snapshot)-0*([0-9]+)\.jsonl?(.*)/.exec(path) ?? [];
    return kind === undefined ? name : `${name.replace("append.", "")} ${kind} ${index}${ending}`;
  });
  return words.join(", ");
}

test("P2, S2: a snapshot's bytes, then its name, are durable before the older one goes, and that before any log", async () => {
  const { store, operations } = await watched();
  await prepare(store, puts(1, 4, 1), { index: 1, term: 1 });
  await store.persist(group(null, compact(1, 1)));
  operations.length = 0;
  await prepare(store, puts(1, 4, 1), { index: 3, term: 1 });
  expect(told(operations)).toEndWith("sync snapshot 3.tmp, close snapshot 3.tmp");
  operations.length = 0;
  await store.persist(group(null, compact(3, 1)));
  const expected = [
    "rename snapshot 3.tmp, syncDirectory",
    "removeFile snapshot 1, syncDirectory",
    "removeFile log 2, syncDirectory, removeFile log 3, syncDirectory",
  ];
  expect(told(operations)).toBe(expected.join(", "));
});

test("S2: entries are durable before a snapshot that stands for them counts", async () => {
  const { store, operations } = await watched();
  await prepare(store, puts(1, 5, 1), { index: 5, term: 1 });
  operations.length = 0;
  await store.persist(group(null, append(...puts(5, 1, 1)), compact(5, 1, 0)));
  const words = told(operations);
  expect(words.indexOf("sync log 5")).toBeLessThan(words.indexOf("rename snapshot 5.tmp"));
});

test("P2, S2: an install is announced, makes the snapshot count, empties the log, makes the new segment durable, and only then removes the old", async () => {
  const { store, operations } = await watched();
  await store.persist(group(null, truncate(2)));
  const { info } = await receive(store, { index: 9, term: 2 });
  operations.length = 0;
  await store.persist(group(null, install(info)));
  const expected = [
    "writeFile, syncFile, rename, syncDirectory",
    "rename snapshot 9.part, syncDirectory",
    "readFile log 1, truncate log 2, sync log 2, openAppend log 1, close log 2",
    "truncate log 1, sync log 1, removeFile log 2, syncDirectory",
    "truncate log 1, sync log 1",
    "openAppend log 10, append log 10, sync log 10, syncDirectory",
    "close log 1, removeFile log 1, syncDirectory",
  ];
  expect(told(operations)).toBe(expected.join(", "));
});

test("P5: a failed write or sync of a snapshot ends the store, and a full disk only the snapshot", async () => {
  for (const [message, code] of [
    ["EIO: bad sector", "io"],
    ["ENOSPC: no space", "diskFull"],
  ] as const) {
    for (const failing of ["append.append", "append.sync"]) {
      let armed = false;
      const { disk, store } = await watched(({ name, path }) =>
        armed && name === failing && path.includes("snapshot-") ? message : null,
      );
      const writer = await store.prepareSnapshot({ index: 2, term: 1 }, MEMBERS);
      armed = true;
      const error = await refusal(writer.append(`{"retryCapacity":9}`).then(() => writer.finish()));
      const isFull = code === "diskFull" && failing === "append.append";
      expect(error.code).toBe(isFull ? "diskFull" : "io");
      await writer.abandon();
      const persisted = store.persist(group(null, append(...puts(5, 1, 1))));
      if (isFull) await persisted;
      else expect((await refusal(persisted)).message).toContain("earlier write failed");
      disk.crash();
      const { log, snapshot } = await readServer(disk.mount(), "raft_state");
      expect([log.entries.length, snapshot]).toEqual([isFull ? 5 : 4, null]);
    }
  }
});

test("S3: a caller that publishes what is older, unfinished or not there is stopped as a bug", async () => {
  const bug = expect.objectContaining({ name: "AssertionError" });
  for (const write of [compact(3, 1), compact(2, 2), compact(2, 1, 3), compact(9, 1)]) {
    const { store } = await watched();
    await prepare(store, puts(1, 4, 1), { index: 2, term: 1 });
    await expect(store.persist(group(null, write))).rejects.toThrow(bug);
  }
  const { store } = await watched();
  await expect(store.persist(group(null, compact(2, 1)))).rejects.toThrow(bug);
  const second = (await watched()).store;
  await prepare(second, puts(1, 4, 1), { index: 3, term: 1 });
  await expect(second.prepareSnapshot({ index: 4, term: 1 }, MEMBERS)).rejects.toThrow(bug);
  await second.persist(group(null, compact(3, 1)));
  await prepare(second, puts(1, 4, 1), { index: 2, term: 1 });
  await expect(second.persist(group(null, compact(2, 1)))).rejects.toThrow(bug);
});
