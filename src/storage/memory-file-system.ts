/**
 * The FileSystem of a process on a MemoryDisk. A process sees the disk through a mount, which dies with it:
 * after a crash the old mount refuses everything and a new one shows what survived.
 *
 * Every call of a mount is an operation with a number, from 0. A fault plan looks at each and may let it
 * fail, land in part, or be the last thing that the process does; so a test can crash at every one.
 * An operation happens at once, in the call; what a plan does not touch cannot fail by chance.
 *
 * The disk can be full. What counts is the bytes that programs see in files with a name: what is removed or
 * cut off frees its room at once, though it may be open or come back after a crash. A write lands as far as
 * there is room and is refused then; a new name, of a file or directory, needs a free byte, though it uses none.
 */
import { assert } from "../base/assert.ts";
import { RaftKvError } from "../base/errors.ts";
import type { AppendFile, FileSystem, Lock, ReadFile } from "./file-system.ts";
import { MemoryDirectory, MemoryFile, type Keep, type MemoryNode } from "./memory-disk.ts";

/** One call of a mount. `number` counts them from 0; `path` is the file's, or where a rename comes from. */
export interface Operation {
  readonly number: number;
  readonly name: keyof FileSystem | `append.${keyof AppendFile}` | `read.${keyof ReadFile}`;
  readonly path: string;
}

type Fault =
  /** The call is refused with `message` ("ENOSPC: …", which means "diskFull" but to a sync) and does nothing. */
  | { readonly kind: "refuse"; readonly message: string }
  /** An append of which only the first `bytes` land before it is refused. */
  | { readonly kind: "short"; readonly bytes: number; readonly message: string }
  /** The process dies just before the call has its effect, or just after. */
  | { readonly kind: "die"; readonly when: "before" | "after" };

/** Decides on each operation; null lets it happen. */
export type FaultPlan = (operation: Operation) => Fault | null;

/** The memory of one machine, across its crashes. */
export class MemoryDisk {
  readonly #root = new MemoryDirectory();
  readonly #mounts = new Set<MemoryFileSystem>();
  /** The paths of the locks that living mounts hold. */
  readonly #locks = new Map<string, MemoryFileSystem>();
  /** How much the files may hold together. May be changed at any time, to less than there is too. */
  capacityBytes = Number.POSITIVE_INFINITY;

  /** How much the files hold together. */
  get usedBytes(): number {
    return this.#root.usedBytes;
  }

  /** The files as a new process sees them. */
  mount(plan: FaultPlan = () => null): MemoryFileSystem {
    const mount = new MemoryFileSystem(this.#root, this.#locks, plan, () => this.#freeBytes());
    this.#mounts.add(mount);
    return mount;
  }

  /** One process dies; what it wrote stays in the page cache, its locks go. */
  kill(mount: MemoryFileSystem): void {
    mount.die();
    this.#mounts.delete(mount);
    for (const [path, holder] of this.#locks) if (holder === mount) this.#locks.delete(path);
  }

  /** Every process dies. */
  killAll(): void {
    for (const mount of this.#mounts) this.kill(mount);
  }

  /** The power goes: every process dies, and of what was not synced only what `keep` chooses is left. */
  crash(keep: Keep = () => false): void {
    this.killAll();
    this.#root.crash("", keep);
  }

  #freeBytes(): number {
    if (this.capacityBytes === Number.POSITIVE_INFINITY) return this.capacityBytes;
    return Math.max(0, this.capacityBytes - this.usedBytes);
  }
}

/** One process's view of a MemoryDisk; made by `mount`. */
export class MemoryFileSystem implements FileSystem {
  readonly #root: MemoryDirectory;
  readonly #locks: Map<string, MemoryFileSystem>;
  readonly #plan: FaultPlan;
  readonly #freeBytes: () => number;
  #alive = true;
  #operations = 0;

  constructor(
    root: MemoryDirectory,
    locks: Map<string, MemoryFileSystem>,
    plan: FaultPlan,
    freeBytes: () => number,
  ) {
    this.#root = root;
    this.#locks = locks;
    this.#plan = plan;
    this.#freeBytes = freeBytes;
  }

  /** How many operations were asked for. */
  get operations(): number {
    return this.#operations;
  }

  /** From now on every call is refused. */
  die(): void {
    this.#alive = false;
  }

  async readFile(path: string): Promise<Uint8Array | null> {
    return this.#run("readFile", path, () => {
      const node = this.#find(path);
      return node === null ? null : requireFile(path, node).read();
    });
  }

