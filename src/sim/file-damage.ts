/** What may happen to the files of a server that does not run, and must not go unnoticed. */
import { drainMicrotasks } from "bun:jsc";
import { defined } from "../base/assert.ts";
import type { ServerId } from "../raft/entry.ts";
import { parentDirectory } from "../storage/atomic-file.ts";
import type { Random } from "./random.ts";
import { STATE_DIRECTORY, type SimDisk } from "./sim-disk.ts";

export interface DamageParts {
  readonly disk: SimDisk;
  readonly serverId: ServerId;
  readonly random: Random;
}

/** Damages something. What, in words; null: there was nothing to damage. */
export type Damage = (parts: DamageParts) => string | null;

/** One bit of one file. */
export const flipBit: Damage = (parts) => {
  const { random } = parts;
  return changeFile(
    parts,
    pickFile(parts, () => true),
    (bytes) => {
      // Half of the time in a digit: it still reads as a number, and only a checksum can tell.
      const digits = [...bytes.keys()].filter((at) => /[0-9]/.test(String.fromCharCode(bytes[at] ?? 0)));
      const [first, ...others] = random.chance(0.5) ? digits : [];
      const at = first === undefined ? random.int(0, bytes.length - 1) : random.pick([first, ...others]);
      const changed = bytes.slice();
      changed[at] = (bytes[at] ?? 0) ^ (1 << random.int(0, first === undefined ? 7 : 2));
      return { what: `has a bit flipped at ${at}`, changed };
    },
  );
};

/** The end of a file. Not of the log's last one: it looks as if it had never been written. */
export const cutShort: Damage = (parts) =>
  changeFile(parts, pickFile(parts, isSealed), (bytes) => {
    const size = parts.random.int(0, bytes.length - 1);
    return { what: `is cut short to ${size} bytes of ${bytes.length}`, changed: bytes.slice(0, size) };
  });

/** One file. */
export const loseFiles: Damage = (parts) => {
  const path = pickFile(parts, isSealed);
  if (path === null) return null;
  const { files } = parts.disk;
  atOnce(async () => {
    await files.removeFile(path);
    await files.syncDirectory(parentDirectory(path));
  });
  return `loses ${path}`;
};

/** Not the log's last segment. */
function isSealed(name: string, names: readonly string[]): boolean {
  return !name.startsWith("log-") || name !== names.findLast((each) => each.startsWith("log-"));
}

/** Mostly one of the server's log or snapshots, else its state file; null: there is none. */
function pickFile(
  { disk, serverId, random }: DamageParts,
  mayBe: (name: string, names: readonly string[]) => boolean,
): string | null {
  const directory = `${STATE_DIRECTORY}/server_${serverId}`;
  const names = atOnce(() => disk.files.listDirectory(directory)) ?? [];
  const [first, ...others] = names.filter(
    (name) => (name.startsWith("log-") || /^snapshot-[0-9]+\.json$/.test(name)) && mayBe(name, names),
  );
  if (first !== undefined && random.chance(0.6)) return `${directory}/${random.pick([first, ...others])}`;
  const hasState = atOnce(() => disk.files.readFile(`${directory}.json`)) !== null;
  return hasState ? `${directory}.json` : null;
}

function changeFile(
  { disk }: DamageParts,
  path: string | null,
  change: (bytes: Uint8Array) => { readonly what: string; readonly changed: Uint8Array },
): string | null {
  const { files } = disk;
  const bytes = path === null ? null : atOnce(() => files.readFile(path));
  if (path === null || bytes === null || bytes.length === 0) return null;
  const { what, changed } = change(bytes);
  disk.tamper(() =>
    atOnce(async () => {
      await files.writeFile(path, changed);
      await files.syncFile(path);
      // Else a power loss could take the file that shows where this one should end, as no damage of one file can.
      await files.syncDirectory(parentDirectory(path));
    }),
  );
  return `${what}: ${path}`;
}

/** What it resolves to: a disk without delays waits for nothing but microtasks. */
function atOnce<T>(operation: () => Promise<T>): T {
  const results: { readonly value: T }[] = [];
  void operation().then((value) => results.push({ value }));
  drainMicrotasks();
  return defined(results[0], "a file system in memory that answers at once").value;
}
