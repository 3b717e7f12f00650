/**
 * A disk in memory that can lose power. It keeps what programs see (the page cache) and what is durable
 * apart, and files apart from the directory entries that name them:
 *
 *   file        cached bytes, durable bytes: equal after a sync of the file
 *   directory   cached names, durable names: equal after a sync of the directory
 *
 * A crash keeps what is durable and, of the rest, what its caller chooses: any subset of the changed
 * 512-byte sectors, the new length or not, each changed name or not. Everything is deterministic.
 */
import { SECTOR_BYTES } from "./segment.ts";

/** One thing that was not synced when the power went. */
type Unsynced =
  /** A name that was created, replaced or removed. */
  | { readonly kind: "name"; readonly path: string }
  /** A sector of a file, its changed bytes. */
  | { readonly kind: "sector"; readonly path: string; readonly sector: number }
  /** The new length of a file. Not kept: a file that grew ends after the first kept sectors, without a gap. */
  | { readonly kind: "length"; readonly path: string };

/** Whether an unsynced thing survives. Asked in a fixed order. */
export type Keep = (unsynced: Unsynced) => boolean;

export type MemoryNode = MemoryFile | MemoryDirectory;

export class MemoryFile {
  readonly kind = "file";
  #cached = new Uint8Array(0);
  #size = 0;
  #durable = new Uint8Array(0);
  #durableSize = 0;
  /** The first byte at which the two may differ. */
  #dirtyFrom = 0;

  get size(): number {
    return this.#size;
  }

  /** A copy of what programs see, from `offset`; shorter than `maxBytes` only at the end. */
  read(offset = 0, maxBytes = this.#size): Uint8Array {
    return this.#cached.slice(offset, Math.min(offset + maxBytes, this.#size));
  }

  append(data: Uint8Array): void {
    this.#cached = withRoom(this.#cached, this.#size + data.length);
    this.#cached.set(data, this.#size);
    this.#size += data.length;
  }

  truncate(size: number): void {
    this.#cached.fill(0, size, this.#size);
    this.#size = size;
    this.#dirtyFrom = Math.min(this.#dirtyFrom, size);
  }

  sync(): void {
    this.#durable = withRoom(this.#durable, this.#size);
    this.#durable.set(this.#cached.subarray(this.#dirtyFrom, this.#size), this.#dirtyFrom);
    this.#durable.fill(0, this.#size);
    this.#durableSize = this.#size;
    this.#dirtyFrom = this.#size;
  }

  /** The power goes; `path` is what the file is called when asking. */
  crash(path: string, keep: Keep): void {
    const bytes = withRoom(this.#durable, this.#size);
    let unbroken = this.#dirtyFrom;
    for (let from = this.#dirtyFrom; from < this.#size;) {
      const sector = Math.floor(from / SECTOR_BYTES);
      const to = Math.min((sector + 1) * SECTOR_BYTES, this.#size);
      if (keep({ kind: "sector", path, sector })) {
        bytes.set(this.#cached.subarray(from, to), from);
        if (unbroken === from) unbroken = to;
      }
      from = to;
    }
    const sameLength = this.#size === this.#durableSize;
    const size =
      sameLength || keep({ kind: "length", path }) ? this.#size : Math.max(this.#durableSize, unbroken);
    this.#cached = bytes.slice(0, size);
    this.#size = size;
    this.#dirtyFrom = 0;
    this.sync();
  }
}

export class MemoryDirectory {
  readonly kind = "directory";
  #cached = new Map<string, MemoryNode>();
  #durable = new Map<string, MemoryNode>();

  get(name: string): MemoryNode | null {
    return this.#cached.get(name) ?? null;
  }

  set(name: string, node: MemoryNode): void {
    this.#cached.set(name, node);
  }

  remove(name: string): void {
    this.#cached.delete(name);
  }

  /** What the files cost that programs see by name, here and below. */
  get usedBytes(): number {
    let bytes = 0;
    for (const node of this.#cached.values()) bytes += node.kind === "file" ? node.size : node.usedBytes;
    return bytes;
  }

  /** Sorted. */
  names(): readonly string[] {
    return [...this.#cached.keys()].toSorted();
  }

  sync(): void {
    this.#durable = new Map(this.#cached);
  }

  /** The power goes, here and in everything that is still named. */
  crash(path: string, keep: Keep): void {
    const names = new Set([...this.#durable.keys(), ...this.#cached.keys()]);
    for (const name of [...names].toSorted()) {
      const cached = this.#cached.get(name);
      if (cached === this.#durable.get(name) || !keep({ kind: "name", path: `${path}/${name}` })) continue;
      if (cached === undefined) this.#durable.delete(name);
      else this.#durable.set(name, cached);
    }
    this.#cached = new Map(this.#durable);
    for (const name of this.names()) this.#durable.get(name)?.crash(`${path}/${name}`, keep);
  }
}

/** The same bytes in an array of at least `size`; the rest is 0. */
function withRoom(bytes: Uint8Array<ArrayBuffer>, size: number): Uint8Array<ArrayBuffer> {
  if (bytes.length >= size) return bytes;
  const larger = new Uint8Array(Math.max(size, bytes.length * 2));
  larger.set(bytes);
  return larger;
}
