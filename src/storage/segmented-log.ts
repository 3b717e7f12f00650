/**
 * A server's log on disk, in segments (segment.ts) of bounded size. What it holds in memory does not grow
 * with the log: one number pair for each entry of the open segment, one pair for each sealed segment.
 *
 * Write order, and why:
 *   append    to the open segment, in one write; durable with the next sync.
 *   roll      1. sync the full segment; 2. create the next one, header first; 3. sync it, then its name;
 *             4. append the footer to the full one and sync it; 5. only then does an entry go into the next.
 *   truncate  from the last segment backwards to the one that holds the entry: 1. cut the last segment to
 *             its header and sync it; 2. cut the footer of the one before it and sync that; 3. remove the
 *             last segment and sync the directory. Then cut the file at the entry and sync, so that new
 *             entries never lie over old ones.
 *
 * So at every moment: a footer has a segment after it; a segment that holds entries has a footer before it;
 * and there is never a gap. That makes a missing segment visible, also the last one. A crash between steps
 * leaves one thing that is not finished, a last segment without entries:
 *   in roll 2, 3      its header is torn, no footer before it          it is removed
 *   in roll 3, 4      its header is whole, no or half a footer         the footer is completed
 *   in truncate 2, 3  its header is whole, no footer                   the footer is completed
 * Recovery completes the footer as the roll does: the last segment and its name first, then the footer, then
 * whatever comes. It syncs a footer that it finds whole there, too: it may be in the page cache only.
 */
import { assert, defined } from "../base/assert.ts";
import type { Command } from "../kv/command.ts";
import type { Entry, LogIndex, Term } from "../raft/entry.ts";
import type { AppendFile, FileSystem } from "./file-system.ts";
import { readLog, rereadSegment, type SegmentContent } from "./log-recovery.ts";
import { encodeEntry, encodeFooter } from "./log-record.ts";
import { encodeHeader, type LogOwner } from "./segment.ts";
import { segmentName } from "./server-files.ts";

const DEFAULT_MAX_SEGMENT_BYTES = 16 * 1024 * 1024;

export interface LogOptions {
  /** A segment that has reached this size is followed by a new one. At least 1. */
  readonly maxSegmentBytes?: number;
}

/** Where a log is, and whose. */
interface LogPlace {
  readonly fs: FileSystem;
  readonly directory: string;
  readonly owner: LogOwner;
}

/** A full segment: only a truncation touches it again. */
interface SealedSegment {
  readonly firstIndex: LogIndex;
  /** Its footer included. */
  readonly bytes: number;
}

/** The last segment, which takes the appends. */
interface OpenSegment {
  readonly file: AppendFile;
  readonly firstIndex: LogIndex;
  readonly previousTerm: Term;
  /** Where each entry's line starts, in bytes. */
  readonly offsets: number[];
  /** Parallel to `offsets`. */
  readonly terms: Term[];
}

/** The log of one server. One owner, one call at a time; after a rejection nothing may be called but `close`. */
export class SegmentedLog {
  readonly #place: LogPlace;
  readonly #maxSegmentBytes: number;
  readonly #sealed: SealedSegment[];
  #open: OpenSegment;
  /** Whether something was appended since the last sync. */
  #dirty = false;

  private constructor(place: LogPlace, sealed: SealedSegment[], open: OpenSegment, options: LogOptions) {
    this.#place = place;
    this.#sealed = sealed;
    this.#open = open;
    this.#maxSegmentBytes = options.maxSegmentBytes ?? DEFAULT_MAX_SEGMENT_BYTES;
  }

  /** Makes an empty log, durably. The directory exists and holds no log. */
  static async create(fs: FileSystem, directory: string, owner: LogOwner): Promise<void> {
    const { file } = await createSegment({ fs, directory, owner }, 1, 0);
    await file.close();
  }

  /**
   * Reads the log, mends what a crash left, and makes all of it durable: the process before us may have
   * died with entries in the page cache only. Rejects as readLog does.
   */
  static async recover(
    fs: FileSystem,
    directory: string,
    owner: LogOwner,
    currentTerm: Term,
    options: LogOptions = {},
  ): Promise<{ readonly log: SegmentedLog; readonly entries: Entry<Command>[]; readonly repairs: string[] }> {
    const content = await readLog(fs, directory, owner, currentTerm);
    const last = defined(content.segments.at(-1), "a log has a segment");
    const place = { fs, directory, owner };
    const repairs: string[] = [];
    if (content.unfinishedPath !== null) {
      await fs.removeFile(content.unfinishedPath);
      repairs.push(`${content.unfinishedPath}: removed a segment whose creation was interrupted`);
    }
    const open = await openSegment(place, last);
    if (last.tornBytes > 0) {
      await open.file.truncate(last.end);
      repairs.push(`${last.path}: byte ${last.end}: cut off a torn write of ${last.tornBytes} bytes`);
    }
    await open.file.sync();
    await fs.syncDirectory(directory);
    const sealed = content.segments.slice(0, -1).map(sealedSegment);
    const full = content.segments.at(-2);
    if (full !== undefined && last.entries.length === 0) {
      await completeFooter(fs, full, last.firstIndex);
      if (!full.sealed) repairs.push(`${full.path}: byte ${full.end}: completed an interrupted footer`);
    }
    const entries = content.segments.flatMap((segment) => segment.entries);
    return { log: new SegmentedLog(place, sealed, open, options), entries, repairs };
  }

  /** The index of the last entry; 0 when the log is empty. */
  get lastIndex(): LogIndex {
    return this.#open.firstIndex + this.#open.offsets.length - 1;
  }

