import { expect, test } from "bun:test";

import type { FileSystem } from "../../src/storage/file-system.ts";
import { MemoryDisk } from "../../src/storage/memory-file-system.ts";
import { readSnapshotFile } from "../../src/storage/snapshot-reader.ts";
import { createSnapshotWriter } from "../../src/storage/snapshot-writer.ts";
import { refusal } from "./sample-log.ts";
import { HEADER, writeSnapshot } from "./sample-snapshot.ts";
import { CAPACITY_BYTES, onSmallDisks } from "./small-disks.ts";

/** Leaves no room for another byte: the file takes all there is. */
async function fill(fs: FileSystem, path: string): Promise<void> {
  const error = await refusal(fs.writeFile(path, Buffer.alloc(CAPACITY_BYTES + 1, "f")));
  expect(error.code).toBe("diskFull");
}

onSmallDisks((fresh) => {
  test("P6: an append that finds no room lands in part, is refused as diskFull, and can be cut off and tried again", async () => {
    const { fs, directory } = await fresh();
    const path = `${directory}/log`;
    const file = await fs.openAppend(path);
    file.append("kept\n");
    await file.sync();
    const tooMuch = async () => file.append(Buffer.alloc(CAPACITY_BYTES, "x"));
    const error = await refusal(tooMuch());
    expect(error.code).toBe("diskFull");
    expect(error.message).toContain(path);
    expect(error.message).toContain("ENOSPC");
    expect(file.size).toBeGreaterThan(5);
    expect(file.size).toBeLessThanOrEqual(CAPACITY_BYTES);
    expect((await fs.readFile(path))?.length).toBe(file.size);
    await file.sync();
    await file.truncate(5);
    file.append("again\n");
    await file.sync();
    await file.close();
    expect(Buffer.from((await fs.readFile(path)) ?? []).toString()).toBe("kept\nagain\n");
  });

  test("P6: a file that finds no room is refused as diskFull; removing one makes room", async () => {
    const { fs, directory } = await fresh();
    await fill(fs, `${directory}/ballast`);
    const path = `${directory}/state`;
    const error = await refusal(fs.writeFile(path, Buffer.from("some bytes")));
    expect(error.code).toBe("diskFull");
    expect(error.message).toContain(directory);
    await fs.removeFile(`${directory}/ballast`);
    await fs.writeFile(path, Buffer.from("some bytes"));
    expect(Buffer.from((await fs.readFile(path)) ?? []).toString()).toBe("some bytes");
  });

  test("P6: reading, syncing, cutting, removing and a rename over a file need no room", async () => {
    const { fs, directory } = await fresh();
    const path = (name: string) => `${directory}/${name}`;
    await fs.writeFile(path("a"), Buffer.from("new"));
    await fs.writeFile(path("b"), Buffer.from("old"));
    const file = await fs.openAppend(path("c"));
    file.append("content");
    await fill(fs, path("ballast"));
    await fs.syncFile(path("ballast"));
    await file.sync();
    await fs.rename(path("a"), path("b"));
    await fs.syncDirectory(directory);
    expect(Buffer.from((await fs.readFile(path("b"))) ?? []).toString()).toBe("new");
    const reader = await fs.openRead(path("c"));
    expect(Buffer.from((await reader?.read(3, 100)) ?? []).toString()).toBe("tent");
    await reader?.close();
    await file.truncate(3);
    await file.close();
    await fs.removeFile(path("ballast"));
    expect(await fs.listDirectory(directory)).toEqual(["b", "c"]);
  });

  test("P6: a snapshot that finds no room is refused as diskFull, and abandoning it makes room again", async () => {
    const { fs, directory } = await fresh();
    const writer = await createSnapshotWriter(fs, `${directory}/snapshot.tmp`, HEADER);
    const section = JSON.stringify({ data: ["k", "v".repeat(60_000)] });
    const tooMany = async () => {
      for (let sections = 0; sections < 6; sections += 1) await writer.append(section);
    };
    expect((await refusal(tooMany())).code).toBe("diskFull");
    await writer.abandon();
    const info = await writeSnapshot(fs, `${directory}/snapshot.tmp`);
    expect((await readSnapshotFile(fs, `${directory}/snapshot.tmp`)).content.info).toEqual(info);
  });
});

test("P6: on a disk in memory a new name needs a free byte, and uses none", async () => {
  const disk = new MemoryDisk();
  const fs = disk.mount();
  await fs.writeFile("/a", Buffer.from("12345"));
  disk.capacityBytes = 5;
  for (const call of [
    () => fs.openAppend("/new"),
    () => fs.rename("/a", "/new"),
    () => fs.makeDirectory("/new"),
    () => fs.lock("/new"),
    () => fs.writeFile("/new", new Uint8Array()),
  ]) {
    expect((await refusal(call())).code).toBe("diskFull");
    expect(await fs.listDirectory("/")).toEqual(["a"]);
  }
  disk.capacityBytes = 6;
  await fs.rename("/a", "/b");
  await fs.makeDirectory("/x/y");
  await fs.openAppend("/x/file");
  expect(disk.usedBytes).toBe(5);
});

test("P6: a disk in memory can shrink below what it holds, and grow again, while it runs", async () => {
  const disk = new MemoryDisk();
  const fs = disk.mount();
  const file = await fs.openAppend("/log");
  file.append("x".repeat(1000));
  await file.sync();
  disk.capacityBytes = 500;
  expect((await refusal((async () => file.append("y"))())).code).toBe("diskFull");
  expect(file.size).toBe(1000);
  disk.capacityBytes = 1003;
  expect((await refusal((async () => file.append("12345"))())).code).toBe("diskFull");
  expect(file.size).toBe(1003);
  disk.capacityBytes = Number.POSITIVE_INFINITY;
  file.append("more");
  await file.sync();
  expect(disk.usedBytes).toBe(1007);
});

test("P5, P6: a planned ENOSPC or EDQUOT is diskFull, but io from a sync, as any other error is", async () => {
  for (const [message, code] of [
    ["ENOSPC: no space left", "diskFull"],
    ["EDQUOT: quota exceeded", "diskFull"],
    ["EIO: broken", "io"],
  ] as const) {
    const fs = new MemoryDisk().mount(({ name }) =>
      name === "openAppend" || name === "makeDirectory" ? null : { kind: "refuse", message },
    );
    const file = await fs.openAppend("/file");
    expect((await refusal((async () => file.append("x"))())).code).toBe(code);
    expect((await refusal(fs.writeFile("/file", Buffer.from("x")))).code).toBe(code);
    expect((await refusal(fs.rename("/file", "/other"))).code).toBe(code);
    for (const sync of [() => file.sync(), () => fs.syncFile("/file"), () => fs.syncDirectory("/")]) {
      expect((await refusal(sync())).code).toBe("io");
    }
  }
});
