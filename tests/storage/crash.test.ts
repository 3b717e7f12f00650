/**
 * A server's whole life is cut short before and after every single operation on the disk, with every
 * choice of what the power loss spares from nothing to all. What was acknowledged must be there afterwards;
 * what was under way may be there in part, but only as a prefix of its steps.
 */
import { expect, test } from "bun:test";

import type { Command } from "../../src/kv/command.ts";
import type { LogWrite, Persist } from "../../src/raft/batch.ts";
import type { Entry } from "../../src/raft/entry.ts";
import type { HardState } from "../../src/raft/hard-state.ts";
import type { Keep } from "../../src/storage/memory-disk.ts";
import { MemoryDisk, type FaultPlan, type MemoryFileSystem } from "../../src/storage/memory-file-system.ts";
import { createServerStore, eraseServer, openServerStore } from "../../src/storage/server-store.ts";
import { append, group, IDENTITY, noop, puts, readServer, refusal, term, truncate } from "./sample-log.ts";

const STATE_DIR = "data/raft_state";
const OPTIONS = { maxSegmentBytes: 900 };

/** Appends of less and of more than a sector, rolls, truncations within and across segments. */
const LIFE: readonly Persist<Command>[] = [
  group(term(1, 1), append(noop(1, 1), ...puts(2, 3, 1))),
  group(null, append(...puts(5, 2, 1, 700))),
  group(null, append(...puts(7, 10, 1, 200))),
  group(term(2)),
  group(term(2, 0), truncate(14), append(...puts(14, 2, 2, 300))),
  group(term(3), truncate(6), append(...puts(6, 1, 3))),
  group(null, append(...puts(7, 2, 3, 400)), truncate(8), append(...puts(8, 8, 3, 150))),
  group(null, truncate(1)),
  group(null, append(...puts(1, 3, 3, 600))),
];

interface Durable {
  readonly hardState: HardState;
  readonly entries: readonly Entry<Command>[];
}

/** What is known to be durable, and what was being done when the process died. */
interface Progress {
  /** null: not even the creation was acknowledged. */
  acknowledged: Durable | null;
  underWay: Persist<Command> | null;
}

/** Runs the life until it ends or the process dies. */
async function live(fs: MemoryFileSystem): Promise<Progress> {
  const progress: Progress = { acknowledged: null, underWay: null };
  try {
    await createServerStore(fs, STATE_DIR, IDENTITY);
    progress.acknowledged = { hardState: term(0), entries: [] };
    const { store } = await openServerStore(fs, STATE_DIR, 1, OPTIONS);
    for (const persist of LIFE) {
      progress.underWay = persist;
      await store.persist(persist);
      progress.acknowledged = after(progress.acknowledged, persist);
      progress.underWay = null;
    }
    await store.close();
  } catch (error) {
    expect(error).toMatchObject({ code: "io" });
  }
  return progress;
}

function after(before: Durable, { hardState, writes }: Persist<Command>): Durable {
  return { hardState: hardState ?? before.hardState, entries: writes.reduce(written, before.entries) };
}

function written(log: readonly Entry<Command>[], write: LogWrite<Command>): readonly Entry<Command>[] {
  return write.kind === "append" ? [...log, ...write.entries] : log.slice(0, write.from - 1);
}

/** Whether the log may look like this: between two states that follow each other, a prefix of the longer. */
function isReachable(found: Durable, { acknowledged, underWay }: Progress): boolean {
  const before = acknowledged ?? { hardState: term(0), entries: [] };
  if (Bun.deepEquals(found, before)) return true;
  if (underWay === null) return false;
  if (!Bun.deepEquals(found.hardState, underWay.hardState ?? before.hardState)) return false;
  let log = before.entries;
  if (Bun.deepEquals(found.entries, log)) return true;
  for (const write of underWay.writes) {
    const next = written(log, write);
    const [shorter, longer] = next.length < log.length ? [next, log] : [log, next];
    const isBetween = found.entries.length >= shorter.length && found.entries.length <= longer.length;
    if (isBetween && Bun.deepEquals(found.entries, longer.slice(0, found.entries.length))) return true;
    log = next;
  }
  return false;
}

