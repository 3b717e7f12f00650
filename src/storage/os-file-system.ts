/** The FileSystem of the machine. The only file of storage that touches the operating system. */
import { Database, SQLiteError } from "bun:sqlite";
import { constants, writeSync } from "node:fs";
import { mkdir, open, readdir, rename, rm, rmdir, stat, type FileHandle } from "node:fs/promises";

import { describeError, RaftKvError } from "../base/errors.ts";
import type { AppendFile, FileSystem, Lock, ReadFile } from "./file-system.ts";

/** How often a lock file may be replaced under our hands before we give up. */
const MAX_LOCK_ATTEMPTS = 10;

/** What the kernel says when there is no room: on the disk, or in what the user may have of it. */
const FULL_DISK: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT"]);

/** To open a pipe is not to wait for somebody at its other end. */
const READ = constants.O_RDONLY | constants.O_NONBLOCK;

/** Files of the operating system. It keeps no state: any number of them see the same files. */
export class OsFileSystem implements FileSystem {
  async readFile(path: string): Promise<Uint8Array | null> {
    return orNull(["ENOENT"], `cannot read ${path}`, async () => {
      const { handle } = await openFile(path, "r");
      try {
        return await handle.readFile();
      } finally {
        await handle.close();
      }
    });
  }

  async writeFile(path: string, data: Uint8Array): Promise<void> {
    await attempt(`cannot write ${path}`, () => Bun.write(path, data, { createPath: false }));
  }

  async syncFile(path: string): Promise<void> {
    await attempt(`cannot sync ${path}`, () => syncPath(path), ioError);
  }

  async rename(from: string, to: string): Promise<void> {
    await attempt(`cannot rename ${from} to ${to}`, () => rename(from, to));
  }

  async removeFile(path: string): Promise<void> {
    await attempt(`cannot remove ${path}`, () => rm(path, { force: true }));
  }

  async removeDirectory(path: string): Promise<void> {
    await orNull(["ENOENT", "ENOTEMPTY", "EEXIST"], `cannot remove ${path}`, () => rmdir(path));
  }

  async makeDirectory(path: string): Promise<void> {
    await attempt(`cannot create directory ${path}`, () => mkdir(path, { recursive: true }));
  }

  async listDirectory(path: string): Promise<readonly string[] | null> {
    const names = await orNull(["ENOENT"], `cannot list ${path}`, () => readdir(path));
    return names === null ? null : names.toSorted();
  }

  async syncDirectory(path: string): Promise<void> {
    await attempt(`cannot sync directory ${path}`, () => syncPath(path), ioError);
  }

  async openRead(path: string): Promise<ReadFile | null> {
    return orNull(["ENOENT"], `cannot open ${path}`, async () => {
      const { handle, size } = await openFile(path, "r");
      return new OsReadFile(path, handle, size);
    });
  }

  async openAppend(path: string): Promise<AppendFile> {
    return attempt(`cannot open ${path}`, async () => {
      const { handle, size } = await openFile(path, "a");
      return new OsAppendFile(path, handle, size);
    });
  }

  /**
   * An exclusive transaction of SQLite is a lock that the kernel drops with the process and that needs
   * nothing installed. Whoever erases a server removes the file while holding the lock; so after taking
   * it we make sure that `path` still names the file we locked.
   */
  async lock(path: string): Promise<Lock | null> {
    for (let attempts = 0; attempts < MAX_LOCK_ATTEMPTS; attempts++) {
      const before = await inodeOf(path);
      const database = lockDatabase(path);
      if (database === null) return null;
      if (before !== null && before === (await inodeOf(path))) {
        return { release: async () => database.close() };
      }
      database.close();
    }
    throw new RaftKvError("io", `cannot lock ${path}: something keeps replacing it`);
  }
}

/** Appends through one descriptor; it is the only writer of its file. */
class OsAppendFile implements AppendFile {
  readonly #path: string;
  readonly #handle: FileHandle;
  #size: number;

  constructor(path: string, handle: FileHandle, size: number) {
    this.#path = path;
    this.#handle = handle;
    this.#size = size;
  }

  get size(): number {
    return this.#size;
  }

