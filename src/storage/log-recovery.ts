/** Reads a log from disk and judges it; changes nothing. SegmentedLog then makes the repairs it names. */
import type { RaftKvError } from "../base/errors.ts";
import type { Command } from "../kv/command.ts";
import type { Entry, LogIndex, Term } from "../raft/entry.ts";
import { ORIGIN, type SnapshotPosition } from "../raft/snapshot-position.ts";
import type { FileSystem } from "./file-system.ts";
import { corrupted, unusable } from "./refusal.ts";
import {
  decodeHeader,
  encodeHeader,
  isTornFooter,
  isTornHeader,
  scanEntries,
  type LogOwner,
} from "./segment.ts";
import { FORMAT, segmentFirstIndex, segmentName } from "./server-files.ts";

/** A good segment, as far as it is good. */
export interface SegmentContent {
  readonly path: string;
  readonly firstIndex: LogIndex;
  readonly previousTerm: Term;
  readonly entries: readonly Entry<Command>[];
  /** Where each entry's line starts, in bytes; parallel to `entries`. */
  readonly offsets: readonly number[];
  /** Where the good entries end, in bytes. */
  readonly end: number;
  /** Whether a footer follows `end`; then nothing else does. */
  readonly sealed: boolean;
  /** What follows `end` and is to be cut off, because a crash left it; 0 bytes mostly. */
  readonly tornBytes: number;
  /** Whether the torn bytes, of which there are some, can be the beginning of a footer. */
  readonly tornFooter: boolean;
}

/** The log as it is on disk. */
export interface LogContent {
  /**
   * Without a gap; at least one. All but the last are sealed; but if the last has no entries,
   * the footer of the one before it may be missing or torn, and is to be completed.
   */
  readonly segments: readonly SegmentContent[];
  /** A last segment whose creation a crash interrupted, to be removed first; null mostly. */
  readonly unfinishedPath: string | null;
  /** A segment without entries, which an interrupted install left before the others, to be removed; null mostly. */
  readonly supersededPath: string | null;
  /** Whether an install was interrupted before the log had given way to the snapshot, and is to be done again. */
  readonly installs: boolean;
}

/** What the log is held against. */
export interface LogSetting {
  readonly owner: LogOwner;
  /** What the state file says: no entry's term is larger. */
  readonly currentTerm: Term;
  /** Of the snapshot that counts; ORIGIN when there is none. */
  readonly snapshot: SnapshotPosition;
  /** What the state file says: an entry that the log holds, unless a snapshot stands for it; null: it does not say. */
  readonly logReaches: SnapshotPosition | null;
  /** What the state file says: the snapshot for which the log was given up; null: none. */
  readonly installing: SnapshotPosition | null;
}

/** How a segment continues the one before it. */
interface Place {
  readonly firstIndex: LogIndex;
  readonly previousTerm: Term;
}

/**
 * Reads the whole log in `directory`. Throws RaftKvError "corruption" with file and byte offset, or
 * "failedPrecondition" for another's log.
 */
export async function readLog(
  fs: FileSystem,
  directory: string,
  { owner, currentTerm, snapshot, logReaches, installing }: LogSetting,
): Promise<LogContent> {
  const givesWay = installing?.index === snapshot.index && installing.term === snapshot.term;
  const names = await segmentNames(fs, directory);
  const segments: SegmentContent[] = [];
  let unfinishedPath: string | null = null;
  let supersededPath: string | null = null;
  let place: Place | null = null;
  for (const [at, name] of names.entries()) {
    const path = `${directory}/${name}`;
    const bytes = await readWhole(fs, path);
    place ??= firstPlace(path, name, bytes, snapshot);
    const superseded = givesWay ? supersededSegment(names, segments, snapshot) : null;
    if (superseded !== null) place = { firstIndex: snapshot.index + 1, previousTerm: snapshot.term };
    requireName(path, name, place, segments.at(-1));
    const isLast = at === names.length - 1;
    // The state file came after the first segment, so that one was complete.
    if (isLast && at > 0 && isTornHeader(bytes, encodeHeader(owner, place.firstIndex, place.previousTerm))) {
      unfinishedPath = path;
      break;
    }
    const segment = readSegment(path, bytes, owner, place);
    if (superseded !== null) {
      requireUnused(segment, superseded);
      supersededPath = superseded.path;
      segments.length = 0;
    }
    place = placeAfter(segment);
    requireKnownTerm(path, place.previousTerm, currentTerm);
    segments.push(segment);
  }
  requireFooters(directory, segments, unfinishedPath);
  if (logReaches !== null && !givesWay) requireReach(segments, logReaches, "the state file says");
  const installs = givesWay && !reaches(segments, snapshot);
  if (!installs) requireReach(segments, snapshot, "the snapshot proves");
  return { segments, unfinishedPath, supersededPath, installs };
}

