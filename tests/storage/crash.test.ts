/**
 * A server's whole life is cut short before and after every single operation on the disk, with every
 * choice of what the power loss spares from nothing to all. What was acknowledged must be there afterwards;
 * what was under way may be there in part, but only as a prefix of its steps.
 */
import { beforeAll, describe, expect, test } from "bun:test";

import type { Keep } from "../../src/storage/memory-disk.ts";
import { MemoryDisk, type FaultPlan, type MemoryFileSystem } from "../../src/storage/memory-file-system.ts";
import { createServerStore, eraseServer, openServerStore } from "../../src/storage/server-store.ts";
import type { Recovered } from "../../src/storage/store.ts";
import { append, group, IDENTITY, puts, readServer, refusal, term } from "./sample-log.ts";
import {
  digestOf,
  expectReachable,
  live,
  LOG_LIFE,
  NEWBORN,
  OPTIONS,
  SNAPSHOT_LIFE,
  STATE_DIR,
  type Durable,
  type Life,
  wholeDigest,
  type Progress,
} from "./sample-life.ts";

const LIVES: readonly (readonly [name: string, life: Life])[] = [
  ["a log that rolls and is truncated", LOG_LIFE],
  ["a log with snapshots, compactions and installs", SNAPSHOT_LIFE],
];

/** The plan that lets a process die at that operation. */
function dieAt(number: number, when: "before" | "after"): FaultPlan {
  return (operation) => (operation.number === number ? { kind: "die", when } : null);
}

/** A life that ended at that operation, in a power loss that spared what `keep` chose. */
async function lifeUntil(life: Life, number: number, when: "before" | "after", keep: Keep) {
  const disk = new MemoryDisk();
  const progress = await live(disk.mount(dieAt(number, when)), life);
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
      expect((await readServer(fs, STATE_DIR, OPTIONS)).log.entries).toEqual([]);
      return;
    }
    disk.crash();
    return check(disk, { acknowledged: NEWBORN, underWay: null });
  }
  let { store, recovered } = await openServerStore(fs, STATE_DIR, 1, OPTIONS);
  const { log, snapshot } = recovered;
  expectReachable(recovered, progress);
  if (crashAgain) {
    disk.crash();
    const first = recovered;
    ({ store, recovered } = await openServerStore(disk.mount(), STATE_DIR, 1, OPTIONS));
    expect(recovered).toEqual({ ...first, repairs: [] });
  }
  const more = puts(log.base.index + log.entries.length + 1, 4, 9, 300);
  await store.persist(group(term(9), append(...more)));
  disk.crash();
  const again = await readServer(disk.mount(), STATE_DIR, OPTIONS);
  expect(again.hardState).toEqual(term(9));
  expect(again.log).toEqual({ ...log, entries: [...log.entries, ...more] });
  expect(digestOf(again.snapshot)).toBe(digestOf(snapshot));
  expect(again.repairs).toEqual([]);
}

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

