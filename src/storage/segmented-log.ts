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
 *   compact   remove the oldest segment, as long as a snapshot stands for all of its entries and it is not
 *             the last one; sync the directory after each, so that what is left has no gap.
 *   install   a snapshot has taken the place of the whole log: 1. truncate all of it, which leaves one segment
 *             without entries; 2. create the segment that follows the snapshot; 3. remove the other one and
 *             sync the directory. The snapshot is durable before, and the state file shows that this is to be done.
 *
 * So at every moment: a footer has a segment after it; a segment that holds entries has a footer before it;
 * and there is never a gap. That makes a missing segment visible, also the last one. A crash between steps
 * leaves one thing that is not finished, a last segment without entries:
 *   in roll 2, 3      its header is torn, no footer before it          it is removed
 *   in roll 3, 4      its header is whole, no or half a footer         the footer is completed
 *   in truncate 2, 3  its header is whole, no footer                   the footer is completed
 *   in install 2      its header is torn, before it one without        it is removed; the install is done again
 *                     entries that does not reach the snapshot
 *   in install 2, 3   its header is whole, before it such a one        the one before it is removed
 * or a log that does not reach the snapshot, as in install 1: the install is done again.
 * Recovery completes the footer as the roll does: the last segment and its name first, then the footer, then
 * whatever comes. It syncs a footer that it finds whole there, too: it may be in the page cache only.
 *
 * While the disk is full, `append`, its rolls and `install` wait for room (until-room.ts) between two steps.
 */
import { assert, defined } from "../base/assert.ts";
import type { Command } from "../kv/command.ts";
import type { Entry, LogIndex, Term } from "../raft/entry.ts";
import type { SnapshotPosition } from "../raft/snapshot-position.ts";
import { appendUntilRoom, giveUp, untilRoom, type WhenFull } from "./until-room.ts";
import { orClose, type AppendFile, type FileSystem } from "./file-system.ts";
import { rereadSegment, type LogContent, type SegmentContent } from "./log-recovery.ts";
import { encodeEntry, encodeFooter } from "./log-record.ts";
import { encodeHeader, type LogOwner } from "./segment.ts";
import { segmentName } from "./server-files.ts";

const DEFAULT_MAX_SEGMENT_BYTES = 16 * 1024 * 1024;

export interface LogOptions {
  /** A segment that has reached this size is followed by a new one. At least 1. */
  readonly maxSegmentBytes?: number;
}

/** Where a log is, and whose. */
export interface LogPlace {
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
  #whenFull: WhenFull = giveUp;
  /** Whether something was appended since the last sync. */
  #dirty = false;

  private constructor(place: LogPlace, sealed: SealedSegment[], open: OpenSegment, options: LogOptions) {
    this.#place = place;
    this.#sealed = sealed;
    this.#open = open;
    this.#maxSegmentBytes = options.maxSegmentBytes ?? DEFAULT_MAX_SEGMENT_BYTES;
  }

  /** Makes a log without entries that goes on after `base`, durably. The directory exists and holds no log. */
  static async create(place: LogPlace, base: SnapshotPosition): Promise<void> {
    const { file } = await createSegment(place, giveUp, base);
    await file.close();
  }

