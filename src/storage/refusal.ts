/** How storage says no to files that it cannot trust. It never changes them. */
import { RaftKvError } from "../base/errors.ts";

/** A damaged file. `offset` in bytes; null when the damage is not at one place. */
export function corrupted(path: string, offset: number | null, what: string): RaftKvError {
  const place = offset === null ? path : `${path}: byte ${offset}`;
  return new RaftKvError(
    "corruption",
    `${place}: ${what}. Nothing was changed; restore the file from a copy, or give this server up.`,
  );
}

/** A whole file that must not be used here: somebody else's, or a newer version's. */
export function unusable(path: string, what: string): RaftKvError {
  return new RaftKvError("failedPrecondition", `${path}: ${what}`);
}
