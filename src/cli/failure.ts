import { describeError, RaftKvError } from "../base/errors.ts";
import type { Answer } from "./result.ts";
import { UsageError } from "./usage-error.ts";

/**
 * What to say about anything that was thrown, and the exit code: 2 for a wrong command line, 1 otherwise.
 * Of an operating error, its one line; a bug is shown with its stack, for whoever mends it.
 */
export function failureOf(error: unknown): Answer {
  const code = error instanceof UsageError ? "usage" : error instanceof RaftKvError ? error.code : "internal";
  const message = describeError(error);
  const isBug = !(error instanceof UsageError || error instanceof RaftKvError);
  const stack = isBug && error instanceof Error ? error.stack : undefined;
  return {
    kind: "answer",
    exitCode: code === "usage" ? 2 : 1,
    output: { stdout: null, stderr: `raftkv: ${stack ?? message}`, json: { error: { code, message } } },
  };
}