  async writeFile(path: string, data: Uint8Array): Promise<void> {
    this.#run("writeFile", path, () => {
      const file = this.#fileAt(path);
      file.truncate(0);
      this.#append(path, file, data);
    });
  }

  async syncFile(path: string): Promise<void> {
    this.#run("syncFile", path, () => requireFile(path, this.#find(path)).sync());
  }

  async rename(from: string, to: string): Promise<void> {
    this.#run("rename", from, () => {
      const source = this.#parentOf(from);
      const target = this.#parentOf(to);
      const file = requireFile(from, this.#find(from));
      if (target.directory.get(target.name) === null) this.#requireRoom(to);
      target.directory.set(target.name, file);
      source.directory.remove(source.name);
    });
  }

  async removeFile(path: string): Promise<void> {
    this.#run("removeFile", path, () => {
      if (this.#find(path) === null) return;
      requireFile(path, this.#find(path));
      const { directory, name } = this.#parentOf(path);
      directory.remove(name);
    });
  }

  async removeDirectory(path: string): Promise<void> {
    this.#run("removeDirectory", path, () => {
      const node = this.#find(path);
      if (node === null || requireDirectory(path, node).names().length > 0) return;
      const { directory, name } = this.#parentOf(path);
      directory.remove(name);
    });
  }

  async makeDirectory(path: string): Promise<void> {
    this.#run("makeDirectory", path, () => {
      let directory = this.#root;
      for (const name of partsOf(path)) {
        const next = directory.get(name);
        if (next === null) this.#requireRoom(path);
        const child = requireDirectory(path, next ?? new MemoryDirectory());
        directory.set(name, child);
        directory = child;
      }
    });
  }

  async listDirectory(path: string): Promise<readonly string[] | null> {
    return this.#run("listDirectory", path, () => {
      const node = this.#find(path);
      return node === null ? null : requireDirectory(path, node).names();
    });
  }

  async syncDirectory(path: string): Promise<void> {
    this.#run("syncDirectory", path, () => requireDirectory(path, this.#find(path)).sync());
  }

  async openRead(path: string): Promise<ReadFile | null> {
    const file = this.#run("openRead", path, () => {
      const node = this.#find(path);
      return node === null ? null : requireFile(path, node);
    });
    if (file === null) return null;
    let open = true;
    const run = <T>(name: keyof ReadFile, effect: () => T): T => {
      assert(open, `${path} is open`);
      return this.#run(`read.${name}`, path, effect);
    };
    return {
      size: file.size,
      read: async (offset, maxBytes) => run("read", () => file.read(offset, maxBytes)),
      close: async () => run("close", () => void (open = false)),
    };
  }

  async openAppend(path: string): Promise<AppendFile> {
    const file = this.#run("openAppend", path, () => this.#fileAt(path));
    const append = (bytes: Uint8Array) => this.#append(path, file, bytes);
    let open = true;
    const run = (name: keyof AppendFile, effect: () => void, short?: (bytes: number) => void) => {
      assert(open, `${path} is open`);
      this.#run(`append.${name}`, path, effect, short);
    };
    return {
      get size() {
        return file.size;
      },
      append(data) {
        const bytes = typeof data === "string" ? Buffer.from(data) : data;
        run(
          "append",
          () => append(bytes),
          (landed) => file.append(bytes.subarray(0, landed)),
        );
      },
      sync: async () => run("sync", () => file.sync()),
      truncate: async (size) => run("truncate", () => file.truncate(size)),
      close: async () => run("close", () => (open = false)),
    };
  }

  async lock(path: string): Promise<Lock | null> {
    return this.#run("lock", path, () => {
      this.#fileAt(path);
      if (this.#locks.has(path)) return null;
      this.#locks.set(path, this);
      return {
        release: async () => {
          // A dead process's lock is gone, and may be another's by now.
          if (this.#locks.get(path) === this) this.#locks.delete(path);
        },
      };
    });
  }

  #run<T>(name: Operation["name"], path: string, effect: () => T, short?: (bytes: number) => void): T {
    if (!this.#alive) throw ioError(path, "the process has died");
    const fault = this.#plan({ number: this.#operations++, name, path });
    if (fault === null) return effect();
    if (fault.kind === "refuse") throw refusal(name, path, fault.message);
    if (fault.kind === "short") {
      assert(short !== undefined, "only an append can be cut short");
      short(fault.bytes);
      throw refusal(name, path, fault.message);
    }
    this.#alive = false;
    if (fault.when === "after") effect();
    throw ioError(path, "the process dies here");
  }

  #find(path: string): MemoryNode | null {
    let node: MemoryNode | null = this.#root;
    for (const name of partsOf(path)) {
      if (node === null) return null;
      node = requireDirectory(path, node).get(name);
    }
    return node;
  }

  #parentOf(path: string): { readonly directory: MemoryDirectory; readonly name: string } {
    const parts = partsOf(path);
    const name = parts.pop() ?? "";
    return { directory: requireDirectory(path, this.#find(parts.join("/"))), name };
  }

  /** The file, created if absent. */
  #fileAt(path: string): MemoryFile {
    const { directory, name } = this.#parentOf(path);
    const node = directory.get(name);
    if (node === null) this.#requireRoom(path);
    const file = requireFile(path, node ?? new MemoryFile());
    directory.set(name, file);
    return file;
  }

  #append(path: string, file: MemoryFile, data: Uint8Array): void {
    const landed = Math.min(data.length, this.#freeBytes());
    file.append(data.subarray(0, landed));
    if (landed < data.length) throw fullError(path);
  }

  /** For a new name. */
  #requireRoom(path: string): void {
    if (this.#freeBytes() < 1) throw fullError(path);
  }
}

function partsOf(path: string): string[] {
  return path.split("/").filter((part) => part !== "" && part !== ".");
}

function requireFile(path: string, node: MemoryNode | null): MemoryFile {
  if (node?.kind === "file") return node;
  throw ioError(path, node === null ? "ENOENT: no such file" : "EISDIR: it is a directory");
}

function requireDirectory(path: string, node: MemoryNode | null): MemoryDirectory {
  if (node?.kind === "directory") return node;
  throw ioError(path, node === null ? "ENOENT: no such directory" : "ENOTDIR: not a directory");
}

/** What the operating system would make of a planned fault. */
function refusal(name: Operation["name"], path: string, message: string): RaftKvError {
  const isSync = name === "append.sync" || name === "syncFile" || name === "syncDirectory";
  const isFull = message.startsWith("ENOSPC") || message.startsWith("EDQUOT");
  return isFull && !isSync ? new RaftKvError("diskFull", `${path}: ${message}`) : ioError(path, message);
}

function fullError(path: string): RaftKvError {
  return new RaftKvError("diskFull", `${path}: ENOSPC: no space left on the disk`);
}

function ioError(path: string, message: string): RaftKvError {
  return new RaftKvError("io", `${path}: ${message}`);
}
