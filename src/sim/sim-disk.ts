import { RaftKvError } from "../base/errors.ts";
import type { AppendFile, FileSystem, Lock, ReadFile } from "../storage/file-system.ts";
import { MemoryDisk, type FaultPlan } from "../storage/memory-file-system.ts";
import type { FaultCounter } from "./fault-counter.ts";
import { momentOfOperation, type Moment } from "./moment.ts";
import type { Random } from "./random.ts";
import type { SimProcess } from "./sim-process.ts";
import type { DiskFaults } from "./swarm.ts";

/** Where a server's files are on its disk. */
export const STATE_DIRECTORY = "raft_state";

/** The disk of one server, across all its lives. */
export class SimDisk {
  #disk = new MemoryDisk();
  readonly #random: Random;
  readonly #faults: FaultCounter;
  readonly #onMoment: (moment: Moment) => void;
  /**
   * Files whose fsync has failed. The kernel calls their pages clean then, though they never got to the
   * disk, and later fsyncs say yes to what they have not done (P5).
   */
  readonly #broken = new Set<string>();
  /** Whether something has been refused for want of room since it was filled. */
  #refused = false;
  /** What may go wrong from now on. */
  trouble: DiskFaults;

  constructor(random: Random, trouble: DiskFaults, faults: FaultCounter, onMoment: (moment: Moment) => void) {
    this.#onMoment = onMoment;
    this.#random = random;
    this.trouble = trouble;
    this.#faults = faults;
  }

  /** What `process` sees of it: every operation takes time, and ends with the process. */
  mount(process: SimProcess): FileSystem {
    const mount = this.#disk.mount(this.#plan);
    return new SlowFileSystem(
      mount,
      <T>(operation: () => Promise<T>): Promise<T> => {
        const { promise, resolve, reject } = Promise.withResolvers<T>();
        const refuse = (error: unknown): void => {
          this.#noteRefusal(error);
          reject(error);
        };
        process.input(this.#latencyUs(), () => void operation().then(resolve, refuse));
        return promise;
      },
      (path) => this.#broken.has(path),
      (error) => this.#noteRefusal(error),
    );
  }

  /** Without any faults or delays: for whoever prepares or damages it. */
  get files(): FileSystem {
    return this.#disk.mount();
  }

  get isFull(): boolean {
    return this.#disk.capacityBytes !== Infinity;
  }

  /** Others fill it, but for so many bytes. */
  fill(roomBytes: number): void {
    this.#refused = false;
    this.#disk.capacityBytes = this.#disk.usedBytes + roomBytes;
  }

  /** Others take what has become free, so that a full one stays full. */
  refill(): void {
    this.#disk.capacityBytes = Math.min(this.#disk.capacityBytes, this.#disk.usedBytes);
  }

  /** What is done to the files from outside needs no room. */
  tamper(work: () => void): void {
    const { capacityBytes } = this.#disk;
    this.#disk.capacityBytes = Infinity;
    work();
    this.#disk.capacityBytes = capacityBytes;
  }

  /** Others make room. */
  makeRoom(): void {
    this.#disk.capacityBytes = Infinity;
  }

  #noteRefusal(error: unknown): void {
    if (this.#refused || !(error instanceof RaftKvError) || error.code !== "diskFull") return;
    this.#refused = true;
    this.#faults.count("diskFull");
  }

  /** An empty one takes its place. */
  replace(): void {
    this.#disk.killAll();
    this.#disk = new MemoryDisk();
    this.#broken.clear();
  }

  /** The process died; the machine goes on. */
  processDied(): void {
    this.#disk.killAll();
    // After an fsync that failed, the next process would take for good what the page cache has and the disk never gets.
    if (this.#broken.size > 0) this.powerLost();
  }

  /** The machine lost its power: of what was not synced a random part survives. */
  powerLost(): void {
    const share = this.#random.pick([0, 0.3, 0.7, 1]);
    this.#disk.crash(() => this.#random.chance(share));
    this.#broken.clear();
  }

  readonly #plan: FaultPlan = (operation) => {
    const { name, path } = operation;
    const moment = momentOfOperation(operation);
    if (moment !== null) this.#onMoment(moment);
    const isSync = name === "append.sync" || name === "syncFile" || name === "syncDirectory";
    if (!isSync || !this.#random.chance(this.trouble.fsyncError)) return null;
    this.#faults.count("fsyncError");
    this.#broken.add(path);
    return { kind: "refuse", message: "EIO: fsync failed" };
  };

  #latencyUs(): number {
    const { latencyMinUs, latencyMaxUs, slow, slowMaxUs } = this.trouble;
    if (this.#random.chance(slow)) {
      this.#faults.count("slowDisk");
      return this.#random.int(latencyMaxUs, latencyMaxUs + slowMaxUs);
    }
    return this.#random.skewed(latencyMinUs, latencyMaxUs);
  }
}

type Later = <T>(operation: () => Promise<T>) => Promise<T>;

/** A file system whose every asynchronous operation happens `later`, as a whole. */
class SlowFileSystem implements FileSystem {
  readonly #inner: FileSystem;
  readonly #later: Later;
  readonly #lies: (path: string) => boolean;
  readonly #onRefused: (error: unknown) => void;

