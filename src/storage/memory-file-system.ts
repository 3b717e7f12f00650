/**
 * The FileSystem of a process on a MemoryDisk. A process sees the disk through a mount, which dies with it:
 * after a crash the old mount refuses everything and a new one shows what survived.
 *
 * Every call of a mount is an operation with a number, from 0. A fault plan looks at each and may let it
 * fail, land in part, or be the last thing that the process does; so a test can crash at every one.
 * An operation happens at once, in the call; what a plan does not touch cannot fail by chance.
 */
import { assert } from "../base/assert.ts";
import { RaftKvError } from "../base/errors.ts";
import type { AppendFile, FileSystem, Lock } from "./file-system.ts";
import { MemoryDirectory, MemoryFile, type Keep, type MemoryNode } from "./memory-disk.ts";

/** One call of a mount. `number` counts them from 0; `path` is the file's, or where a rename comes from. */
export interface Operation {
  readonly number: number;
  readonly name: keyof FileSystem | `append.${keyof AppendFile}`;
  readonly path: string;
}

type Fault =
  /** The call is refused with `message` ("ENOSPC: …") and does nothing. */
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

  /** The files as a new process sees them. */
  mount(plan: FaultPlan = () => null): MemoryFileSystem {
    const mount = new MemoryFileSystem(this.#root, this.#locks, plan);
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
}

/** One process's view of a MemoryDisk; made by `mount`. */
export class MemoryFileSystem implements FileSystem {
  readonly #root: MemoryDirectory;
  readonly #locks: Map<string, MemoryFileSystem>;
  readonly #plan: FaultPlan;
  #alive = true;
  #operations = 0;

  constructor(root: MemoryDirectory, locks: Map<string, MemoryFileSystem>, plan: FaultPlan) {
    this.#root = root;
    this.#locks = locks;
    this.#plan = plan;
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
    this.#run("writeFile", path, () => this.#fileAt(path).replace(data));
  }

  async syncFile(path: string): Promise<void> {
    this.#run("syncFile", path, () => requireFile(path, this.#find(path)).sync());
  }

  async rename(from: string, to: string): Promise<void> {
    this.#run("rename", from, () => {
      const source = this.#parentOf(from);
      const target = this.#parentOf(to);
      target.directory.set(target.name, requireFile(from, this.#find(from)));
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
        const next = directory.get(name) ?? new MemoryDirectory();
        directory.set(name, next);
        directory = requireDirectory(path, next);
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

  async openAppend(path: string): Promise<AppendFile> {
    const file = this.#run("openAppend", path, () => this.#fileAt(path));
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
          () => file.append(bytes),
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
    if (fault.kind === "refuse") throw ioError(path, fault.message);
    if (fault.kind === "short") {
      assert(short !== undefined, "only an append can be cut short");
      short(fault.bytes);
      throw ioError(path, fault.message);
    }
    if (fault.when === "after") effect();
    this.#alive = false;
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
    const file = requireFile(path, directory.get(name) ?? new MemoryFile());
    directory.set(name, file);
    return file;
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

function ioError(path: string, message: string): RaftKvError {
  return new RaftKvError("io", `${path}: ${message}`);
}
