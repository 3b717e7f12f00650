import { describeError, RaftKvError } from "../base/errors.ts";

/**
 * Stops everything that shares it after the first failure: what a failed write or sync left on disk is
 * unknown, so nothing may be written after it, and nothing acknowledged.
 */
export class Fuse {
  /** Where the failure is said to be. */
  readonly #path: string;
  #failure: RaftKvError | null = null;

  constructor(path: string) {
    this.#path = path;
  }

  get isBlown(): boolean {
    return this.#failure !== null;
  }

  /** Every call from now on is refused with that. Only the first counts. */
  blow(failure: RaftKvError): void {
    this.#failure ??= failure;
  }

  /** Does the work, unless blown; a rejection blows the fuse, but for those that leave nothing in doubt. */
  async run<T>(work: () => Promise<T>, leavesNoDoubt: (error: unknown) => boolean = () => false): Promise<T> {
    if (this.#failure !== null) throw this.#failure;
    try {
      return await work();
    } catch (error) {
      if (!leavesNoDoubt(error)) this.blow(this.#failureAfter(error));
      throw error;
    }
  }

  #failureAfter(error: unknown): RaftKvError {
    const message = `${this.#path}: refused, because an earlier write failed (${describeError(error)}); restart the server`;
    return new RaftKvError("io", message, { cause: error });
  }
}