  /**
   * Takes over a log that was read, mends what a crash left, and makes all of it durable, with every name in
   * the directory: the process before us may have died with entries in the page cache only. `snapshot` is the
   * one that the log was read against.
   */
  static async recover(
    place: LogPlace,
    content: LogContent,
    snapshot: SnapshotPosition,
    options: LogOptions = {},
  ): Promise<{ readonly log: SegmentedLog; readonly repairs: string[] }> {
    const { fs } = place;
    const last = defined(content.segments.at(-1), "a log has a segment");
    const repairs: string[] = [];
    if (content.unfinishedPath !== null) {
      await fs.removeFile(content.unfinishedPath);
      repairs.push(`${content.unfinishedPath}: removed a segment whose creation was interrupted`);
    }
    const open = await openSegment(place, last);
    const sealed = await orClose(open.file, () => mendEnd(place, content, open, repairs));
    const log = new SegmentedLog(place, sealed, open, options);
    repairs.push(...(await orClose(log, () => log.#finishInstall(content, snapshot))));
    return { log, repairs };
  }

  /**
   * What to do from now on when the disk is full. Until it is said, nothing waits for room: whoever starts a server
   * wants to be told. `compact` may be called meanwhile while `append` waits.
   */
  set whenFull(whenFull: WhenFull) {
    this.#whenFull = whenFull;
  }

  /** The index of the first entry, or of the one that will be. */
  get firstIndex(): LogIndex {
    return this.#sealed[0]?.firstIndex ?? this.#open.firstIndex;
  }

  /** The index of the last entry; firstIndex - 1 when the log has none. */
  get lastIndex(): LogIndex {
    return this.#open.firstIndex + this.#open.offsets.length - 1;
  }

  /** The term of the last entry, or of the one before the first when the log has none; 0: there is none. */
  get lastTerm(): Term {
    return this.#open.terms.at(-1) ?? this.#open.previousTerm;
  }

  /** The last entry up to `index`; null when there is none, or its term is in a sealed segment. */
  lastUpTo(index: LogIndex): SnapshotPosition | null {
    const { firstIndex, previousTerm, terms } = this.#open;
    const last = Math.min(index, this.lastIndex);
    if (last < this.firstIndex) return null;
    const term = last === firstIndex - 1 ? previousTerm : terms[last - firstIndex];
    return term === undefined ? null : { index: last, term };
  }

  /** On disk, headers and footers included. */
  get bytes(): number {
    return this.#sealed.reduce((sum, { bytes }) => sum + bytes, this.#open.file.size);
  }

  /** Puts entries that follow the last one at the end. Durable after `sync`. */
  async append(entries: readonly Entry<Command>[]): Promise<void> {
    for (let at = 0; at < entries.length;) {
      if (this.#isFull(this.#open.file.size)) await this.#roll();
      at = await this.#appendFrom(entries, at);
    }
  }

  /** Removes the entry at `from` and all after it, durably. `from` is `firstIndex` to `lastIndex`. */
  async truncate(from: LogIndex): Promise<void> {
    assert(
      from >= this.firstIndex && from <= this.lastIndex,
      `cannot truncate from ${from}, the log holds ${this.firstIndex} to ${this.lastIndex}`,
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

  /** Removes the segments, but the last, that hold nothing after `through`, durably. A snapshot stands for them. */
  async compact(through: LogIndex): Promise<void> {
    const { fs, directory } = this.#place;
    for (;;) {
      const [oldest] = this.#sealed;
      const next = this.#sealed[1] ?? this.#open;
      if (oldest === undefined || next.firstIndex > through + 1) return;
      await removeDurably(fs, directory, oldest.firstIndex);
      this.#sealed.shift();
    }
  }

  /**
   * Forgets all entries and goes on after the snapshot, durably. The snapshot is durable, and stands for an entry
   * that the log does not hold.
   */
  async install(snapshot: SnapshotPosition): Promise<void> {
    if (this.lastIndex >= this.firstIndex) await this.truncate(this.firstIndex);
    const { file, firstIndex } = this.#open;
    assert(
      firstIndex <= snapshot.index,
      `snapshot ${snapshot.index} is not ahead of the log's ${firstIndex}`,
    );
    this.#open = await createSegment(this.#place, this.#whenFull, snapshot);
    await file.close();
    await removeDurably(this.#place.fs, this.#place.directory, firstIndex);
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
  async #appendFrom(entries: readonly Entry<Command>[], at: number): Promise<number> {
    const { file, offsets, terms } = this.#open;
    let lines = "";
    let { size } = file;
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
    await appendUntilRoom(this.#whenFull, file, lines);
    assert(file.size === size, "the file is as long as its records");
    return next;
  }

  #isFull(size: number): boolean {
    return size >= this.#maxSegmentBytes && this.#open.offsets.length > 0;
  }

  async #roll(): Promise<void> {
    await this.sync();
    const { file, firstIndex } = this.#open;
    const base = { index: this.lastIndex, term: this.lastTerm };
    const next = await createSegment(this.#place, this.#whenFull, base);
    await appendUntilRoom(this.#whenFull, file, encodeFooter(next.firstIndex));
    await file.sync();
    await file.close();
    this.#sealed.push({ firstIndex, bytes: file.size });
    this.#open = next;
  }

  /** Ends what an interrupted install left to do. Returns what it did, one line each. */
  async #finishInstall(
    { supersededPath, installs }: LogContent,
    snapshot: SnapshotPosition,
  ): Promise<string[]> {
    const { fs, directory } = this.#place;
    if (supersededPath !== null) {
      await fs.removeFile(supersededPath);
      await fs.syncDirectory(directory);
      return [`${supersededPath}: removed a segment that a snapshot has replaced`];
    }
    if (!installs) return [];
    const { firstIndex, lastIndex } = this;
    await this.install(snapshot);
    const entries = lastIndex < firstIndex ? "which has no entries" : `entries ${firstIndex} to ${lastIndex}`;
    return [
      `${directory}: ended an interrupted install of snapshot ${snapshot.index}: removed the log, ${entries}`,
    ];
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

/** Makes the last segments as they should be, and durable. Returns the sealed ones, and adds to the repairs. */
async function mendEnd(
  { fs, directory }: LogPlace,
  content: LogContent,
  open: OpenSegment,
  repairs: string[],
): Promise<SealedSegment[]> {
  const last = defined(content.segments.at(-1), "a log has a segment");
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
  return sealed;
}

/** A new segment for the entries after `base`, without any, durable with its name. */
async function createSegment(
  place: LogPlace,
  whenFull: WhenFull,
  base: SnapshotPosition,
): Promise<OpenSegment> {
  const path = `${place.directory}/${segmentName(base.index + 1)}`;
  const file = await untilRoom(whenFull, () => place.fs.openAppend(path));
  return orClose(file, () => beginSegment(place, whenFull, base, file));
}

async function beginSegment(
  { fs, directory, owner }: LogPlace,
  whenFull: WhenFull,
  base: SnapshotPosition,
  file: AppendFile,
): Promise<OpenSegment> {
  const firstIndex = base.index + 1;
  const previousTerm = base.term;
  assert(file.size === 0, "a new segment's file did not exist");
  await appendUntilRoom(whenFull, file, encodeHeader(owner, firstIndex, previousTerm));
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
  await orClose(file, async () => {
    if (!full.sealed) {
      await file.truncate(full.end);
      file.append(encodeFooter(nextIndex));
    }
    await file.sync();
  });
  await file.close();
}

async function removeDurably(fs: FileSystem, directory: string, firstIndex: LogIndex): Promise<void> {
  await fs.removeFile(`${directory}/${segmentName(firstIndex)}`);
  await fs.syncDirectory(directory);
}
