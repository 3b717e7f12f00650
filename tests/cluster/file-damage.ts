/** What a disk does to a file behind a server's back. */
import { open, readdir, stat, truncate } from "node:fs/promises";
import { basename, join } from "node:path";
import type { Random } from "../../src/sim/random.ts";

export interface FileDamage {
  readonly kind: "flip" | "truncate" | "zero";
  readonly path: string;
  /** Where it begins, in bytes; for "truncate", what is left. */
  readonly offset: number;
  /** For "flip" which bit of the byte, 0 to 7; for "zero" how many bytes; else 0. */
  readonly extent: number;
}

const KINDS = ["flip", "truncate", "zero"] as const;
const MAX_ZEROED_BYTES = 4096;

/** The files that a server's memory is made of, the empty ones left out, by what they are. */
async function serverMemory(
  stateDirectory: string,
  id: number,
): Promise<{ readonly state: string[]; readonly log: string[]; readonly snapshot: string[] }> {
  const directory = join(stateDirectory, `server_${id}`);
  const names = await readdir(directory);
  const ofKind = (prefix: string): string[] =>
    names.filter((name) => name.startsWith(prefix)).map((name) => join(directory, name));
  return { state: [`${directory}.json`], log: ofKind("log-"), snapshot: ofKind("snapshot-") };
}

/** Some damage to one of the server's files: each kind of file, and each kind of damage, is as likely. */
export async function drawDamage(random: Random, stateDirectory: string, id: number): Promise<FileDamage> {
  const { state, log, snapshot } = await serverMemory(stateDirectory, id);
  const [first = [], ...others] = [state, log, snapshot].filter((paths) => paths.length > 0);
  const [path = "", ...more] = random.pick([first, ...others]);
  const chosen = random.pick([path, ...more]);
  const { size } = await stat(chosen);
  const offset = random.int(0, Math.max(0, size - 1));
  const kind = random.pick(KINDS);
  const extent = { flip: random.int(0, 7), truncate: 0, zero: random.int(1, MAX_ZEROED_BYTES) }[kind];
  return { kind, path: chosen, offset, extent };
}

export async function applyDamage({ kind, path, offset, extent }: FileDamage): Promise<void> {
  if (kind === "truncate") return truncate(path, offset);
  const file = await open(path, "r+");
  try {
    const length = kind === "flip" ? 1 : Math.min(extent, (await file.stat()).size - offset);
    const bytes = Buffer.alloc(length);
    if (kind === "flip") {
      await file.read(bytes, 0, 1, offset);
      bytes[0] = (bytes[0] ?? 0) ^ (1 << extent);
    }
    await file.write(bytes, 0, length, offset);
  } finally {
    await file.close();
  }
}

export function describeDamage({ kind, path, offset, extent }: FileDamage): string {
  const where = `${basename(path)}, byte ${offset}`;
  if (kind === "truncate") return `${where}: cut off from there`;
  return kind === "flip" ? `${where}: bit ${extent} flipped` : `${where}: ${extent} bytes zeroed`;
}