/** The log's entries, in one array. */
export function entriesOf({ segments }: LogContent): Entry<Command>[] {
  return segments.flatMap((segment) => segment.entries);
}

/** The entry before the first one of the log. */
export function baseOf({ segments }: LogContent): SnapshotPosition {
  const [first] = segments;
  return first === undefined ? ORIGIN : { index: first.firstIndex - 1, term: first.previousTerm };
}

/** Reads one segment that was good when the log was opened. Throws RaftKvError "corruption" if it no longer is. */
export async function rereadSegment(
  fs: FileSystem,
  path: string,
  owner: LogOwner,
  firstIndex: LogIndex,
): Promise<SegmentContent> {
  const bytes = await readWhole(fs, path);
  const previousTerm = decodeHeader(bytes)?.header.previousTerm ?? 0;
  const segment = readSegment(path, bytes, owner, { firstIndex, previousTerm });
  if (!segment.sealed) throw corrupted(path, segment.end, "the segment is cut short");
  return segment;
}

/** The names of the segments, as the log runs. */
async function segmentNames(fs: FileSystem, directory: string): Promise<readonly string[]> {
  const names = (await fs.listDirectory(directory)) ?? [];
  const segments = names.filter((name) => segmentFirstIndex(name) !== null);
  if (segments.length > 0) return segments;
  throw unusable(
    directory,
    "the log is missing, but its state file is there; restore the directory from a copy",
  );
}

/** Where the log may begin: with the first entry or, where a snapshot stands for what is gone, up to the one after it. */
function firstPlace(path: string, name: string, bytes: Buffer, snapshot: SnapshotPosition): Place {
  const firstIndex = segmentFirstIndex(name) ?? 1;
  if (firstIndex === 1) return { firstIndex, previousTerm: 0 };
  if (firstIndex > snapshot.index + 1) {
    const known = snapshot.index === 0 ? "there is no snapshot" : `the snapshot ends with ${snapshot.index}`;
    const missing = segmentName(snapshot.index + 1);
    throw corrupted(
      path,
      null,
      `the log begins with entry ${firstIndex}, but ${known}: ${missing} is missing`,
    );
  }
  if (firstIndex === snapshot.index + 1) return { firstIndex, previousTerm: snapshot.term };
  return { firstIndex, previousTerm: decodeHeader(bytes)?.header.previousTerm ?? 0 };
}

/**
 * The segment read so far, if an install has put the one right after the snapshot in its place: it begins
 * earlier and has no entries left. A roll never leaves such a pair, for it needs an entry.
 */
function supersededSegment(
  names: readonly string[],
  segments: readonly SegmentContent[],
  snapshot: SnapshotPosition,
): SegmentContent | null {
  const [first] = segments;
  if (names.length !== 2 || names[1] !== segmentName(snapshot.index + 1) || first === undefined) return null;
  const isEmpty = first.entries.length === 0 && first.tornBytes === 0 && !first.sealed;
  return isEmpty && first.firstIndex <= snapshot.index ? first : null;
}

/** The superseded segment is removed, durably, before an entry follows the snapshot. */
function requireUnused(segment: SegmentContent, superseded: SegmentContent): void {
  if (segment.entries.length === 0 && segment.tornBytes === 0) return;
  throw corrupted(superseded.path, null, `the segment has no entries, but ${segment.path} is in use already`);
}

function requireKnownTerm(path: string, term: Term, currentTerm: Term): void {
  if (term <= currentTerm) return;
  throw corrupted(path, null, `holds term ${term}, but the state file knows only ${currentTerm}`);
}

/** Refuses a log that has lost its end: `witness` tells that it was longer. */
function requireReach(
  segments: readonly SegmentContent[],
  position: SnapshotPosition,
  witness: string,
): void {
  const last = segments.at(-1);
  if (last === undefined || reaches(segments, position)) return;
  const { index, term } = position;
  throw corrupted(
    last.path,
    last.end,
    `entry ${index} of term ${term} is not in the log, but ${witness} that it was durable`,
  );
}

/** Whether the log holds the entry, or begins after it. */
function reaches(segments: readonly SegmentContent[], { index, term }: SnapshotPosition): boolean {
  const segment = segments.findLast(({ firstIndex }) => firstIndex <= index);
  if (segment === undefined) return true;
  return segment.entries[index - segment.firstIndex]?.term === term;
}

