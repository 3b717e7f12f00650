/** What a store does while its disk is full (P6): it waits in `persist`, and goes on as if nothing had been. */
import { expect, test } from "bun:test";

import type { Command } from "../../src/kv/command.ts";
import type { Persist } from "../../src/raft/batch.ts";
import { ORIGIN } from "../../src/raft/snapshot-position.ts";
import { MemoryDisk } from "../../src/storage/memory-file-system.ts";
import { createServerStore, openServerStore } from "../../src/storage/server-store.ts";
import type { Store } from "../../src/storage/store.ts";
import {
  append,
  compact,
  group,
  IDENTITY,
  install,
  MEMBERS,
  noop,
  puts,
  readServer,
  refusal,
  term,
} from "./sample-log.ts";
import { digestOf, foreignSnapshot, machineAt } from "./sample-life.ts";

const OPTIONS = { maxSegmentBytes: 600 };
const ENTRIES = [noop(1, 1), ...puts(2, 14, 1, 120)];

const GROUPS: readonly Persist<Command>[] = [
  group(term(1, 2), append(...ENTRIES.slice(0, 4))),
  group(null, append(...ENTRIES.slice(4, 9)), compact(6, 1, 5)),
  group(term(2), append(...ENTRIES.slice(9))),
  group(null, install({ position: { index: 30, term: 2 }, totalBytes: 0, checksum: "" })),
  group(term(3), append(...puts(31, 9, 3, 200))),
];

/** Does the groups with their snapshots; `around` runs each persist. */
async function run(store: Store, around: (persist: () => Promise<void>) => Promise<void>): Promise<void> {
  const foreign = await foreignSnapshot({ index: 30, term: 2 });
  for (const each of GROUPS) {
    for (const { kind } of each.writes) {
      if (kind === "compact") {
        const writer = await store.prepareSnapshot({ index: 6, term: 1 }, MEMBERS);
        for (const section of machineAt(ORIGIN, ENTRIES, 6).freeze().sections()) await writer.append(section);
        await writer.finish();
      }
      if (kind === "install") {
        const receipt = await store.receiveSnapshot(foreign.info);
        await receipt.append(foreign.bytes);
        await receipt.finish();
      }
    }
    await around(() => store.persist(each));
  }
}

/** A run in which each operation that `fails` says finds no room, as often as it says so. */
async function runWith(fails: (number: number) => "refuse" | number | null) {
  const disk = new MemoryDisk();
  await createServerStore(disk.mount(), "raft_state", IDENTITY);
  let number = 0;
  let isPersisting = false;
  let [waits, givenUp] = [0, 0];
  const opened = new Set<string>();
  const mount = disk.mount(({ name, path }) => {
    // A file that is there can be opened whatever room there is.
    const needsRoom =
      name === "openAppend" ? !opened.has(path) : ["append.append", "writeFile", "rename"].includes(name);
    if (name === "openAppend" && !isPersisting) opened.add(path);
    if (isPersisting && name === "append.truncate" && path.endsWith("/reserve")) givenUp++;
    if (!isPersisting || !needsRoom) return null;
    const how = fails(number++);
    if (how === null) {
      if (name === "openAppend") opened.add(path);
      return null;
    }
    const message = "ENOSPC: no space left";
    return name === "append.append" && how !== "refuse"
      ? { kind: "short", bytes: how, message }
      : { kind: "refuse", message };
  });
  const whenFull = async (error: Error) => {
    expect(error).toMatchObject({ code: "diskFull" });
    waits++;
  };
  const { store } = await openServerStore(mount, "raft_state", 1, { ...OPTIONS, whenFull });
  await run(store, async (persist) => {
    isPersisting = true;
    await persist();
    isPersisting = false;
  });
  disk.crash();
  const found = await readServer(disk.mount(), "raft_state", OPTIONS);
  return { found: { ...found, snapshot: digestOf(found.snapshot) }, waits, givenUp, operations: number };
}

test("P6: every write that finds no room is undone, waits or takes of the reserve, and is done again; the end is the same", async () => {
  const expected = await runWith(() => null);
  expect(expected.found.log.entries).toEqual(puts(31, 9, 3, 200));
  expect(expected.operations).toBeGreaterThan(20);
  for (let failing = 0; failing < expected.operations; failing++) {
    for (const how of ["refuse", 0, 1, 50, 400] as const) {
      const { found, waits, givenUp } = await runWith((number) => (number === failing ? how : null));
      expect(waits + givenUp).toBe(1);
      expect(found).toEqual(expected.found);
    }
  }
});

test("P6: a disk that refuses every third write is only slow", async () => {
  const expected = await runWith(() => null);
  const { found, waits } = await runWith((number) => (number % 3 === 0 ? 30 : null));
  expect(waits).toBeGreaterThan(10);
  expect(found).toEqual(expected.found);
});

test("P6: nothing is acknowledged from a full disk, and all of it once there is room", async () => {
  const disk = new MemoryDisk();
  await createServerStore(disk.mount(), "raft_state", IDENTITY);
  const room = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  const whenFull = () => {
    asked.resolve();
    return room.promise;
  };
  const mount = disk.mount();
  const { store } = await openServerStore(mount, "raft_state", 1, { ...OPTIONS, whenFull });
  await store.persist(group(term(1), append(...ENTRIES.slice(0, 2))));
  disk.capacityBytes = disk.usedBytes + 40;
  let done = false;
  const persisted = store.persist(group(null, append(...ENTRIES.slice(2)))).then(() => (done = true));
  await asked.promise;
  expect(done).toBe(false);
  disk.capacityBytes = Number.POSITIVE_INFINITY;
  room.resolve();
  await persisted;
  disk.crash();
  expect((await readServer(disk.mount(), "raft_state", OPTIONS)).log.entries).toEqual(ENTRIES);
});

test("P6: a caller that gives up waiting ends the store, and a restart finds what was acknowledged", async () => {
  const disk = new MemoryDisk();
  await createServerStore(disk.mount(), "raft_state", IDENTITY);
  const { store } = await openServerStore(disk.mount(), "raft_state", 1, OPTIONS);
  await store.persist(group(term(1), append(...ENTRIES.slice(0, 2))));
  disk.capacityBytes = disk.usedBytes + 40;
  expect((await refusal(store.persist(group(null, append(...ENTRIES.slice(2)))))).code).toBe("diskFull");
  expect((await refusal(store.persist(group(term(2))))).code).toBe("io");
  await store.close();
  expect((await readServer(disk.mount(), "raft_state", OPTIONS)).log.entries).toEqual(ENTRIES.slice(0, 2));
});

test("P6: a server stops on a full disk, and starts on one", async () => {
  const disk = new MemoryDisk();
  await createServerStore(disk.mount(), "raft_state", IDENTITY);
  const { store } = await openServerStore(disk.mount(), "raft_state", 1, OPTIONS);
  await store.persist(group(term(1), append(...ENTRIES)));
  disk.capacityBytes = disk.usedBytes;
  await store.close();
  const { log } = await readServer(disk.mount(), "raft_state", OPTIONS);
  expect(log.entries).toEqual(ENTRIES);
});
