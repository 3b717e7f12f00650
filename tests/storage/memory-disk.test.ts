import { expect, test } from "bun:test";

import { replaceFile } from "../../src/storage/atomic-file.ts";
import type { Keep } from "../../src/storage/memory-disk.ts";
import { MemoryDisk } from "../../src/storage/memory-file-system.ts";
import { refusal } from "./sample-log.ts";

const all = () => true;

/** A disk with a durable file "/file" of that content. */
async function diskWith(content: string): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  await replaceFile(disk.mount(), "/file", Buffer.from(content));
  return disk;
}

async function read(disk: MemoryDisk, path = "/file"): Promise<string | null> {
  const bytes = await disk.mount().readFile(path);
  return bytes === null ? null : Buffer.from(bytes).toString();
}

test("P2: a rename without the directory's sync is lost with the power, and shows the old content", async () => {
  for (const synced of [false, true]) {
    const disk = await diskWith("old");
    const fs = disk.mount();
    await fs.writeFile("/file.tmp", Buffer.from("new"));
    await fs.syncFile("/file.tmp");
    await fs.rename("/file.tmp", "/file");
    if (synced) await fs.syncDirectory("/");
    disk.crash();
    expect(await read(disk)).toBe(synced ? "new" : "old");
  }
});

test("P2: a file whose name is durable but whose bytes are not comes back empty", async () => {
  const disk = new MemoryDisk();
  const fs = disk.mount();
  await fs.writeFile("/file", Buffer.from("bytes"));
  await fs.syncDirectory("/");
  disk.crash();
  expect(await read(disk)).toBe("");
});

test("what was synced survives, what was not is lost, or kept when the caller says so", async () => {
  for (const keep of [false, true]) {
    const disk = await diskWith("durable");
    const fs = disk.mount();
    const file = await fs.openAppend("/file");
    file.append(" and synced");
    await file.sync();
    file.append(" and more");
    await fs.makeDirectory("/new/deep");
    disk.crash(() => keep);
    expect(await read(disk)).toBe(keep ? "durable and synced and more" : "durable and synced");
    expect(await disk.mount().listDirectory("/")).toEqual(keep ? ["file", "new"] : ["file"]);
  }
});

/** 100 durable bytes, 1000 more that are not, and a power loss. */
async function grown(keep: Keep): Promise<string | null> {
  const disk = await diskWith("a".repeat(100));
  (await disk.mount().openAppend("/file")).append("b".repeat(1000));
  disk.crash(keep);
  return read(disk);
}

test("sectors survive one by one: holes read as NUL, a file that lost its new length ends before the first", async () => {
  const A = "a".repeat(100);
  expect(
    await grown((thing) => thing.kind === "length" || (thing.kind === "sector" && thing.sector !== 0)),
  ).toBe(A + "\0".repeat(412) + "b".repeat(588));
  expect(
    await grown((thing) => thing.kind === "length" || (thing.kind === "sector" && thing.sector !== 1)),
  ).toBe(A + "b".repeat(412) + "\0".repeat(512) + "b".repeat(76));
  expect(await grown((thing) => thing.kind === "length")).toBe(A + "\0".repeat(1000));
  expect(await grown((thing) => thing.kind === "sector")).toBe(A + "b".repeat(1000));
  expect(await grown((thing) => thing.kind === "sector" && thing.sector !== 1)).toBe(A + "b".repeat(412));
});

test("a truncation that was not synced may leave new bytes over old ones", async () => {
  const disk = await diskWith("a".repeat(1200));
  const file = await disk.mount().openAppend("/file");
  await file.truncate(600);
  file.append("b".repeat(500));
  disk.crash((unsynced) => unsynced.kind === "sector" && unsynced.sector === 1);
  expect(await read(disk)).toBe("a".repeat(600) + "b".repeat(424) + "a".repeat(176));
});

test("a removal that was not synced comes back with the power loss", async () => {
  const disk = await diskWith("here");
  await disk.mount().removeFile("/file");
  expect(await read(disk)).toBeNull();
  disk.crash();
  expect(await read(disk)).toBe("here");
  await disk.mount().removeFile("/file");
  disk.crash(all);
  expect(await read(disk)).toBeNull();
});

test("a mount dies with the crash, or at the operation that its plan names, and its locks with it", async () => {
  const disk = await diskWith("x");
  const dying = disk.mount(({ name }) => (name === "syncFile" ? { kind: "die", when: "after" } : null));
  const file = await dying.openAppend("/file");
  expect(await dying.lock("/lock")).not.toBeNull();
  expect((await refusal(dying.syncFile("/file"))).code).toBe("io");
  expect((await refusal(dying.readFile("/file"))).message).toContain("died");
  expect(() => file.append("y")).toThrow("died");
  expect(dying.operations).toBe(3);
  const next = disk.mount();
  expect(await next.lock("/lock")).toBeNull();
  disk.kill(dying);
  const lock = await next.lock("/lock");
  expect(lock).not.toBeNull();
  disk.crash();
  expect((await refusal(next.readFile("/file"))).message).toContain("died");
  expect(await disk.mount().lock("/lock")).not.toBeNull();
});
