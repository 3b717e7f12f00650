/**
 * The command line itself is wrong: nothing was attempted, and the process exits with 2. The message is
 * one line that names the argument and what was expected.
 */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
