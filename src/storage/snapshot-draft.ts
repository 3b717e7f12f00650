import { assert, defined } from "../base/assert.ts";
import { RaftKvError } from "../base/errors.ts";
import type { SnapshotPosition } from "../raft/snapshot-position.ts";
import type { Fuse } from "./fuse.ts";
import { unusable } from "./refusal.ts";
import type { SnapshotInfo } from "./store.ts";

/**
 * A snapshot file that does not count yet: it is being written or received, or is finished. Its calls run one
 * after the other, so that it can be abandoned while one is under way.
 */
export class SnapshotDraft {
  readonly path: string;
  readonly #fuse: Fuse;
  readonly #onGone: () => void;
  /** Ends when the last call so far does; never rejects. */
  #calls: Promise<unknown> = Promise.resolve();
  #finished: SnapshotInfo | null = null;
  #abandoned: Promise<void> | null = null;
  #published = false;
  /** Removes the file; nothing to remove before it was created. */
  #remove: () => Promise<void> = async () => {};

  /** `onGone` is told when it is abandoned, or cannot even begin. */
  constructor(path: string, fuse: Fuse, onGone: () => void) {
    this.path = path;
    this.#fuse = fuse;
    this.#onGone = onGone;
  }

  /** Creates the file. A rejection leaves none. */
  async begin<T extends { abandon(): Promise<void> }>(create: () => Promise<T>): Promise<T> {
    try {
      const file = await this.run(create);
      this.#remove = () => file.abandon();
      return file;
    } catch (error) {
      this.#onGone();
      throw error;
    }
  }

  /**
   * Does it after the calls before; refused ("failedPrecondition") once abandoned. A rejection for want of room or
   * for wrong bytes concerns the draft only; any other ends the store.
   */
  run<T>(work: () => Promise<T>): Promise<T> {
    assert(!this.#published, "a snapshot that counts is not written any more");
    if (this.#abandoned !== null) return Promise.reject(unusable(this.path, "the snapshot was abandoned"));
    const call = this.#calls.then(() => this.#fuse.run(work, concernsDraftOnly));
    this.#calls = call.catch(() => {});
    return call;
  }

  /** The file is whole and durable. */
  finish(info: SnapshotInfo): void {
    this.#finished = info;
  }

  /** What it is to be published as. From now on it cannot be abandoned. */
  publish(position: SnapshotPosition): SnapshotInfo {
    const info = defined(this.#finished, "a snapshot is finished before it counts");
    const { index, term } = info.position;
    assert(index === position.index && term === position.term, "it is the snapshot that was asked for");
    assert(this.#abandoned === null, "the snapshot was not abandoned");
    this.#published = true;
    return info;
  }

  /** Removes it; the second time, or once it counts, it does nothing. */
  abandon(): Promise<void> {
    if (this.#published) return Promise.resolve();
    this.#abandoned ??= this.#removeAfterCalls();
    return this.#abandoned;
  }

  async #removeAfterCalls(): Promise<void> {
    await this.#calls;
    try {
      // A store that may write no more leaves it to the next start.
      if (!this.#fuse.isBlown) await this.#fuse.run(this.#remove);
    } finally {
      this.#onGone();
    }
  }
}

function concernsDraftOnly(error: unknown): boolean {
  if (!(error instanceof RaftKvError)) return false;
  return error.code === "diskFull" || error.code === "corruption" || error.code === "failedPrecondition";
}
