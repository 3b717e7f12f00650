/** Reads a snapshot file, in pieces and with a pause after each, so that a server goes on meanwhile. */
import { defined } from "../base/assert.ts";
import { KvStateLoader } from "../kv/kv-state-loader.ts";
import type { KvState } from "../kv/kv-state.ts";
import type { FileSystem, ReadFile } from "./file-system.ts";
import { checksumText } from "./log-record.ts";
import { corrupted, unusable } from "./refusal.ts";
import {
  SnapshotDecoder,
  type SnapshotDamage,
  type SnapshotHeader,
  type SnapshotSink,
} from "./snapshot-file.ts";
import type { SnapshotContent } from "./store.ts";

/** How much is read and taken in at once. */
const PIECE_BYTES = 256 * 1024;

/** A good snapshot file. */
export interface WholeSnapshot {
  readonly kind: "whole";
  readonly header: SnapshotHeader;
  readonly content: SnapshotContent;
}

/** What a file is that should be a snapshot. */
export type SnapshotFinding =
  | WholeSnapshot
  | {
      readonly kind: "damaged";
      /** null: the first line is damaged, or of another version. */
      readonly header: SnapshotHeader | null;
      /** Of the file. */
      readonly totalBytes: number;
      /** The first; what follows it was not looked at. */
      readonly damage: SnapshotDamage;
    };

/**
 * Reads and checks the whole file. Rejects with RaftKvError "corruption" with path and byte offset,
 * "failedPrecondition" when there is no file or another version's, "io" when it cannot be read.
 */
export async function readSnapshotFile(fs: FileSystem, path: string): Promise<WholeSnapshot> {
  const finding = await inspectSnapshotFile(fs, path);
  if (finding === null) throw unusable(path, "there is no such file");
  if (finding.kind === "whole") return finding;
  const { kind, offset, what } = finding.damage;
  throw kind === "unusable" ? unusable(path, what) : corrupted(path, offset, what);
}

/** The same for whoever reports and does not load: damage is a value; null: there is no file. Rejects with "io". */
export async function inspectSnapshotFile(fs: FileSystem, path: string): Promise<SnapshotFinding | null> {
  const file = await fs.openRead(path);
  if (file === null) return null;
  try {
    return await inspect(file);
  } finally {
    await file.close();
  }
}

async function inspect(file: ReadFile): Promise<SnapshotFinding> {
  const loading = new Loading();
  const decoder = new SnapshotDecoder(loading);
  let damage: SnapshotDamage | null = null;
  let totalBytes = 0;
  for (let atEnd = false; !atEnd && damage === null;) {
    const piece = await file.read(totalBytes, PIECE_BYTES);
    totalBytes += piece.length;
    atEnd = piece.length < PIECE_BYTES;
    damage = decoder.push(piece);
  }
  damage ??= decoder.finish();
  if (damage !== null) {
    return { kind: "damaged", header: loading.found, totalBytes: Math.max(totalBytes, file.size), damage };
  }
  const header = defined(loading.found, "a whole file has a header");
  const state = defined(loading.state, "a whole file has an end");
  const info = { position: header.position, totalBytes, checksum: checksumText(decoder.checksum) };
  return { kind: "whole", header, content: { info, configuration: header.configuration, state } };
}

/** Loads what a decoder finds. */
class Loading implements SnapshotSink {
  #loader: KvStateLoader | null = null;
  /** null: none was found yet. */
  found: SnapshotHeader | null = null;
  /** null: the end was not found yet. */
  state: KvState | null = null;

  header(header: SnapshotHeader): void {
    this.found = header;
    this.#loader = new KvStateLoader(header.position.index);
  }

  section(section: string): string | null {
    return defined(this.#loader, "a header comes first").add(section);
  }

  end(): string | null {
    this.state = defined(this.#loader, "a header comes first").finish();
    return this.state === null ? "the state is not complete" : null;
  }
}
