import { RaftKvError } from "../base/errors.ts";
import { parentDirectory } from "./atomic-file.ts";
import type { FileSystem } from "./file-system.ts";

/** What the kernel says to whoever may not open a directory. */
const FORBIDDEN: ReadonlySet<unknown> = new Set(["EACCES", "EPERM"]);

/**
 * Makes the directory and its missing parents, each with its name durable before the next. The name of the first
 * one that was there already is made durable, too: the process that made it may have died before it did that.
 */
export async function makeDirectoryDurably(fs: FileSystem, path: string): Promise<void> {
  const parent = parentDirectory(path);
  if ((await fs.listDirectory(path)) === null) {
    if ((await fs.listDirectory(parent)) === null) await makeDirectoryDurably(fs, parent);
    else await syncName(fs, parent);
  }
  await fs.makeDirectory(path);
  await fs.syncDirectory(parent);
}

/** Makes the directory's name durable, if we may open its parent: otherwise it was not us who made it there. */
async function syncName(fs: FileSystem, path: string): Promise<void> {
  try {
    await fs.syncDirectory(parentDirectory(path));
  } catch (error) {
    if (!FORBIDDEN.has(causeCode(error))) throw error;
  }
}

function causeCode(error: unknown): unknown {
  const cause = error instanceof RaftKvError ? error.cause : null;
  return cause instanceof Error && "code" in cause ? cause.code : null;
}