/** The plan that lets a process die at that operation. */
function dieAt(number: number, when: "before" | "after"): FaultPlan {
  return (operation) => (operation.number === number ? { kind: "die", when } : null);
}

/** A life that ended at that operation, in a power loss that spared what `keep` chose. */
async function lifeUntil(number: number, when: "before" | "after", keep: Keep) {
  const disk = new MemoryDisk();
  const progress = await live(disk.mount(dieAt(number, when)));
  disk.crash(keep);
  return { disk, progress };
}

/** `crashAgain`: the power also goes right after the start, before the server has written anything. */
async function check(disk: MemoryDisk, progress: Progress, crashAgain = true): Promise<void> {
  const fs = disk.mount();
  if (progress.acknowledged === null) {
    const started = await openServerStore(fs, STATE_DIR, 1, OPTIONS).catch((error: unknown) => error);
    if (started instanceof Error) {
      expect(started).toMatchObject({ code: "failedPrecondition" });
      await eraseServer(fs, STATE_DIR, 1);
      await createServerStore(fs, STATE_DIR, IDENTITY);
      expect((await readServer(fs, STATE_DIR, OPTIONS)).entries).toEqual([]);
      return;
    }
    disk.crash();
    return check(disk, { acknowledged: { hardState: term(0), entries: [] }, underWay: null });
  }
  let { store, recovered } = await openServerStore(fs, STATE_DIR, 1, OPTIONS);
  const { hardState, entries } = recovered;
  if (!isReachable({ hardState, entries }, progress)) {
    expect({ hardState, entries }).toEqual(progress.acknowledged);
  }
  if (crashAgain) {
    disk.crash();
    ({ store, recovered } = await openServerStore(disk.mount(), STATE_DIR, 1, OPTIONS));
    expect(recovered).toEqual({ identity: IDENTITY, hardState, entries, repairs: [] });
  }
  const more = puts(entries.length + 1, 4, 9, 300);
  await store.persist(group(term(9), append(...more)));
  disk.crash();
  const again = await readServer(disk.mount(), STATE_DIR, OPTIONS);
  expect(again.hardState).toEqual(term(9));
  expect(again.entries).toEqual([...entries, ...more]);
  expect(again.repairs).toEqual([]);
}

const operationCount = await (async () => {
  const fs = new MemoryDisk().mount();
  const { acknowledged } = await live(fs);
  expect(acknowledged?.entries).toEqual(LIFE.reduce(after, { hardState: term(0), entries: [] }).entries);
  return fs.operations;
})();

