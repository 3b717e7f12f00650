/** Why an operation could not be done. The names are the `Code` values of raft.proto in our spelling. */
export type ErrorCode =
  /** The arguments can never be served. */
  | "invalidArgument"
  /** This server does not lead; nothing was done. */
  | "notLeader"
  /** A queue is full; nothing was done. */
  | "overloaded"
  /** The write may or may not take effect, now or later. */
  | "unknownOutcome"
  /** No leader, or no server, could be reached in time; nothing was done. */
  | "unavailable"
  /** No cluster has been started. */
  | "noCluster"
  /** The request contradicts the state of the system, or of the files on disk. */
  | "failedPrecondition"
  /** A file is damaged: something that was once complete is not what was written. */
  | "corruption"
  /** There is no room on the disk. Nothing was done; it may be tried again. */
  | "diskFull"
  /** The operating system refused: a file, a port, a process. */
  | "io"
  /** None of the above; a bug or an environment nobody thought of. */
  | "internal";

/**
 * An operating error: something outside the program's control. Bugs are AssertionErrors instead,
 * and expected outcomes (a vote denied, a write not led here) are plain values.
 *
 * `message` is one line for a person and says what to do where that is known.
 */
export class RaftKvError extends Error {
  override readonly name = "RaftKvError";

  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.code = code;
  }

  /** Whether trying the same call again, as it is, can succeed and does no harm. */
  get retryable(): boolean {
    return this.code === "notLeader" || this.code === "overloaded" || this.code === "unavailable";
  }
}

/** One line about anything that was thrown. */
export function describeError(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n", 1)[0] ?? "";
}
