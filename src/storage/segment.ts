/**
 * One file of the log: a header line, then the entries from `firstIndex` on, a line each (log-record.ts),
 * and, once the segment is full and the next one is durable, a footer that nothing may follow.
 *
 *   <crc> {"format":1,"clusterId":"…","serverId":0,"firstIndex":1,"previousTerm":0}
 *   <crc> {"index":1,"term":1,"synced":0,"kind":"noop"}
 *   …
 *   <crc> {"sealed":true,"nextIndex":9}
 *
 * Here is the judgement that recovery rests on: whether a place that does not read back is a *torn write*
 * (the last write, which nobody was told of, stopped half-way: cut it off) or *corruption* (something that
 * was once complete is not what was written: refuse). It is a torn write only if nothing proves that it was
 * durable and it looks as a power loss leaves it: the file ends in mid-line, or the line holds a sector that
 * was never written, which reads as NULs. Our records never hold a NUL, and one flipped bit makes no sector.
 *
 * What cannot be told apart: acknowledged records at the very end of the last segment, written by the last
 * sync, that the disk lost as whole sectors. No file can prove its own end; a footer proves the next file.
 */
import { z } from "zod";

import type { Command } from "../kv/command.ts";
import type { Entry, LogIndex, ServerId, Term } from "../raft/entry.ts";
import {
  decodeEntry,
  decodeFooter,
  decodeRecord,
  encodeFooter,
  encodeRecord,
  unknownKind,
} from "./log-record.ts";
import { FORMAT } from "./server-files.ts";

/** What a disk writes whole or not at all, in bytes. */
export const SECTOR_BYTES = 512;

const headerShape = z.object({
  format: z.int(),
  clusterId: z.string(),
  serverId: z.int().min(0),
  firstIndex: z.int().min(1),
  previousTerm: z.int().min(0),
});

const NEWLINE = 0x0a;
const NUL = 0;

/** Whose log it is. */
export interface LogOwner {
  readonly clusterId: string;
  readonly serverId: ServerId;
}

/** What stands before a segment's entries. */
export interface SegmentHeader extends LogOwner {
  readonly format: number;
  readonly firstIndex: LogIndex;
  /** The term of the entry before `firstIndex`; 0 when there is none. */
  readonly previousTerm: Term;
}

/** A place where the segment stops being readable. */
interface Damage {
  readonly kind: "torn" | "corrupt";
  /** Of the damaged line, in bytes. */
  readonly offset: number;
  readonly what: string;
}

/** The good part of a segment. */
export interface SegmentScan {
  readonly entries: readonly Entry<Command>[];
  /** Where each entry's line starts, in bytes; parallel to `entries`. */
  readonly offsets: readonly number[];
  /** Where the good entries end, in bytes. */
  readonly end: number;
  /** Whether a footer ends the segment. */
  readonly sealed: boolean;
  /** null: the good entries, and the footer if it is sealed, are all there is. */
  readonly damage: Damage | null;
}

/** The header line of a new segment. */
export function encodeHeader(owner: LogOwner, firstIndex: LogIndex, previousTerm: Term): string {
  const { clusterId, serverId } = owner;
  return encodeRecord(JSON.stringify({ format: FORMAT, clusterId, serverId, firstIndex, previousTerm }));
}

/** The header of any format that still has ours; null when it is damaged. `end` is where the entries start. */
export function decodeHeader(bytes: Buffer): { readonly header: SegmentHeader; readonly end: number } | null {
  const newline = bytes.indexOf(NEWLINE);
  if (newline === -1) return null;
  const json = decodeRecord(bytes, 0, newline);
  if (json === null) return null;
  const header = parseHeader(json);
  return header === null ? null : { header, end: newline + 1 };
}

/**
 * Whether the file is what a crash leaves of a segment that was being created, whose header was to be
 * `expected`: a part of it, some sectors never written. The header is durable before any entry follows.
 */
export function isTornHeader(bytes: Buffer, expected: string): boolean {
  const whole = Buffer.from(expected);
  if (bytes.length > whole.length || bytes.equals(whole)) return false;
  return isPartlyWritten(bytes, 0, whole);
}

/** Whether what stands from byte `start` on is what a crash leaves of a footer that was being written. */
export function isTornFooter(bytes: Buffer, start: number, nextIndex: LogIndex): boolean {
  const whole = Buffer.from(encodeFooter(nextIndex));
  return bytes.length - start <= whole.length && isPartlyWritten(bytes, start, whole);
}

