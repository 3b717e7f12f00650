import { readdirSync, readFileSync } from "node:fs";

/**
 * Whether nothing is left of the process: its ports, locks and mounts are free. One that is ending loses its
 * command line before its files, and its first thread may be a zombie while others still hold them.
 */
export function hasEnded(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const state = stat.charAt(stat.lastIndexOf(")") + 2);
    return (state === "Z" || state === "X") && readdirSync(`/proc/${pid}/task`).length <= 1;
  } catch {
    return true;
  }
}
