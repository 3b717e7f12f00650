/** What waits for the disk, and in which order it gets it. */
import { expect, test } from "bun:test";
import type { Command } from "../../src/kv/command.ts";
import { RaftKvError } from "../../src/base/errors.ts";
import type { LogWrite, Persist } from "../../src/raft/batch.ts";
import { ORIGIN } from "../../src/raft/snapshot-position.ts";
import { Persister } from "../../src/node/persister.ts";
import { MemoryDisk } from "../../src/storage/memory-file-system.ts";
import type { Store } from "../../src/storage/store.ts";
import { createServerStore, openServerStore } from "../../src/storage/server-store.ts";
import { machineAt } from "../storage/sample-life.ts";
import { append, compact, group, IDENTITY, noop, puts, readServer, term } from "../storage/sample-log.ts";

const ENTRIES = [noop(1, 1), ...puts(2, 200, 1, 120)];
const MORE = puts(202, 40, 1, 200);
const SMALL = { maxSegmentBytes: 2000 };

/** A persister, with what it says. */
function persistingTo(store: Store) {
  const told: number[] = [];
  const failures: unknown[] = [];
  const persister = new Persister(
    store,
    (sequence) => told.push(sequence),
    (error) => failures.push(error),
  );
  return { persister, told, failures };
}

/** Persists the rows one after the other on a disk without room for MORE; each goes before the one before is done. */
async function persistOnFullDisk(rows: readonly (readonly LogWrite<Command>[])[]) {
  const disk = new MemoryDisk();
  await createServerStore(disk.mount(), "raft_state", IDENTITY);
  let waits = 0;
  const whenFull = async (error: Error) => {
    if (++waits > 100) throw error;
  };
  const { store } = await openServerStore(disk.mount(), "raft_state", 1, { ...SMALL, whenFull });
  await store.persist(group(term(1), append(...ENTRIES)));
  const writer = await store.prepareSnapshot({ index: 201, term: 1 }, IDENTITY.members);
  for (const section of machineAt(ORIGIN, ENTRIES, 201).freeze().sections()) await writer.append(section);
  await writer.finish();
  disk.capacityBytes = disk.usedBytes + 500;
  const { persister, told, failures } = persistingTo(store);
  for (const [at, writes] of rows.entries()) {
    persister.add({ sequence: at + 1, hardState: null, writes });
    // The next one comes when the store is at work.
    if (at === 0) await Promise.resolve();
  }
  await persister.idle();
  disk.crash();
  disk.capacityBytes = Number.POSITIVE_INFINITY;
  const found = failures.length > 0 ? null : await readServer(disk.mount(), "raft_state", SMALL);
  return { told, failures, found };
}

test.each([
  ["came with it", [[append(...MORE), compact(201, 1, 190)]]],
  ["came later", [[append(...MORE)], [compact(201, 1, 190)]]],
  [
    "came later, behind other entries",
    [[append(...MORE)], [append(...puts(242, 1, 1)), compact(201, 1, 190)]],
  ],
] as const)(
  "P6: a compaction that makes room does not wait behind an append that finds none: it %s",
  async (_, rows) => {
    const { told, failures, found } = await persistOnFullDisk(rows);
    expect(failures).toEqual([]);
    expect(told.at(-1)).toBe(rows.length);
    expect(found?.snapshot?.info.position).toEqual({ index: 201, term: 1 });
    expect(found?.log.base.index).toBeGreaterThan(150);
    expect(found?.log.entries.filter(({ index }) => index > 201 && index < 242)).toEqual(MORE);
    expect(found?.repairs).toEqual([]);
  },
);

test("S2: a compaction does not come before the entries that its snapshot stands for, nor before a truncation", async () => {
  const needed = [append(...MORE), compact(210, 1, 190)];
  expect((await persistOnFullDisk([needed])).failures).toEqual([
    expect.objectContaining({ code: "diskFull" }),
  ]);
  const rows = [[append(...MORE)], [{ kind: "truncate", from: 230 } as const, compact(201, 1, 190)]];
  expect((await persistOnFullDisk(rows)).failures).toEqual([expect.objectContaining({ code: "diskFull" })]);
});

test("P6: a no-op becomes durable though what came right behind it finds no room", async () => {
  const full = new RaftKvError("diskFull", "no space left");
  const calls: number[] = [];
  const store = {
    persist: async ({ writes }: Persist<Command>) => {
      const entries = writes.flatMap((write) => (write.kind === "append" ? write.entries : []));
      calls.push(entries.length);
      if (entries.some(({ payload }) => payload.kind === "command") && calls.length > 1) throw full;
    },
  } as unknown as Store;
  const { persister, told, failures } = persistingTo(store);
  persister.add({ sequence: 1, hardState: null, writes: [append(...puts(1, 1, 1))] });
  persister.add({ sequence: 2, hardState: null, writes: [append(noop(2, 2))] });
  persister.add({ sequence: 3, hardState: null, writes: [append(...puts(3, 1, 2))] });
  await persister.idle();
  expect({ calls, told, failures }).toEqual({ calls: [1, 1, 1], told: [1, 2], failures: [full] });
});

test("P1: appends that wait for the disk together go to it as one write, around what must stay in its place", async () => {
  const calls: (readonly LogWrite<Command>[])[] = [];
  const store = {
    persist: async ({ writes }: Persist<Command>) => void calls.push(writes),
  } as unknown as Store;
  const { persister, told } = persistingTo(store);
  const [first, second, third, fourth] = [puts(1, 2, 1), puts(3, 1, 1), puts(4, 3, 1), puts(6, 1, 2)];
  persister.add({ sequence: 1, hardState: null, writes: [append(...first)] });
  persister.add({ sequence: 2, hardState: null, writes: [append(...second), append(...third)] });
  persister.add({ sequence: 3, hardState: null, writes: [{ kind: "truncate", from: 6 }, append(...fourth)] });
  await persister.idle();
  expect(told).toEqual([1, 3]);
  expect(calls).toEqual([
    [append(...first)],
    [append(...second, ...third), { kind: "truncate", from: 6 }, append(...fourth)],
  ]);
});
