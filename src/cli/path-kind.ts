import { stat } from "node:fs/promises";
import { describeError, RaftKvError } from "../base/errors.ts";

/**
 * What a path names, links followed; null: nothing. Throws RaftKvError "io" when
 * that cannot be told, "failedPrecondition" when the path leads through a file.
 */
export async function pathKind(path: string): Promise<"file" | "directory" | "other" | null> {
  try {
    const found = await stat(path);
    if (found.isFile()) return "file";
    return found.isDirectory() ? "directory" : "other";
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    if (error instanceof Error && "code" in error && error.code === "ENOTDIR") {
      throw new RaftKvError("failedPrecondition", `${path}: a part of the path is a file, not a directory`);
    }
    throw new RaftKvError("io", `cannot look at ${path}: ${describeError(error)}`, { cause: error });
  }
}
