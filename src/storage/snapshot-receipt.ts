/** Collects a snapshot file that a leader sends, at a name under which it does not count yet. */
import { RaftKvError } from "../base/errors.ts";
import type { AppendFile, FileSystem } from "./file-system.ts";
import { readSnapshotFile } from "./snapshot-reader.ts";
import type { SnapshotContent, SnapshotInfo } from "./store.ts";

/** As for a snapshot that is written: the log's fsyncs never wait behind one large flood. */
const SYNC_EVERY_BYTES = 4 * 1024 * 1024;

/** One call at a time; after a rejection only `abandon`. */
export class FileSnapshotReceipt {
  readonly info: SnapshotInfo;
  readonly #fs: FileSystem;
  readonly #path: string;
  readonly #clusterId: string;
  readonly #file: AppendFile;
  #syncedBytes = 0;
  #open = true;

  private constructor(fs: FileSystem, path: string, clusterId: string, info: SnapshotInfo, file: AppendFile) {
    this.info = info;
    this.#fs = fs;
    this.#path = path;
    this.#clusterId = clusterId;
    this.#file = file;
  }

  /** Starts at `path`; what stands there is removed. Rejects with RaftKvError "io" or "diskFull". */
  static async create(
    fs: FileSystem,
    path: string,
    clusterId: string,
    info: SnapshotInfo,
  ): Promise<FileSnapshotReceipt> {
    await fs.removeFile(path);
    return new FileSnapshotReceipt(fs, path, clusterId, info, await fs.openAppend(path));
  }

  get size(): number {
    return this.#file.size;
  }

  /** Rejects with "corruption" for more bytes than the snapshot has. */
  async append(data: Uint8Array): Promise<void> {
    const { totalBytes } = this.info;
    if (this.size + data.length > totalBytes) throw this.#wrong(`has more than ${totalBytes} bytes`);
    this.#file.append(data);
    if (this.size - this.#syncedBytes >= SYNC_EVERY_BYTES) await this.#sync();
  }

  /** As SnapshotReceipt.finish. */
  async finish(): Promise<SnapshotContent> {
    const { position, totalBytes, checksum } = this.info;
    if (this.size < totalBytes) throw this.#wrong(`ends after ${this.size} of ${totalBytes} bytes`);
    await this.#sync();
    await this.#close();
    const { header, content } = await readSnapshotFile(this.#fs, this.#path);
    if (header.clusterId !== this.#clusterId) {
      throw new RaftKvError("failedPrecondition", `${this.#path}: belongs to cluster ${header.clusterId}`);
    }
    const { index, term } = content.info.position;
    if (index !== position.index || term !== position.term) {
      throw this.#wrong(`is of entry ${index} of term ${term}`);
    }
    const found = content.info.checksum;
    if (found !== checksum) throw this.#wrong(`has the checksum ${found}`);
    return content;
  }

  /** Removes the file, not durably; also after `finish`, as long as it has not got its other name. */
  async abandon(): Promise<void> {
    await this.#close();
    await this.#fs.removeFile(this.#path);
  }

  #wrong(what: string): RaftKvError {
    const { position, checksum } = this.info;
    const expected = `snapshot ${position.index} of term ${position.term} with checksum ${checksum}`;
    return new RaftKvError(
      "corruption",
      `${this.#path}: what was received ${what}, and is not ${expected}; it is to be sent again`,
    );
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
