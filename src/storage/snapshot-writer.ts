/** Writes a snapshot file from its start. What the bytes are and when they count: snapshot-file.ts. */
import { crc32 } from "node:zlib";

import { assert } from "../base/assert.ts";
import type { SnapshotPosition } from "../raft/snapshot-position.ts";
import type { AppendFile, FileSystem } from "./file-system.ts";
import { checksumText } from "./log-record.ts";
import { encodeEnd, encodeHeaderLine, encodeSectionLine, type SnapshotHeader } from "./snapshot-file.ts";
import type { SnapshotInfo } from "./store.ts";

/**
 * The file is synced whenever this much of it is not: the disk writes all the time, and the log's fsyncs never
 * wait behind one large flood.
 */
const SYNC_EVERY_BYTES = 4 * 1024 * 1024;

/**
 * Starts a snapshot file at `path`, which is not the name that it will have when it counts. What stands there
 * is removed. Rejects with RaftKvError "io" or "diskFull", and then nothing is left of it.
 */
export async function createSnapshotWriter(
  fs: FileSystem,
  path: string,
  header: SnapshotHeader,
): Promise<FileSnapshotWriter> {
  await fs.removeFile(path);
  const file = await fs.openAppend(path);
  const writer = new FileSnapshotWriter(fs, path, header.position, file);
  try {
    writer.begin(header);
  } catch (error) {
    await writer.abandon();
    throw error;
  }
  return writer;
}

/**
 * A snapshot file being written. One call at a time; after a rejection, which is a RaftKvError "io" or
 * "diskFull", only `abandon`.
 */
export class FileSnapshotWriter {
  readonly #fs: FileSystem;
  readonly #path: string;
  readonly #position: SnapshotPosition;
  readonly #file: AppendFile;
  #open = true;
  #sections = 0;
  /** Of every byte so far. */
  #checksum = 0;
  #syncedBytes = 0;

  /** Use createSnapshotWriter. */
  constructor(fs: FileSystem, path: string, position: SnapshotPosition, file: AppendFile) {
    this.#fs = fs;
    this.#path = path;
    this.#position = position;
    this.#file = file;
  }

  /** Writes the first line. */
  begin(header: SnapshotHeader): void {
    this.#write(encodeHeaderLine(header));
  }

  /** One section of the state, in order (kv/kv-state.ts). Now and then it waits for the disk. */
  async append(section: string): Promise<void> {
    assert(this.#open, "a section goes into a snapshot that is not finished");
    this.#write(encodeSectionLine(section));
    this.#sections += 1;
    if (this.#file.size - this.#syncedBytes >= SYNC_EVERY_BYTES) await this.#sync();
  }

  /** Ends the file and makes its bytes durable; its name is not. */
  async finish(): Promise<SnapshotInfo> {
    assert(this.#open, "a snapshot is finished once");
    this.#write(encodeEnd(this.#sections, this.#checksum));
    await this.#sync();
    const info = {
      position: this.#position,
      totalBytes: this.#file.size,
      checksum: checksumText(this.#checksum),
    };
    await this.#close();
    return info;
  }

  /** Removes the file, not durably; also after `finish`, as long as it has not got its other name. */
  async abandon(): Promise<void> {
    await this.#close();
    await this.#fs.removeFile(this.#path);
  }

  #write(bytes: Uint8Array): void {
    this.#file.append(bytes);
    this.#checksum = crc32(bytes, this.#checksum);
  }

  async #sync(): Promise<void> {
    const { size } = this.#file;
    await this.#file.sync();
    this.#syncedBytes = size;
  }

  async #close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await this.#file.close();
  }
}
