/** What one segment of a log holds and where it is damaged, without regard to the files around it. */
import type { Command } from "../kv/command.ts";
import type { Configuration } from "../raft/configuration.ts";
import type { Entry, LogIndex, Term } from "../raft/entry.ts";
import type { FileSystem } from "./file-system.ts";
import type { Damage } from "./refusal.ts";
import { decodeRecord } from "./log-record.ts";
import { decodeHeader, scanEntries, type LogOwner, type SegmentHeader, type SegmentScan } from "./segment.ts";
import { FORMAT, segmentFirstIndex } from "./server-files.ts";

export interface SegmentInspection {
  readonly kind: "segment";
  readonly path: string;
  readonly bytes: number;
  /** The index that the name says, of the first entry. */
  readonly firstIndex: LogIndex;
  /** Of the entry before it; null when the header is damaged. */
  readonly previousTerm: Term | null;
  /** Of the last good entry; `firstIndex` - 1 when there is none. */
  readonly lastIndex: LogIndex;
  /** Of the last good entry, or else `previousTerm`. */
  readonly lastTerm: Term | null;
  /** The latest configuration among its good entries; null: none is. */
  readonly members: Configuration | null;
  /** Whether a footer says which segment comes next. */
  readonly sealed: boolean;
  /** Bytes at the end that look like a write that a crash cut short. */
  readonly tornBytes: number;
  readonly damage: readonly Damage[];
}

const NEWLINE = 0x0a;

/**
 * Reads the whole file and every checksum in it. `owner`: whose log it is to be, null when that is not known.
 * null: the file has gone since it was listed. Rejects with RaftKvError "io".
 */
export async function inspectSegment(
  fs: FileSystem,
  path: string,
  owner: LogOwner | null,
): Promise<SegmentInspection | null> {
  const data = await fs.readFile(path);
  if (data === null) return null;
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const firstIndex = segmentFirstIndex(path.slice(path.lastIndexOf("/") + 1)) ?? 1;
  const decoded = decodeHeader(bytes);
  const header = decoded?.header ?? null;
  const start = decoded?.end ?? lineEnd(bytes, 0);
  const scan = scanEntries(bytes, start, header?.firstIndex ?? firstIndex, header?.previousTerm ?? 0);
  const headerFaults = faultsOf(header, firstIndex, owner);
  return {
    kind: "segment",
    path,
    bytes: bytes.length,
    firstIndex,
    previousTerm: header?.previousTerm ?? null,
    lastIndex: firstIndex + scan.entries.length - 1,
    lastTerm: scan.entries.at(-1)?.term ?? header?.previousTerm ?? null,
    members: latestConfiguration(scan.entries),
    sealed: scan.sealed,
    tornBytes: scan.damage?.kind === "torn" ? bytes.length - scan.end : 0,
    damage: [...headerFaults.map((what) => ({ path, offset: 0, what })), ...entryDamage(path, bytes, scan)],
  };
}

function latestConfiguration(entries: readonly Entry<Command>[]): Configuration | null {
  const payload = entries.findLast((entry) => entry.payload.kind === "configuration")?.payload;
  return payload?.kind === "configuration" ? payload.configuration : null;
}

function faultsOf(
  header: SegmentHeader | null,
  firstIndex: LogIndex,
  owner: LogOwner | null,
): readonly string[] {
  if (header === null) return ["the segment's header is damaged"];
  const faults: string[] = [];
  if (header.format !== FORMAT) faults.push(`has format ${header.format}, and this raftkv reads ${FORMAT}`);
  if (header.firstIndex !== firstIndex)
    faults.push(`the header says that entry ${header.firstIndex} comes first`);
  if (owner !== null && header.clusterId !== owner.clusterId) {
    faults.push(`belongs to cluster ${header.clusterId}, not to ${owner.clusterId}`);
  }
  if (owner !== null && header.serverId !== owner.serverId) {
    faults.push(`belongs to server ${header.serverId}, not to server ${owner.serverId}`);
  }
  return faults;
}

/** The first damage, as recovery judges it, and every line behind it whose checksum is wrong. */
function entryDamage(path: string, bytes: Buffer, { damage }: SegmentScan): readonly Damage[] {
  if (damage === null || damage.kind === "torn") return [];
  const found: Damage[] = [{ path, offset: damage.offset, what: damage.what }];
  for (let start = lineEnd(bytes, damage.offset); start < bytes.length; start = lineEnd(bytes, start)) {
    const end = lineEnd(bytes, start);
    const isLine = bytes[end - 1] === NEWLINE;
    if (isLine && decodeRecord(bytes, start, end - 1) !== null) continue;
    const what = isLine ? "the checksum does not match" : "the file ends in mid-record";
    found.push({ path, offset: start, what: `${what}; another record behind the damage` });
  }
  return found;
}

/** Where the line that begins at `start` ends, its newline included. */
function lineEnd(bytes: Buffer, start: number): number {
  const newline = bytes.indexOf(NEWLINE, start);
  return newline === -1 ? bytes.length : newline + 1;
}