  /** An fsync of a path that `lies` does nothing. `onRefused` sees what an append throws. */
  constructor(
    inner: FileSystem,
    later: Later,
    lies: (path: string) => boolean,
    onRefused: (error: unknown) => void,
  ) {
    this.#inner = inner;
    this.#later = later;
    this.#lies = lies;
    this.#onRefused = onRefused;
  }

  readFile(path: string): Promise<Uint8Array | null> {
    return this.#later(() => this.#inner.readFile(path));
  }
  writeFile(path: string, data: Uint8Array): Promise<void> {
    return this.#later(() => this.#inner.writeFile(path, data));
  }
  syncFile(path: string): Promise<void> {
    return this.#later(() => this.#sync(path, () => this.#inner.syncFile(path)));
  }
  rename(from: string, to: string): Promise<void> {
    return this.#later(() => this.#inner.rename(from, to));
  }
  removeFile(path: string): Promise<void> {
    return this.#later(() => this.#inner.removeFile(path));
  }
  removeDirectory(path: string): Promise<void> {
    return this.#later(() => this.#inner.removeDirectory(path));
  }
  makeDirectory(path: string): Promise<void> {
    return this.#later(() => this.#inner.makeDirectory(path));
  }
  listDirectory(path: string): Promise<readonly string[] | null> {
    return this.#later(() => this.#inner.listDirectory(path));
  }
  syncDirectory(path: string): Promise<void> {
    return this.#later(() => this.#sync(path, () => this.#inner.syncDirectory(path)));
  }
  lock(path: string): Promise<Lock | null> {
    return this.#later(() => this.#inner.lock(path));
  }

  async #sync(path: string, sync: () => Promise<void>): Promise<void> {
    if (!this.#lies(path)) await sync();
  }

  async openRead(path: string): Promise<ReadFile | null> {
    const later = this.#later;
    const file = await later(() => this.#inner.openRead(path));
    if (file === null) return null;
    return {
      size: file.size,
      read: (offset, maxBytes) => later(() => file.read(offset, maxBytes)),
      close: () => later(() => file.close()),
    };
  }

  async openAppend(path: string): Promise<AppendFile> {
    const later = this.#later;
    const file = await later(() => this.#inner.openAppend(path));
    return {
      get size() {
        return file.size;
      },
      append: (data) => {
        try {
          file.append(data);
        } catch (error) {
          this.#onRefused(error);
          throw error;
        }
      },
      sync: () => later(() => this.#sync(path, () => file.sync())),
      truncate: (size) => later(() => file.truncate(size)),
      close: () => later(() => file.close()),
    };
  }
}
