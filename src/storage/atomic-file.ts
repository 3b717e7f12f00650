import type { FileSystem } from "./file-system.ts";

/** Where the next content of `path` is prepared. Left over after a crash it means nothing. */
export function temporaryPath(path: string): string {
  return `${path}.tmp`;
}

/** The directory that holds the path's last name; "." for a bare name. */
export function parentDirectory(path: string): string {
  const slash = path.lastIndexOf("/");
  if (slash === -1) return ".";
  return slash === 0 ? "/" : path.slice(0, slash);
}

/**
 * Replaces the file as a whole, or creates it. At every instant, also after a power loss, the path holds
 * the old content or the new; when this resolves the new one is durable. The order is what makes it so:
 * the bytes are durable before the name points at them, and the name before anyone relies on it.
 */
export async function replaceFile(fs: FileSystem, path: string, data: Uint8Array): Promise<void> {
  const temporary = temporaryPath(path);
  await fs.writeFile(temporary, data);
  await fs.syncFile(temporary);
  await fs.rename(temporary, path);
  await fs.syncDirectory(parentDirectory(path));
}
