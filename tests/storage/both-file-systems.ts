/** The two file systems that every storage suite runs over. */
import { afterAll, describe } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { FileSystem } from "../../src/storage/file-system.ts";
import { MemoryDisk } from "../../src/storage/memory-file-system.ts";
import { OsFileSystem } from "../../src/storage/os-file-system.ts";

/** An empty directory on a file system of its own, or as good as. */
export interface Place {
  readonly fs: FileSystem;
  readonly directory: string;
}

/** Declares the suite once for each file system; `fresh` makes an empty place. */
export function onBothFileSystems(suite: (fresh: () => Promise<Place>) => void): void {
  describe("in memory", () => {
    suite(async () => {
      const fs = new MemoryDisk().mount();
      await fs.makeDirectory("/work");
      return { fs, directory: "/work" };
    });
  });
  describe("on the operating system's", () => {
    const made: string[] = [];
    afterAll(async () => {
      for (const directory of made) await rm(directory, { recursive: true, force: true });
    });
    suite(async () => {
      const directory = await mkdtemp(join(tmpdir(), "raftkv-storage-"));
      made.push(directory);
      return { fs: new OsFileSystem(), directory };
    });
  });
}
