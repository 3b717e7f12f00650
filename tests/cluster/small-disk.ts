/** A disk that is soon full: a tmpfs of its own. Only root on Linux can make one. */
import { statfsSync, writeFileSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";

/** Whether this machine lets us make one. */
export const CAN_MOUNT = process.platform === "linux" && process.getuid?.() === 0 && canMount();

export class SmallDisk {
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  /** Makes the directory too; `megabytes` is all the room there is. */
  static async create(directory: string, megabytes: number): Promise<SmallDisk> {
    await mkdir(directory, { recursive: true });
    run("mount", "-t", "tmpfs", "-o", `size=${megabytes}m`, "tmpfs", directory);
    return new SmallDisk(directory);
  }

  /** Takes all the room that is left. */
  fill(): void {
    const { bavail, bsize } = statfsSync(this.directory);
    const path = join(this.directory, "filler");
    try {
      writeFileSync(path, Buffer.alloc(bavail * bsize), { flag: "a" });
    } catch (error) {
      // Somebody else was quicker, which is full as well.
      if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error;
    }
  }

  /** Gives back what `fill` took. */
  async free(): Promise<void> {
    await rm(join(this.directory, "filler"), { force: true });
  }

  /** Nobody may be using it any more. */
  unmount(): void {
    run("umount", this.directory);
  }
}

function run(...command: readonly string[]): void {
  const { exitCode, stderr } = Bun.spawnSync([...command], { stderr: "pipe" });
  if (exitCode !== 0) throw new Error(`${command.join(" ")}: ${stderr.toString().trim()}`);
}

/** Tried in a mount namespace that ends with the command, so that nothing is left of it. */
function canMount(): boolean {
  try {
    return Bun.spawnSync(["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).exitCode === 0;
  } catch {
    return false;
  }
}
