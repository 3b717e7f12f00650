import { parentDirectory } from "./atomic-file.ts";
import type { AppendFile, FileSystem, Lock, ReadFile } from "./file-system.ts";

/** A file as the dry run has left it: the beginning of a real one, and what was put after it. */
interface Draft {
  /** The real file; null: none, and then `keptBytes` is 0. */
  readonly source: string | null;
  keptBytes: number;
  added: Buffer;
}

/**
 * Another file system seen through glass: what is written, renamed or removed here happens in memory only,
 * and is seen by later calls. It shows what a piece of code would do to files without doing it. Locks are
 * granted to whoever asks, syncs do nothing, and directories are never removed.
 */
export class DryRunFileSystem implements FileSystem {
  readonly #real: FileSystem;
  /** By path; null: removed. What is not here is as on the real file system. */
  readonly #drafts = new Map<string, Draft | null>();
  readonly #directories = new Set<string>();

  constructor(real: FileSystem) {
    this.#real = real;
  }

  async readFile(path: string): Promise<Uint8Array | null> {
    const draft = this.#drafts.get(path);
    if (draft === undefined) return this.#real.readFile(path);
    return draft === null ? null : this.#contentOf(draft);
  }

  async writeFile(path: string, data: Uint8Array): Promise<void> {
    await this.#draft(path);
    this.#drafts.set(path, { source: null, keptBytes: 0, added: Buffer.from(data) });
  }

  async syncFile(): Promise<void> {}

  async rename(from: string, to: string): Promise<void> {
    await this.#draft(to);
    this.#drafts.set(to, (await this.#draft(from)) ?? null);
    this.#drafts.set(from, null);
  }

  async removeFile(path: string): Promise<void> {
    await this.#draft(path);
    this.#drafts.set(path, null);
  }

  async removeDirectory(): Promise<void> {}

  async makeDirectory(path: string): Promise<void> {
    this.#directories.add(path);
  }

  async listDirectory(path: string): Promise<readonly string[] | null> {
    const real = await this.#real.listDirectory(path);
    if (real === null && !this.#directories.has(path)) return null;
    const names = new Set(real);
    for (const [held, draft] of this.#drafts) {
      if (parentDirectory(held) !== path) continue;
      const name = held.slice(held.lastIndexOf("/") + 1);
      if (draft === null) names.delete(name);
      else names.add(name);
    }
    return [...names].toSorted();
  }

  async syncDirectory(): Promise<void> {}

  async openRead(path: string): Promise<ReadFile | null> {
    if (!this.#drafts.has(path)) return this.#real.openRead(path);
    const bytes = await this.readFile(path);
    if (bytes === null) return null;
    return {
      size: bytes.length,
      read: async (offset, maxBytes) => bytes.slice(offset, offset + maxBytes),
      close: async () => {},
    };
  }

  async openAppend(path: string): Promise<AppendFile> {
    const draft = (await this.#draft(path)) ?? { source: null, keptBytes: 0, added: Buffer.of() };
    this.#drafts.set(path, draft);
    return {
      get size() {
        return draft.keptBytes + draft.added.length;
      },
      append(data) {
        draft.added = Buffer.concat([draft.added, typeof data === "string" ? Buffer.from(data) : data]);
      },
      async sync() {},
      async truncate(size) {
        draft.added = draft.added.subarray(0, Math.max(0, size - draft.keptBytes));
        draft.keptBytes = Math.min(draft.keptBytes, size);
      },
      async close() {},
    };
  }

  async lock(): Promise<Lock> {
    return { release: async () => {} };
  }

  /** The file as it is now, to be changed; null when there is none. Refuses a directory, as a disk does. */
  async #draft(path: string): Promise<Draft | null> {
    const known = this.#drafts.get(path);
    if (known !== undefined) return known;
    const file = await this.#real.openRead(path);
    if (file === null) return null;
    await file.close();
    return { source: path, keptBytes: file.size, added: Buffer.of() };
  }

  async #contentOf({ source, keptBytes, added }: Draft): Promise<Buffer> {
    const kept = source === null ? Buffer.of() : ((await this.#real.readFile(source)) ?? Buffer.of());
    return Buffer.concat([kept.subarray(0, keptBytes), added]);
  }
}
