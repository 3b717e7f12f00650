/**
 * The few things that storage asks of an operating system, so that a simulated disk can stand in for it.
 *
 * Nothing here is durable until it is said to be: a file's bytes after `AppendFile.sync` or `syncFile`,
 * a file's name (created, renamed, removed) after `syncDirectory` of its directory.
 * Paths are "/"-separated. Every failure is a RaftKvError with code "io" and the path in its message;
 * but when there is no room (ENOSPC, EDQUOT) for what is written, created or renamed, the code is "diskFull",
 * and a part of the bytes may be there. A sync that fails is always "io".
 */
export interface FileSystem {
  /** The whole file, or null when there is none. */
  readFile(path: string): Promise<Uint8Array | null>;
  /** Creates the file, or overwrites it in place: not atomic, not durable. Its directory exists already. */
  writeFile(path: string, data: Uint8Array): Promise<void>;
  syncFile(path: string): Promise<void>;
  /** Replaces `to` if it exists; atomic. */
  rename(from: string, to: string): Promise<void>;
  /** Absent: nothing happens. */
  removeFile(path: string): Promise<void>;
  /** Removes it if it is empty. Absent or not empty: nothing happens. */
  removeDirectory(path: string): Promise<void>;
  /** Creates it with its parents; present: nothing happens. */
  makeDirectory(path: string): Promise<void>;
  /** The names in it, sorted; null when there is no such directory. */
  listDirectory(path: string): Promise<readonly string[] | null>;
  syncDirectory(path: string): Promise<void>;
  /** Opens for reading, or null when there is no such file. What is open stays readable when its name goes. */
  openRead(path: string): Promise<ReadFile | null>;
  /** Opens for appending, creating the file if it is absent. */
  openAppend(path: string): Promise<AppendFile>;
  /**
   * Takes a lock that ends with this process however it ends. null: it is held, by another process or
   * by this one. The file at `path` is created for it, means nothing by itself, and is not to be opened.
   */
  lock(path: string): Promise<Lock | null>;
}

/** A file as it was when it was opened, or longer. */
export interface ReadFile {
  /** In bytes, when it was opened. */
  readonly size: number;
  /** From `offset`; shorter than `maxBytes` only at the file's end. The bytes are the caller's. */
  read(offset: number, maxBytes: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** A file that only grows at its end, save for `truncate`. One call at a time but for `append`. */
export interface AppendFile {
  /** Current size in bytes. */
  readonly size: number;
  /**
   * Puts the bytes (a string as UTF-8) at the end, in the page cache, at once. Throws RaftKvError "io"
   * or "diskFull", and then any part of them may have landed.
   */
  append(data: Uint8Array | string): void;
  /** Makes what was appended before the call durable (fdatasync, off the main thread). */
  sync(): Promise<void>;
  /** Cuts the file to `size` bytes. Not durable until `sync`. */
  truncate(size: number): Promise<void>;
  close(): Promise<void>;
}

/** Does the work; when that fails, closes what it was for, whatever comes of closing it. */
export async function orClose<T>(opened: { close(): Promise<void> }, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    await opened.close().catch(() => {});
    throw error;
  }
}

export interface Lock {
  release(): Promise<void>;
}