/** Reads the entries from byte `start` on, and the footer; the first entry is to have index `firstIndex`. */
export function scanEntries(
  bytes: Buffer,
  start: number,
  firstIndex: LogIndex,
  previousTerm: Term,
): SegmentScan {
  const entries: Entry<Command>[] = [];
  const offsets: number[] = [];
  let term = previousTerm;
  let offset = start;
  let sealed = false;
  let damage: Damage | null = null;
  while (offset < bytes.length && damage === null && !sealed) {
    const newline = bytes.indexOf(NEWLINE, offset);
    const record = newline === -1 ? null : decodeEntry(bytes, offset, newline);
    const index = firstIndex + entries.length;
    if (record === null) {
      sealed = offset > start && endsInFooter(bytes, offset, index);
      damage = sealed ? null : judge(bytes, offset, index);
    } else if (record.entry.index !== index) {
      damage = { kind: "corrupt", offset, what: `entry ${record.entry.index} stands where ${index} belongs` };
    } else if (record.entry.term < term) {
      damage = { kind: "corrupt", offset, what: `the term falls from ${term} to ${record.entry.term}` };
    } else {
      entries.push(record.entry);
      offsets.push(offset);
      term = record.entry.term;
      offset = newline + 1;
    }
  }
  return { entries, offsets, end: offset, sealed, damage };
}

/** Whether the footer that names `nextIndex` is all that stands from `offset` on. */
function endsInFooter(bytes: Buffer, offset: number, nextIndex: LogIndex): boolean {
  return bytes.subarray(offset).equals(Buffer.from(encodeFooter(nextIndex)));
}

/** What is wrong with the line at `offset`, which was to hold the entry `index` and does not read back. */
function judge(bytes: Buffer, offset: number, index: LogIndex): Damage {
  const corrupt = (what: string): Damage => ({ kind: "corrupt", offset, what });
  const torn = (what: string): Damage => ({ kind: "torn", offset, what });
  const newline = bytes.indexOf(NEWLINE, offset);
  const nextIndex = newline === -1 ? null : decodeFooter(bytes, offset, newline);
  if (nextIndex === index && newline + 1 < bytes.length) return corrupt("something follows the footer");
  if (nextIndex !== null) return corrupt(`a footer before entry ${nextIndex} stands where ${index} belongs`);
  if (provenSynced(bytes, offset) >= index) {
    return corrupt(`entry ${index} is damaged, and a later record proves that it was durable`);
  }
  const end = newline === -1 ? bytes.length : newline + 1;
  if (holdsUnwrittenSector(bytes, offset, end)) return torn("sectors were never written");
  const kind = newline === -1 ? null : unknownKind(bytes, offset, newline);
  if (kind !== null)
    return corrupt(`entry ${index} is a ${kind}, which this version of raftkv does not know`);
  if (newline !== -1) return corrupt(`entry ${index} is complete, but its checksum or content is wrong`);
  if (decodeEntry(bytes, offset, end - 1) !== null || decodeFooter(bytes, offset, end - 1) !== null) {
    return corrupt("the last record is complete, but its newline is damaged");
  }
  return torn("the file ends in mid-record");
}

/** The largest index that any good record from `offset` on says was durable before it; -1 when none does. */
function provenSynced(bytes: Buffer, offset: number): LogIndex {
  let proven = -1;
  for (let start = offset; start < bytes.length;) {
    const newline = bytes.indexOf(NEWLINE, start);
    if (newline === -1) break;
    // A lost sector swallows the newline before the next record: look for that record behind the NULs.
    const lastNul = bytes.subarray(start, newline).lastIndexOf(NUL);
    const recordStart = start + lastNul + 1;
    const record = decodeEntry(bytes, recordStart, newline);
    const nextIndex = record === null ? decodeFooter(bytes, recordStart, newline) : null;
    proven = Math.max(proven, record?.synced ?? -1, (nextIndex ?? 0) - 1);
    start = newline + 1;
  }
  return proven;
}

/**
 * Whether some sector, from `start` or its own beginning to its own end or the file's, is all NUL. A lost
 * sector that holds a line's first byte holds the newline before it too, unless the write began there.
 */
function holdsUnwrittenSector(bytes: Buffer, start: number, end: number): boolean {
  for (let from = start; from < end;) {
    const sectorEnd = (Math.floor(from / SECTOR_BYTES) + 1) * SECTOR_BYTES;
    if (isUnwritten(bytes, from, Math.min(sectorEnd, bytes.length))) return true;
    from = sectorEnd;
  }
  return false;
}

/** Whether every sector of what stands from `start` on is as in `whole`, or was never written. */
function isPartlyWritten(bytes: Buffer, start: number, whole: Buffer): boolean {
  for (let from = start; from < bytes.length;) {
    const end = Math.min((Math.floor(from / SECTOR_BYTES) + 1) * SECTOR_BYTES, bytes.length);
    const written = bytes.subarray(from, end).equals(whole.subarray(from - start, end - start));
    if (!written && !isUnwritten(bytes, from, end)) return false;
    from = end;
  }
  return true;
}

function isUnwritten(bytes: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    if (bytes[at] !== NUL) return false;
  }
  return true;
}

function parseHeader(json: string): SegmentHeader | null {
  try {
    const parsed = headerShape.safeParse(JSON.parse(json));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}
