/**
 * `<state directory>/frontend.lock`: held for as long as a frontend supervises the servers of that
 * directory, so that no two of them undo each other's work. It holds nothing, and belongs to no cluster.
 *
 * Whoever deletes the directory under a running frontend deletes the file with it: then the lock guards a
 * file that has no name any more. So it is taken anew before every use; if another frontend has come
 * first, the directory is the other's.
 */
import { RaftKvError } from "../base/errors.ts";
import { makeDirectoryDurably } from "../storage/durable-directory.ts";
import type { FileSystem, Lock } from "../storage/file-system.ts";

export class FrontendLock {
  readonly #fs: FileSystem;
  readonly #stateDirectory: string;
  #lock: Lock | null = null;
  #isOurs = false;

  constructor(fs: FileSystem, stateDirectory: string) {
    this.#fs = fs;
    this.#stateDirectory = stateDirectory;
  }

  /** Whether the directory was ours when that could last be told. */
  get isOurs(): boolean {
    return this.#isOurs;
  }

  /**
   * Makes the directory durably, if need be, and sure that it is ours. One call at a time. Rejects with
   * RaftKvError "failedPrecondition" when another frontend has it, or "io".
   */
  async take(): Promise<void> {
    await makeDirectoryDurably(this.#fs, this.#stateDirectory);
    await this.release();
    this.#lock = await this.#fs.lock(`${this.#stateDirectory}/frontend.lock`);
    this.#isOurs = this.#lock !== null;
    if (this.#isOurs) return;
    const what = `${this.#stateDirectory}: another frontend supervises the servers there`;
    throw new RaftKvError("failedPrecondition", `${what}; stop it, or change persistent_state_path`);
  }

  async release(): Promise<void> {
    const lock = this.#lock;
    this.#lock = null;
    await lock?.release();
  }
}
