/** Reads a log from disk and judges it; changes nothing. SegmentedLog then makes the repairs it names. */
import type { RaftKvError } from "../base/errors.ts";
import type { Command } from "../kv/command.ts";
import type { Entry, LogIndex, Term } from "../raft/entry.ts";
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
   * From index 1, without a gap; at least one. All but the last are sealed; but if the last has no entries,
   * the footer of the one before it may be missing or torn, and is to be completed.
   */
  readonly segments: readonly SegmentContent[];
  /** A last segment whose creation a crash interrupted, to be removed; null mostly. */
  readonly unfinishedPath: string | null;
}

/** How a segment continues the one before it. */
interface Place {
  readonly firstIndex: LogIndex;
  readonly previousTerm: Term;
}

/**
 * Reads the whole log in `directory`. `currentTerm` is what the state file says: no entry's term is larger.
 * Throws RaftKvError "corruption" with file and byte offset, or "failedPrecondition" for another's log.
 */
export async function readLog(
  fs: FileSystem,
  directory: string,
  owner: LogOwner,
  currentTerm: Term,
): Promise<LogContent> {
  const names = ((await fs.listDirectory(directory)) ?? []).filter(
    (name) => segmentFirstIndex(name) !== null,
  );
  if (names.length === 0) {
    throw unusable(
      directory,
      "the log is missing, but its state file is there; restore the directory from a copy",
    );
  }
  const segments: SegmentContent[] = [];
  let unfinishedPath: string | null = null;
  let place: Place = { firstIndex: 1, previousTerm: 0 };
  for (const [at, name] of names.entries()) {
    const path = `${directory}/${name}`;
    requireName(path, name, place, segments.at(-1));
    const bytes = await readWhole(fs, path);
    const isLast = at === names.length - 1;
    // The state file came after the first segment, so that one was complete.
    if (isLast && at > 0 && isTornHeader(bytes, encodeHeader(owner, place.firstIndex, place.previousTerm))) {
      unfinishedPath = path;
      break;
    }
    const segment = readSegment(path, bytes, owner, place);
    place = placeAfter(segment);
    if (place.previousTerm > currentTerm) {
      throw corrupted(
        path,
        null,
        `holds term ${place.previousTerm}, but the state file knows only ${currentTerm}`,
      );
    }
    segments.push(segment);
  }
  requireFooters(directory, segments, unfinishedPath);
  return { segments, unfinishedPath };
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