/** Refuses a log in which a footer is missing that must be there, or is there without what it proves. */
function requireFooters(
  directory: string,
  segments: readonly SegmentContent[],
  unfinishedPath: string | null,
): void {
  for (const [at, segment] of segments.entries()) {
    const next = segments[at + 1];
    if (next !== undefined) requireFooter(segment, next);
    else if (unfinishedPath !== null) requireUnsealed(segment, unfinishedPath);
    else if (segment.sealed) throw missingAfter(directory, segment);
  }
}

/** A footer is durable before the next segment gets its first entry; until then a crash may leave a part of it. */
function requireFooter(segment: SegmentContent, next: SegmentContent): void {
  if (segment.sealed) return;
  if (segment.tornBytes > 0 && !segment.tornFooter) throw cutShort(segment);
  if (next.entries.length === 0 && next.tornBytes === 0) return;
  throw corrupted(
    segment.path,
    segment.end,
    "the footer is missing or cut short, but later segments are in use",
  );
}

/** The next segment is durable before the footer is written. */
function requireUnsealed(segment: SegmentContent, unfinishedPath: string): void {
  if (segment.tornBytes > 0) throw cutShort(segment);
  if (!segment.sealed) return;
  throw corrupted(
    unfinishedPath,
    0,
    `the segment's header is damaged; the footer of ${segment.path} proves that it was durable`,
  );
}

function missingAfter(directory: string, segment: SegmentContent): RaftKvError {
  const path = `${directory}/${segmentName(placeAfter(segment).firstIndex)}`;
  return corrupted(
    path,
    null,
    `the segment is missing; the footer of ${segment.path} proves that it existed`,
  );
}

function cutShort({ path, end }: SegmentContent): RaftKvError {
  return corrupted(path, end, "the segment is cut short, but later ones exist");
}

/** Where the segment after this one starts. */
function placeAfter(segment: SegmentContent): Place {
  return {
    firstIndex: segment.firstIndex + segment.entries.length,
    previousTerm: segment.entries.at(-1)?.term ?? segment.previousTerm,
  };
}

function requireName(
  path: string,
  name: string,
  { firstIndex }: Place,
  previous: SegmentContent | undefined,
): void {
  const found = segmentFirstIndex(name);
  if (found === firstIndex) return;
  if (previous !== undefined && previous.tornBytes > 0) throw cutShort(previous);
  throw corrupted(path, null, `entry ${firstIndex} should come next: ${segmentName(firstIndex)} is missing`);
}

async function readWhole(fs: FileSystem, path: string): Promise<Buffer> {
  const data = await fs.readFile(path);
  if (data === null) throw corrupted(path, null, "the file has vanished");
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}

function readSegment(path: string, bytes: Buffer, owner: LogOwner, place: Place): SegmentContent {
  const start = requireHeader(path, bytes, owner, place);
  const scan = scanEntries(bytes, start, place.firstIndex, place.previousTerm);
  const { entries, offsets, end, sealed, damage } = scan;
  if (damage?.kind === "corrupt") throw corrupted(path, damage.offset, damage.what);
  const tornBytes = sealed ? 0 : bytes.length - end;
  const tornFooter = tornBytes > 0 && isTornFooter(bytes, end, place.firstIndex + entries.length);
  return { path, ...place, entries, offsets, end, sealed, tornBytes, tornFooter };
}

/** Where the entries start, once the header is known to be right. */
function requireHeader(path: string, bytes: Buffer, owner: LogOwner, place: Place): number {
  const decoded = decodeHeader(bytes);
  if (decoded === null) throw corrupted(path, 0, "the segment's header is damaged");
  const { header, end } = decoded;
  if (header.format !== FORMAT) {
    throw unusable(path, `has format ${header.format}; this version of raftkv reads format ${FORMAT}`);
  }
  if (header.clusterId !== owner.clusterId) {
    throw unusable(
      path,
      `belongs to cluster ${header.clusterId}, the state file to cluster ${owner.clusterId}`,
    );
  }
  if (header.serverId !== owner.serverId) {
    throw unusable(path, `belongs to server ${header.serverId}, not to server ${owner.serverId}`);
  }
  if (header.firstIndex !== place.firstIndex) {
    throw corrupted(path, 0, `the header says that entry ${header.firstIndex} comes first`);
  }
  if (header.previousTerm !== place.previousTerm) {
    throw corrupted(
      path,
      0,
      `follows term ${header.previousTerm}, but the log before it ends in ${place.previousTerm}`,
    );
  }
  return end;
}
