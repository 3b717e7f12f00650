/**
 * Disks that fill up: one in memory, and a tmpfs of the operating system where this process may mount one
 * (root on Linux). Elsewhere that half of a suite is skipped, and the report says so.
 */
import { afterAll, describe } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { MemoryDisk } from "../../src/storage/memory-file-system.ts";
import { OsFileSystem } from "../../src/storage/os-file-system.ts";
import type { Place } from "./both-file-systems.ts";

/** Of each disk. A multiple of any page size. */
export const CAPACITY_BYTES = 256 * 1024;

/** Declares the suite once for each disk; `fresh` makes an empty one. */
export function onSmallDisks(suite: (fresh: () => Promise<Place>) => void): void {
  describe("a small disk in memory", () => {
    suite(async () => {
      const disk = new MemoryDisk();
      disk.capacityBytes = CAPACITY_BYTES;
      const fs = disk.mount();
      await fs.makeDirectory("/work");
      return { fs, directory: "/work" };
    });
  });
  describe.if(mayMount())("a small tmpfs", () => {
    const mounted: string[] = [];
    afterAll(() => {
      for (const directory of mounted) unmount(directory);
    });
    suite(async () => {
      const directory = await mkdtemp(join(tmpdir(), "raftkv-tmpfs-"));
      mount(directory);
      mounted.push(directory);
      return { fs: new OsFileSystem(), directory };
    });
  });
}

function mayMount(): boolean {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return false;
  const directory = mkdtempSync(join(tmpdir(), "raftkv-tmpfs-"));
  try {
    mount(directory);
    unmount(directory);
    return true;
  } catch {
    rmSync(directory, { recursive: true, force: true });
    return false;
  }
}

function mount(directory: string): void {
  run("mount", "-t", "tmpfs", "-o", `size=${CAPACITY_BYTES}`, "tmpfs", directory);
}

function unmount(directory: string): void {
  run("umount", "-l", directory);
  rmSync(directory, { recursive: true, force: true });
}

function run(...command: readonly string[]): void {
  const { success, stderr } = Bun.spawnSync([...command], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  if (!success) throw new Error(`${command.join(" ")}: ${stderr.toString()}`);
}
