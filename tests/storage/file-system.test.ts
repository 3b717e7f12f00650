import { expect, test } from "bun:test";

import { parentDirectory, replaceFile } from "../../src/storage/atomic-file.ts";
import { onBothFileSystems } from "./both-file-systems.ts";
import { refusal } from "./sample-log.ts";

const text = (bytes: Uint8Array | null) => (bytes === null ? null : Buffer.from(bytes).toString());

onBothFileSystems((fresh) => {
  test("a file that is not there reads as null, a directory lists as null", async () => {
    const { fs, directory } = await fresh();
    expect(await fs.readFile(`${directory}/none`)).toBeNull();
    expect(await fs.listDirectory(`${directory}/none`)).toBeNull();
    expect(await fs.listDirectory(directory)).toEqual([]);
  });

  test("a written file reads back whole, also when it gets shorter or empty", async () => {
    const { fs, directory } = await fresh();
    const path = `${directory}/file`;
    for (const content of ["something long", "short", ""]) {
      await fs.writeFile(path, Buffer.from(content));
      await fs.syncFile(path);
      expect(text(await fs.readFile(path))).toBe(content);
    }
  });

  test("appends go to the end, a truncation cuts it, and strings are UTF-8", async () => {
    const { fs, directory } = await fresh();
    const path = `${directory}/log`;
    await fs.writeFile(path, Buffer.from("ab"));
    const file = await fs.openAppend(path);
    expect(file.size).toBe(2);
    file.append("é😀");
    expect(file.size).toBe(8);
    await file.truncate(4);
    file.append(Buffer.from("z"));
    await file.sync();
    expect(file.size).toBe(5);
    await file.close();
    expect(text(await fs.readFile(path))).toBe("abéz");
    const again = await fs.openAppend(path);
    expect(again.size).toBe(5);
    await again.close();
  });

  test("a large append lands whole", async () => {
    const { fs, directory } = await fresh();
    const file = await fs.openAppend(`${directory}/log`);
    file.append("x".repeat(5_000_000));
    file.append("y");
    await file.close();
    expect((await fs.readFile(`${directory}/log`))?.length).toBe(5_000_001);
  });

  test("a file is read in pieces from any offset, and shorter only at its end", async () => {
    const { fs, directory } = await fresh();
    const path = `${directory}/file`;
    await fs.writeFile(path, Buffer.from("0123456789"));
    const file = await fs.openRead(path);
    expect(file?.size).toBe(10);
    const read = async (offset: number, maxBytes: number) =>
      text((await file?.read(offset, maxBytes)) ?? null);
    expect(await read(0, 4)).toBe("0123");
    expect(await read(8, 4)).toBe("89");
    expect(await read(0, 100)).toBe("0123456789");
    expect(await read(10, 4)).toBe("");
    expect(await read(99, 4)).toBe("");
    expect(await read(3, 0)).toBe("");
    await file?.close();
  });

  test("the bytes that were read are the reader's own", async () => {
    const { fs, directory } = await fresh();
    await fs.writeFile(`${directory}/file`, Buffer.from("abc"));
    const file = await fs.openRead(`${directory}/file`);
    (await file?.read(0, 3))?.fill(0);
    expect(text((await file?.read(0, 3)) ?? null)).toBe("abc");
    await file?.close();
  });

  test("S6: a file that is open for reading stays readable when its name goes, to nothing or to another file", async () => {
    const { fs, directory } = await fresh();
    for (const name of ["removed", "replaced"]) await fs.writeFile(`${directory}/${name}`, Buffer.from(name));
    const removed = await fs.openRead(`${directory}/removed`);
    const replaced = await fs.openRead(`${directory}/replaced`);
    await fs.removeFile(`${directory}/removed`);
    await fs.writeFile(`${directory}/new`, Buffer.from("new content"));
    await fs.rename(`${directory}/new`, `${directory}/replaced`);
    expect(text((await removed?.read(0, 100)) ?? null)).toBe("removed");
    expect(text((await replaced?.read(0, 100)) ?? null)).toBe("replaced");
    expect(await fs.openRead(`${directory}/removed`)).toBeNull();
    await removed?.close();
    await replaced?.close();
  });

  test("a file that grows while it is read keeps the size that it had, and can be read further", async () => {
    const { fs, directory } = await fresh();
    const writer = await fs.openAppend(`${directory}/log`);
    writer.append("one");
    const reader = await fs.openRead(`${directory}/log`);
    writer.append("two");
    expect(reader?.size).toBe(3);
    expect(text((await reader?.read(0, 100)) ?? null)).toBe("onetwo");
    await reader?.close();
    await writer.close();
  });

  test("a rename replaces its target", async () => {
    const { fs, directory } = await fresh();
    await fs.writeFile(`${directory}/a`, Buffer.from("new"));
    await fs.writeFile(`${directory}/b`, Buffer.from("old"));
    await fs.rename(`${directory}/a`, `${directory}/b`);
    expect(await fs.listDirectory(directory)).toEqual(["b"]);
    expect(text(await fs.readFile(`${directory}/b`))).toBe("new");
  });

  test("directories are made with their parents, listed sorted, and removed only when empty", async () => {
    const { fs, directory } = await fresh();
    await fs.makeDirectory(`${directory}/x/y`);
    await fs.makeDirectory(`${directory}/x/y`);
    await fs.syncDirectory(`${directory}/x`);
    for (const name of ["c", "a", "b"]) await fs.writeFile(`${directory}/x/${name}`, Buffer.from(name));
    expect(await fs.listDirectory(`${directory}/x`)).toEqual(["a", "b", "c", "y"]);
    await fs.removeDirectory(`${directory}/x`);
    expect(await fs.listDirectory(directory)).toEqual(["x"]);
    await fs.removeDirectory(`${directory}/x/y`);
    await fs.removeDirectory(`${directory}/x/y`);
    for (const name of ["a", "b", "c", "c"]) await fs.removeFile(`${directory}/x/${name}`);
    await fs.removeDirectory(`${directory}/x`);
    expect(await fs.listDirectory(directory)).toEqual([]);
  });

  test("a call that cannot work is an io error that names the path, in one line", async () => {
    const { fs, directory } = await fresh();
    const missing = `${directory}/none/file`;
    await fs.writeFile(`${directory}/file`, Buffer.from(""));
    const calls = [
      () => fs.writeFile(missing, Buffer.from("x")),
      () => fs.syncFile(missing),
      () => fs.rename(missing, `${directory}/b`),
      () => fs.syncDirectory(`${directory}/none`),
      () => fs.openAppend(missing),
      () => fs.lock(missing),
      () => fs.readFile(directory),
      () => fs.openRead(directory),
      () => fs.openAppend(directory),
    ];
    for (const call of calls) {
      const error = await refusal(call());
      expect(error.code).toBe("io");
      expect(error.message).toContain(directory);
      expect(error.message).not.toContain("\n");
    }
    expect((await refusal(fs.listDirectory(`${directory}/file`))).code).toBe("io");
    expect(await fs.openRead(missing)).toBeNull();
  });

  test("P10: a lock is held once, and free again when released", async () => {
    const { fs, directory } = await fresh();
    const first = await fs.lock(`${directory}/lock`);
    expect(first).not.toBeNull();
    expect(await fs.lock(`${directory}/lock`)).toBeNull();
    expect(await fs.listDirectory(directory)).toEqual(["lock"]);
    await first?.release();
    const second = await fs.lock(`${directory}/lock`);
    expect(second).not.toBeNull();
    await second?.release();
  });

  test("P10: a lock file that was removed while it was held can be taken anew", async () => {
    const { fs, directory } = await fresh();
    const first = await fs.lock(`${directory}/lock`);
    await fs.removeFile(`${directory}/lock`);
    await first?.release();
    const second = await fs.lock(`${directory}/lock`);
    expect(second).not.toBeNull();
    await second?.release();
  });

  test("P7: an atomic replacement leaves the new content and no temporary file", async () => {
    const { fs, directory } = await fresh();
    const path = `${directory}/state.json`;
    await fs.writeFile(`${path}.tmp`, Buffer.from("a left-over that is longer"));
    await replaceFile(fs, path, Buffer.from("one"));
    await replaceFile(fs, path, Buffer.from("two"));
    expect(await fs.listDirectory(directory)).toEqual(["state.json"]);
    expect(text(await fs.readFile(path))).toBe("two");
  });
});

test("the parent of a bare name is the working directory", () => {
  expect(["a", "/a", "a/b", "/a/b/c"].map(parentDirectory)).toEqual([".", "/", "a", "/a/b"]);
});
