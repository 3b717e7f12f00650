/**
 * Writing on a disk that may be full: what found no room is undone, and done again when there is room.
 * Nothing that a full disk refused is half there meanwhile, and nobody is told that it is done.
 */
import { RaftKvError } from "../base/errors.ts";
import type { AppendFile } from "./file-system.ts";

/** Resolves when it is time to try again after `error`, a "diskFull"; rejects to give up, and with what. */
export type WhenFull = (error: RaftKvError) => Promise<void>;

/** Does not wait for room. */
export const giveUp: WhenFull = async (error) => {
  throw error;
};

/** Does it until there is room for it. It must have done nothing, or nothing that matters, when there was none. */
export async function untilRoom<T>(whenFull: WhenFull, attempt: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      await whenFull(requireDiskFull(error));
    }
  }
}

/** Appends all of it; a part of it is cut off again before waiting for room for the rest. */
export async function appendUntilRoom(whenFull: WhenFull, file: AppendFile, data: string): Promise<void> {
  const { size } = file;
  for (;;) {
    try {
      return file.append(data);
    } catch (error) {
      const full = requireDiskFull(error);
      await file.truncate(size);
      await whenFull(full);
    }
  }
}

/** The error, if that is all it is. Otherwise throws it. */
function requireDiskFull(error: unknown): RaftKvError {
  if (error instanceof RaftKvError && error.code === "diskFull") return error;
  throw error;
}