describe.each(LIVES)("%s", (_, life) => {
  const moments: number[] = [];
  beforeAll(async () => {
    const fs = new MemoryDisk().mount();
    const { acknowledged, underWay } = await live(fs, life);
    expect([acknowledged?.entries.length, underWay]).toEqual([expect.any(Number), null]);
    for (let number = 0; number < fs.operations; number++) moments.push(number);
    expect(moments.length).toBeGreaterThan(100);
  });

  test("P1, P2: a power loss at every operation that keeps nothing unsynced, or all of it", async () => {
    for (const number of moments) {
      for (const when of ["before", "after"] as const) {
        for (const kept of [false, true]) {
          const { disk, progress } = await lifeUntil(life, number, when, () => kept);
          await check(disk, progress);
        }
      }
    }
  }, 180_000);

  test("P1, P3: a power loss at every operation that keeps a random part of what was not synced", async () => {
    for (const number of moments) {
      for (let seed = 1; seed <= 6; seed++) {
        const { disk, progress } = await lifeUntil(life, number, "after", keepAtRandom(number * 1000 + seed));
        await check(disk, progress);
      }
    }
  }, 180_000);

  test("P1: a process killed at every operation finds its own unsynced writes and makes them durable", async () => {
    for (const number of moments) {
      for (const crashAgain of [false, true]) {
        const disk = new MemoryDisk();
        const mount = disk.mount(dieAt(number, "after"));
        const progress = await live(mount, life);
        disk.kill(mount);
        await check(disk, progress, crashAgain);
      }
    }
  }, 180_000);

  test("P1, P3: a second power loss at every operation of the recovery from the first", async () => {
    for (const number of moments.filter((moment) => moment % 5 === 0)) {
      for (let again = 0; ; again++) {
        const { disk, progress } = await lifeUntil(life, number, "after", keepAtRandom(number));
        const mount = disk.mount(dieAt(again, "after"));
        const started = await openServerStore(mount, STATE_DIR, 1, OPTIONS).catch((error: unknown) => error);
        const died = started instanceof Error && "code" in started && started.code === "io";
        disk.crash(keepAtRandom(again));
        await check(disk, progress);
        if (!died) break;
      }
    }
  }, 180_000);

  test("P1, P2: a power loss at every operation of the start after a kill, which finds all in the page cache", async () => {
    for (const number of moments.filter((moment) => moment % 3 === 0)) {
      for (let again = 0, died = true; died; again++) {
        const disk = new MemoryDisk();
        const first = disk.mount(dieAt(number, "after"));
        const progress = await live(first, life);
        disk.kill(first);
        const second = disk.mount(dieAt(again, "after"));
        const started = await openServerStore(second, STATE_DIR, 1, OPTIONS).catch((error: unknown) => error);
        died = started instanceof Error && "code" in started && started.code === "io";
        disk.crash();
        await check(disk, progress);
      }
    }
  }, 180_000);

  test("P1: a power loss while a group is cut short by a full disk loses nothing acknowledged", async () => {
    for (let bytes = 0; bytes < 1500; bytes += 37) {
      const disk = new MemoryDisk();
      let appends = 0;
      const mount = disk.mount(({ name, path }) =>
        name === "append.append" && !path.endsWith("/reserve") && ++appends === 4
          ? { kind: "short", bytes, message: "ENOSPC: full" }
          : null,
      );
      const progress = await live(mount, life);
      expect(progress.underWay).not.toBeNull();
      disk.crash(keepAtRandom(bytes));
      await check(disk, progress);
    }
  });

  test("P4, S2: at every moment of a life, a server that lost any one file is refused, or has lost nothing", async () => {
    const directory = `${STATE_DIR}/server_1`;
    let refusals = 0;
    for (const number of moments.filter((moment) => moment % 3 === 1)) {
      for (const keep of [() => () => false, () => () => true, () => keepAtRandom(number)]) {
        const { disk, progress } = await lifeUntil(life, number, "after", keep());
        if (progress.acknowledged === null) continue;
        const names = (await disk.mount().listDirectory(directory)) ?? [];
        const whole = await readServer(disk.mount(), STATE_DIR, OPTIONS);
        for (const name of names.filter((each) => each !== "lock")) {
          const { disk: damaged } = await lifeUntil(life, number, "after", keep());
          await damaged.mount().removeFile(`${directory}/${name}`);
          const found = await startedOrRefused(damaged.mount());
          if (found === null) refusals++;
          else if (wholeDigest(found) !== wholeDigest(whole)) expectReachable(found, progress);
        }
      }
    }
    expect(refusals).toBeGreaterThan(moments.length / 3);
  }, 180_000);

  test("P9: a server whose erasure was interrupted is whole or refused, never a shorter one", async () => {
    let count = 1;
    for (let number = 0; number < count; number++) {
      for (let seed = 1; seed <= 12; seed++) {
        const disk = new MemoryDisk();
        const { acknowledged } = await live(disk.mount(), life);
        const erased = await eraseServer(disk.mount(dieAt(number, "after")), STATE_DIR, 1).then(
          () => true,
          () => false,
        );
        if (!erased) count = number + 2;
        disk.crash(keepAtRandom(number * 1000 + seed));
        await checkErased(disk.mount(), erased ? null : acknowledged);
      }
    }
  });
});

/** What a start finds; null: it was refused. */
async function startedOrRefused(fs: MemoryFileSystem): Promise<Recovered | null> {
  return readServer(fs, STATE_DIR, OPTIONS).catch((error: unknown) => {
    expect(error).toMatchObject({ code: expect.stringMatching(/^(corruption|failedPrecondition)$/) });
    return null;
  });
}

/** Expects a refusal, or a start with exactly what is given; and that erasing again ends it. */
async function checkErased(fs: MemoryFileSystem, whole: Durable | null): Promise<void> {
  const found = await startedOrRefused(fs);
  if (found !== null) {
    expect(whole).not.toBeNull();
    expectReachable(found, { acknowledged: whole, underWay: null });
  }
  await eraseServer(fs, STATE_DIR, 1);
  expect((await refusal(readServer(fs, STATE_DIR))).message).toContain("has no state here");
}