/** Small, seeded, and good enough to choose subsets: mulberry32. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function keepAtRandom(seed: number): Keep {
  const random = randomFrom(seed);
  const share = random();
  return () => random() < share;
}

const MOMENTS = Array.from({ length: operationCount }, (_, number) => number);

test("P1, P2: a power loss at every operation that keeps nothing unsynced, or all of it", async () => {
  for (const number of MOMENTS) {
    for (const when of ["before", "after"] as const) {
      for (const kept of [false, true]) {
        const { disk, progress } = await lifeUntil(number, when, () => kept);
        await check(disk, progress);
      }
    }
  }
}, 60_000);

test("P1, P3: a power loss at every operation that keeps a random part of what was not synced", async () => {
  for (const number of MOMENTS) {
    for (let seed = 1; seed <= 6; seed++) {
      const { disk, progress } = await lifeUntil(number, "after", keepAtRandom(number * 1000 + seed));
      await check(disk, progress);
    }
  }
}, 60_000);

test("P1: a process killed at every operation finds its own unsynced writes and makes them durable", async () => {
  for (const number of MOMENTS) {
    for (const crashAgain of [false, true]) {
      const disk = new MemoryDisk();
      const mount = disk.mount(dieAt(number, "after"));
      const progress = await live(mount);
      disk.kill(mount);
      await check(disk, progress, crashAgain);
    }
  }
}, 60_000);

test("P1, P3: a second power loss at every operation of the recovery from the first", async () => {
  for (const number of MOMENTS.filter((moment) => moment % 5 === 0)) {
    for (let again = 0; ; again++) {
      const { disk, progress } = await lifeUntil(number, "after", keepAtRandom(number));
      const mount = disk.mount(dieAt(again, "after"));
      const started = await openServerStore(mount, STATE_DIR, 1, OPTIONS).catch((error: unknown) => error);
      const died = started instanceof Error && "code" in started && started.code === "io";
      disk.crash(keepAtRandom(again));
      await check(disk, progress);
      if (!died) break;
    }
  }
}, 60_000);

test("P1, P2: a power loss at every operation of the start after a kill, which finds all in the page cache", async () => {
  for (const number of MOMENTS) {
    for (let again = 0, died = true; died; again++) {
      const disk = new MemoryDisk();
      const first = disk.mount(dieAt(number, "after"));
      const progress = await live(first);
      disk.kill(first);
      const second = disk.mount(dieAt(again, "after"));
      const started = await openServerStore(second, STATE_DIR, 1, OPTIONS).catch((error: unknown) => error);
      died = started instanceof Error && "code" in started && started.code === "io";
      disk.crash();
      await check(disk, progress);
    }
  }
}, 60_000);

test("P1: a power loss while a group is cut short by a full disk loses nothing acknowledged", async () => {
  for (let bytes = 0; bytes < 1500; bytes += 37) {
    const disk = new MemoryDisk();
    let appends = 0;
    const mount = disk.mount(({ name }) =>
      name === "append.append" && ++appends === 4 ? { kind: "short", bytes, message: "ENOSPC: full" } : null,
    );
    const progress = await live(mount);
    expect(progress.underWay).not.toBeNull();
    disk.crash(keepAtRandom(bytes));
    await check(disk, progress);
  }
});

test("P4: at every moment of a life, a log that lost any one file is refused, unless the file held no entry", async () => {
  const directory = `${STATE_DIR}/server_1`;
  let refusals = 0;
  for (const number of MOMENTS) {
    for (const keep of [() => () => false, () => () => true, () => keepAtRandom(number)]) {
      const { disk, progress } = await lifeUntil(number, "after", keep());
      if (progress.acknowledged === null) continue;
      const names = (await disk.mount().listDirectory(directory)) ?? [];
      const { entries } = await readServer(disk.mount(), STATE_DIR, OPTIONS);
      for (const name of names.filter((each) => each.startsWith("log-"))) {
        const { disk: damaged } = await lifeUntil(number, "after", keep());
        await damaged.mount().removeFile(`${directory}/${name}`);
        const found = await readServer(damaged.mount(), STATE_DIR, OPTIONS).catch((error: unknown) => error);
        if (!(found instanceof Error)) expect(found).toMatchObject({ entries });
        else {
          refusals++;
          expect(found).toMatchObject({ name: "RaftKvError" });
        }
      }
    }
  }
  expect(refusals).toBeGreaterThan(MOMENTS.length);
}, 60_000);

test("P9: a server whose erasure was interrupted is whole or refused, never a shorter one", async () => {
  let moments = 1;
  for (let number = 0; number < moments; number++) {
    for (let seed = 1; seed <= 12; seed++) {
      const disk = new MemoryDisk();
      const { acknowledged } = await live(disk.mount());
      const erased = await eraseServer(disk.mount(dieAt(number, "after")), STATE_DIR, 1).then(
        () => true,
        () => false,
      );
      if (!erased) moments = number + 2;
      disk.crash(keepAtRandom(number * 1000 + seed));
      await checkErased(disk.mount(), erased ? null : acknowledged);
    }
  }
});

/** Expects a refusal, or a start with exactly what is given; and that erasing again ends it. */
async function checkErased(fs: MemoryFileSystem, whole: Durable | null): Promise<void> {
  const started = await readServer(fs, STATE_DIR, OPTIONS).catch((error: unknown) => error);
  if (whole === null || started instanceof Error)
    expect(started).toMatchObject({ code: "failedPrecondition" });
  else expect(started).toMatchObject({ ...whole, identity: IDENTITY });
  await eraseServer(fs, STATE_DIR, 1);
  expect((await refusal(readServer(fs, STATE_DIR))).message).toContain("has no state here");
}
