/** P6: on a full disk there is still room for what an election needs, and for nothing else. */
import { describe, expect, test } from "bun:test";
import { MemoryDisk } from "../../src/storage/memory-file-system.ts";
import { RESERVE_BYTES } from "../../src/storage/reserve.ts";
import { createServerStore, eraseServer, openServerStore } from "../../src/storage/server-store.ts";
import type { Later, Store } from "../../src/storage/store.ts";
import { append, group, IDENTITY, noop, puts, readServer, refusal, term } from "./sample-log.ts";

const PATH = "raft_state/server_1/reserve";
const ELECTION_WAITS: Later = { takeCompaction: () => null, electionWaits: () => true };

interface FullServer {
  readonly disk: MemoryDisk;
  readonly store: Store;
  readonly reserveBytes: () => Promise<number>;
}

async function size(disk: MemoryDisk): Promise<number> {
  return (await disk.mount().readFile(PATH))?.length ?? 0;
}

/** With a no-op and a command of term 1, and no byte of room. */
async function fullServer(): Promise<FullServer> {
  const disk = new MemoryDisk();
  await createServerStore(disk.mount(), "raft_state", IDENTITY);
  const { store } = await openServerStore(disk.mount(), "raft_state", 1);
  await store.persist(group(term(1), append(noop(1, 1), ...puts(2, 1, 1, 50))));
  expect(await size(disk)).toBe(RESERVE_BYTES);
  disk.capacityBytes = disk.usedBytes;
  return { disk, store, reserveBytes: () => size(disk) };
}

/** What a start after a power loss finds. */
async function found(disk: MemoryDisk) {
  disk.crash();
  return readServer(disk.mount(), "raft_state");
}

describe("on a full disk", () => {
  test("P6: terms, votes and a leader's no-op are saved, many times", async () => {
    const { disk, store, reserveBytes } = await fullServer();
    for (let each = 2; each <= 40; each += 1) {
      await store.persist(group(term(each, 1)));
      await store.persist(group(null, append(noop(each + 1, each))));
    }
    expect(await reserveBytes()).toBeGreaterThan(0);
    const { hardState, log } = await found(disk);
    expect(hardState.currentTerm).toBe(40);
    expect(log.entries).toHaveLength(41);
  });

  test("P6: commands find no room, and take nothing of the reserve", async () => {
    const { disk, store, reserveBytes } = await fullServer();
    expect((await refusal(store.persist(group(null, append(...puts(3, 1, 1, 50)))))).code).toBe("diskFull");
    expect(await reserveBytes()).toBe(RESERVE_BYTES);
    expect((await found(disk)).log.entries).toHaveLength(2);
  });

  test("P6: nor do those that come after the no-op", async () => {
    const { disk, store, reserveBytes } = await fullServer();
    const writes = append(noop(3, 2), ...puts(4, 40, 2, 200));
    expect((await refusal(store.persist(group(term(2), writes)))).code).toBe("diskFull");
    expect(await reserveBytes()).toBeGreaterThan(RESERVE_BYTES - 8192);
    await store.close();
    expect((await readServer(disk.mount(), "raft_state")).log.entries).toHaveLength(3);
  });

  test("P6: but commands that a vote waits behind, or of earlier terms, which a no-op comes after, are stored", async () => {
    const { disk, store } = await fullServer();
    await store.persist(group(null, append(...puts(3, 1, 1, 50))), ELECTION_WAITS);
    await store.persist(group(term(2)));
    await store.persist(group(null, append(...puts(4, 100, 1, 200))));
    expect((await found(disk)).log.entries).toHaveLength(103);
  });

  test("P6: what has no room even so waits as before, and what was given up is taken back when there is room", async () => {
    const { disk, store, reserveBytes } = await fullServer();
    disk.capacityBytes -= RESERVE_BYTES;
    expect((await refusal(store.persist(group(term(2))))).code).toBe("diskFull");
    expect(await reserveBytes()).toBe(0);
    await store.close();
    disk.capacityBytes = Infinity;
    const { store: next, recovered } = await openServerStore(disk.mount(), "raft_state", 1);
    expect(recovered.hardState.currentTerm).toBe(1);
    expect(await reserveBytes()).toBe(RESERVE_BYTES);
    await next.close();
  });

  test("P6: the reserve is whole again with the first write that goes through when there is room", async () => {
    const { disk, store, reserveBytes } = await fullServer();
    await store.persist(group(term(2), append(noop(3, 2))));
    expect(await reserveBytes()).toBeLessThan(RESERVE_BYTES);
    disk.capacityBytes = Infinity;
    await store.persist(group(null, append(...puts(4, 1, 2, 50))));
    expect(await reserveBytes()).toBe(RESERVE_BYTES);
  });
});

describe("the reserve", () => {
  test("P6: without room for it a server starts, and says so", async () => {
    const disk = new MemoryDisk();
    await createServerStore(disk.mount(), "raft_state", IDENTITY);
    for (const roomBytes of [0, 1, 5000]) {
      disk.capacityBytes = disk.usedBytes + roomBytes;
      const { store, recovered } = await openServerStore(disk.mount(), "raft_state", 1);
      expect(recovered.repairs).toEqual([expect.stringContaining(`${PATH}: `)]);
      await store.close();
    }
  });

  test("P6, P7: lost, short, too long, or with anything in it, it is no error and is made whole", async () => {
    for (const content of [null, Buffer.alloc(0), Buffer.alloc(100), Buffer.alloc(2 * RESERVE_BYTES, "x")]) {
      const { disk, store } = await fullServer();
      disk.capacityBytes = Infinity;
      await store.close();
      const fs = disk.mount();
      if (content === null) await fs.removeFile(PATH);
      else await fs.writeFile(PATH, content);
      expect((await readServer(fs, "raft_state")).repairs).toEqual([]);
      expect(await size(disk)).toBe(RESERVE_BYTES);
    }
  });

  test("P5, P6: a disk that refuses it otherwise costs the server nothing but the reserve", async () => {
    const disk = new MemoryDisk();
    await createServerStore(disk.mount(), "raft_state", IDENTITY);
    const mount = disk.mount(({ path }) => (path === PATH ? { kind: "refuse", message: "EIO" } : null));
    const { store } = await openServerStore(mount, "raft_state", 1);
    await store.persist(group(term(1), append(noop(1, 1))));
    await store.close();
    expect((await found(disk)).log.entries).toHaveLength(1);
  });

  test("goes with the server", async () => {
    const { disk, store } = await fullServer();
    await store.close();
    await eraseServer(disk.mount(), "raft_state", 1);
    expect(await disk.mount().listDirectory("raft_state")).toEqual([]);
  });
});
