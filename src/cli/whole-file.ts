/**
 * A file that a command writes piece by piece, as a snapshot that it saves or the keys that it exports.
 *
 *   FILE.<random>.tmp          what has come so far; durable every few MiB, and at the end
 *   FILE                       there only when it is whole: the temporary, renamed, and the directory synced
 *
 * So FILE is never half of it, whatever interrupts the command. A temporary that a kill or a power loss
 * leaves behind means nothing; its name is drawn anew each time, so that two of them never mix.
 */
import { randomUUID } from "node:crypto";
import { RaftKvError } from "../base/errors.ts";
import { parentDirectory } from "../storage/atomic-file.ts";
import type { AppendFile, FileSystem } from "../storage/file-system.ts";
import { pathKind } from "./path-kind.ts";

/** More would make the fsyncs of servers on the same disk wait behind one of ours. */
const SYNC_EVERY_BYTES = 8 * 1024 * 1024;

/**
 * Refuses, with RaftKvError "failedPrecondition", a path at which nothing can be saved: nothing may be there
 * but its directory; or, with `force`, a file to be replaced.
 */
export async function requireSavePath(path: string, force: boolean): Promise<void> {
  const refuse = (what: string): never => {
    throw new RaftKvError("failedPrecondition", `${path}${what}`);
  };
  const kind = await pathKind(path);
  if (kind === "directory") refuse(" is a directory: name a file in it");
  if (kind === "other") refuse(" is not a regular file: name one that a finished file can be renamed to");
  if (kind === "file" && !force) refuse(" exists: give --force to replace it, or another name");
  const parent = parentDirectory(path);
  if ((await pathKind(parent)) !== "directory") refuse(`: there is no directory ${parent}`);
}

export class WholeFile {
  /** Where the bytes are until `commit`. */
  readonly temporaryPath: string;
  readonly #fs: FileSystem;
  readonly #path: string;
  readonly #file: AppendFile;
  /** Bytes that are durable. */
  #syncedBytes = 0;
  #isOpen = true;

  private constructor(fs: FileSystem, path: string, temporaryPath: string, file: AppendFile) {
    this.temporaryPath = temporaryPath;
    this.#fs = fs;
    this.#path = path;
    this.#file = file;
  }

  /** Begins the temporary of `path`. Rejects with RaftKvError "io" or "diskFull", as everything here. */
  static async create(fs: FileSystem, path: string): Promise<WholeFile> {
    const temporaryPath = `${path}.${randomUUID().slice(0, 8)}.tmp`;
    return new WholeFile(fs, path, temporaryPath, await fs.openAppend(temporaryPath));
  }

  /** Bytes that have come. */
  get size(): number {
    return this.#file.size;
  }

  async append(data: Uint8Array): Promise<void> {
    this.#file.append(data);
    if (this.#file.size - this.#syncedBytes >= SYNC_EVERY_BYTES) await this.sync();
  }

  /** Throws away what has come, to begin again. */
  async restart(): Promise<void> {
    await this.#file.truncate(0);
    this.#syncedBytes = 0;
  }

  /** Makes durable what has come. */
  async sync(): Promise<void> {
    await this.#file.sync();
    this.#syncedBytes = this.#file.size;
  }

  /** Gives the file its name, durably. */
  async commit(): Promise<void> {
    await this.sync();
    await this.#close();
    await this.#fs.rename(this.temporaryPath, this.#path);
    await this.#fs.syncDirectory(parentDirectory(this.#path));
  }

  /** Removes what has come; `path` is as it was. Never rejects: there is a better error to report. */
  async abandon(): Promise<void> {
    await this.#close().catch(() => {});
    await this.#fs.removeFile(this.temporaryPath).catch(() => {});
  }

  async #close(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    await this.#file.close();
  }
}