  append(data: Uint8Array | string): void {
    const bytes = typeof data === "string" ? Buffer.from(data) : data;
    try {
      // The kernel may take less than it is given, for one when the disk is nearly full.
      for (let written = 0; written < bytes.length;) {
        const count = writeSync(this.#handle.fd, bytes, written, bytes.length - written);
        written += count;
        this.#size += count;
      }
    } catch (error) {
      throw writeError(`cannot write ${this.#path}`, error);
    }
  }

  async sync(): Promise<void> {
    await attempt(`cannot sync ${this.#path}`, () => this.#handle.datasync(), ioError);
  }

  async truncate(size: number): Promise<void> {
    await attempt(`cannot cut ${this.#path}`, () => this.#handle.truncate(size));
    this.#size = size;
  }

  async close(): Promise<void> {
    await attempt(`cannot close ${this.#path}`, () => this.#handle.close(), ioError);
  }
}

/** Reads through one descriptor, which keeps the file alive. */
class OsReadFile implements ReadFile {
  readonly size: number;
  readonly #path: string;
  readonly #handle: FileHandle;

  constructor(path: string, handle: FileHandle, size: number) {
    this.#path = path;
    this.#handle = handle;
    this.size = size;
  }

  async read(offset: number, maxBytes: number): Promise<Uint8Array> {
    return attempt(`cannot read ${this.#path}`, async () => {
      const bytes = new Uint8Array(maxBytes);
      // The kernel may give less than is asked for although there is more.
      for (let filled = 0; filled < maxBytes;) {
        const { bytesRead } = await this.#handle.read(bytes, filled, maxBytes - filled, offset + filled);
        if (bytesRead === 0) return bytes.subarray(0, filled);
        filled += bytesRead;
      }
      return bytes;
    });
  }

  async close(): Promise<void> {
    await attempt(`cannot close ${this.#path}`, () => this.#handle.close(), ioError);
  }
}

/** Opens a file; a directory, which Linux would open for reading too, is an error. `size` is in bytes. */
async function openFile(path: string, flags: "r" | "a"): Promise<{ handle: FileHandle; size: number }> {
  const handle = await open(path, flags === "r" ? READ : flags);
  try {
    const stats = await handle.stat();
    if (stats.isDirectory()) throw new Error("EISDIR: it is a directory");
    if (flags === "r" && !stats.isFile()) throw new Error("it is no regular file");
    return { handle, size: stats.size };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function syncPath(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Which file the path names just now; null when none. */
async function inodeOf(path: string): Promise<number | null> {
  const stats = await orNull(["ENOENT"], `cannot look at ${path}`, () => stat(path));
  return stats === null ? null : stats.ino;
}

/** The database with its exclusive lock taken; null when another handle has it. Creates the file. */
function lockDatabase(path: string): Database | null {
  let database: Database | null = null;
  try {
    database = new Database(path);
    // In memory: the journal file would be one more thing to explain, and nothing is ever written.
    database.run("PRAGMA busy_timeout = 0");
    database.run("PRAGMA journal_mode = MEMORY");
    database.run("BEGIN EXCLUSIVE");
    return database;
  } catch (error) {
    database?.close();
    if (error instanceof SQLiteError && error.code === "SQLITE_BUSY") return null;
    throw ioError(`cannot lock ${path}`, error);
  }
}

/** Runs it; what `asError` makes of a failure begins with `what`. */
async function attempt<T>(what: string, run: () => Promise<T>, asError = writeError): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw asError(what, error);
  }
}

/** The same, but the expected failures, given by their errno names, yield null. */
async function orNull<T>(
  expected: readonly string[],
  what: string,
  run: () => Promise<T>,
): Promise<T | null> {
  try {
    return await run();
  } catch (error) {
    if (expected.includes(errnoName(error))) return null;
    throw ioError(what, error);
  }
}

function errnoName(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

/** For everything that may need room on the disk, but for a sync: after one that failed nothing is known. */
function writeError(what: string, error: unknown): RaftKvError {
  return FULL_DISK.has(errnoName(error))
    ? new RaftKvError("diskFull", `${what}: ${describeError(error)}`, { cause: error })
    : ioError(what, error);
}

function ioError(what: string, error: unknown): RaftKvError {
  return new RaftKvError("io", `${what}: ${describeError(error)}`, { cause: error });
}