  /** The term of the last entry; 0 when the log is empty. */
  get lastTerm(): Term {
    return this.#open.terms.at(-1) ?? this.#open.previousTerm;
  }

  /** On disk, headers and footers included. */
  get bytes(): number {
    return this.#sealed.reduce((sum, { bytes }) => sum + bytes, this.#open.file.size);
  }

  /** Puts entries that follow the last one at the end. Durable after `sync`. */
  async append(entries: readonly Entry<Command>[]): Promise<void> {
    for (let at = 0; at < entries.length;) {
      if (this.#isFull(this.#open.file.size)) await this.#roll();
      at = this.#appendFrom(entries, at);
    }
  }

  /** Removes the entry at `from` and all after it, durably. `from` is 1 to `lastIndex`. */
  async truncate(from: LogIndex): Promise<void> {
    assert(
      from >= 1 && from <= this.lastIndex,
      `cannot truncate from ${from}, the log ends at ${this.lastIndex}`,
    );
    while (from < this.#open.firstIndex) await this.#reopenPrevious();
    const { file, offsets, terms, firstIndex } = this.#open;
    const kept = from - firstIndex;
    await file.truncate(defined(offsets[kept], "the open segment holds the entry"));
    await file.sync();
    offsets.length = kept;
    terms.length = kept;
    this.#dirty = false;
  }

  /** Makes durable what was appended. */
  async sync(): Promise<void> {
    if (!this.#dirty) return;
    await this.#open.file.sync();
    this.#dirty = false;
  }

  async close(): Promise<void> {
    await this.#open.file.close();
  }

  /** Appends from position `at` on until the segment is full, in one write. Returns the next position. */
  #appendFrom(entries: readonly Entry<Command>[], at: number): number {
    const { file, offsets, terms } = this.#open;
    let lines = "";
    let size = file.size;
    let next = at;
    while (next < entries.length && (next === at || !this.#isFull(size))) {
      const entry = defined(entries[next], "the position is inside the array");
      const lastIndex = this.lastIndex;
      assert(entry.index === lastIndex + 1, `entry ${entry.index} cannot follow ${lastIndex}`);
      assert(entry.term >= this.lastTerm, `entry ${entry.index} has an older term than the one before it`);
      const line = encodeEntry(entry, this.#dirty ? null : lastIndex);
      this.#dirty = true;
      offsets.push(size);
      terms.push(entry.term);
      lines += line;
      size += Buffer.byteLength(line);
      next++;
    }
    file.append(lines);
    assert(file.size === size, "the file is as long as its records");
    return next;
  }

  #isFull(size: number): boolean {
    return size >= this.#maxSegmentBytes && this.#open.offsets.length > 0;
  }

  async #roll(): Promise<void> {
    await this.sync();
    const { file, firstIndex } = this.#open;
    const next = await createSegment(this.#place, this.lastIndex + 1, this.lastTerm);
    file.append(encodeFooter(next.firstIndex));
    await file.sync();
    await file.close();
    this.#sealed.push({ firstIndex, bytes: file.size });
    this.#open = next;
  }

  /** Removes the last segment, durably, and opens the one before it. */
  async #reopenPrevious(): Promise<void> {
    const { fs, directory, owner } = this.#place;
    const { file, firstIndex, offsets } = this.#open;
    const previous = defined(this.#sealed.pop(), "there is an earlier segment");
    const path = `${directory}/${segmentName(previous.firstIndex)}`;
    const content = await rereadSegment(fs, path, owner, previous.firstIndex);
    await file.truncate(offsets[0] ?? file.size);
    await file.sync();
    this.#open = await openSegment(this.#place, content);
    await file.close();
    await this.#open.file.truncate(content.end);
    await this.#open.file.sync();
    await removeDurably(fs, directory, firstIndex);
  }
}

/** A new, empty segment, durable with its name. */
async function createSegment(
  place: LogPlace,
  firstIndex: LogIndex,
  previousTerm: Term,
): Promise<OpenSegment> {
  const { fs, directory, owner } = place;
  const file = await fs.openAppend(`${directory}/${segmentName(firstIndex)}`);
  assert(file.size === 0, "a new segment's file did not exist");
  file.append(encodeHeader(owner, firstIndex, previousTerm));
  await file.sync();
  await fs.syncDirectory(directory);
  return { file, firstIndex, previousTerm, offsets: [], terms: [] };
}

async function openSegment({ fs }: LogPlace, content: SegmentContent): Promise<OpenSegment> {
  const { firstIndex, previousTerm, offsets, entries } = content;
  const file = await fs.openAppend(content.path);
  return { file, firstIndex, previousTerm, offsets: [...offsets], terms: entries.map(({ term }) => term) };
}

/** What is kept of a segment that has its footer, or gets it before anything else happens. */
function sealedSegment({ firstIndex, entries, end }: SegmentContent): SealedSegment {
  return { firstIndex, bytes: end + Buffer.byteLength(encodeFooter(firstIndex + entries.length)) };
}

/** Makes the footer whole and durable; the segment that it names is durable already. */
async function completeFooter(fs: FileSystem, full: SegmentContent, nextIndex: LogIndex): Promise<void> {
  const file = await fs.openAppend(full.path);
  if (!full.sealed) {
    await file.truncate(full.end);
    file.append(encodeFooter(nextIndex));
  }
  await file.sync();
  await file.close();
}

async function removeDurably(fs: FileSystem, directory: string, firstIndex: LogIndex): Promise<void> {
  await fs.removeFile(`${directory}/${segmentName(firstIndex)}`);
  await fs.syncDirectory(directory);
}
