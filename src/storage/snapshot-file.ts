/**
 * A snapshot file: the whole state at one position of the log (Raft §7). It is one JSON array, an element a line,
 *
 *   [["5f6c2c1e",{"snapshot":1,"clusterId":"…","index":812,"term":7,"servers":[0,1,2]}]
 *   ,["0a1b2c3d",{"retryCapacity":65536,"sessionCapacity":1024,"expiredSessions":0}]
 *   ,["…",{"data":["k1","v1","k2","v2"]}]
 *   ,["…",{"requests":["1/9","<fingerprint>",44]}]
 *   ,["…",{"routedCalls":["4/7",45]}]
 *   ,["…",{"sessions":["4",7,7,0,0,45]}]
 *   ,["…",{"end":{"sections":5,"checksum":"<CRC-32 of every byte before this line>"}}]
 *   ]
 *
 * each element [<CRC-32 of the JSON text of its second member, 8 lowercase hex digits>, <member>]: a header, the
 * sections of kv/kv-state.ts, and an end that counts them. In the header "members" stands in the place of "servers"
 * where that says too little (member-list.ts). "snapshot" is the version of the format; the first line keeps its
 * shape in every version. There is one way to write a file, so whatever else stands in it, also a blank, is damage.
 *
 * Order. The file is written from its start under another name (snapshot-writer.ts), synced, and only then given
 * its own: a file called snapshot-<index>.json was whole and durable. So there is no torn write to be told from
 * corruption here, and nothing to mend: any damage means that it is refused as a whole.
 *   crash while it is written, or before the rename is durable   a left-over under the other name, worth nothing
 *   crash after that                                             the whole file
 *
 * What damage looks like, and where it is said to be (the offset of the first line that is not what was written):
 *   empty, or the first line is not a header     at byte 0
 *   flipped bits, overwritten or zeroed parts    the line's checksum, or its frame around it
 *   cut off, at a line's end or within one       the file ends before its end
 *   lines swapped, repeated, left out            the end's checksum or count
 *   something after the end                      the first such byte
 *   a newer version's                            "snapshot" says another number: unusable, not damaged
 */
import { crc32 } from "node:zlib";

import { z } from "zod";

import { assert } from "../base/assert.ts";
import type { Configuration } from "../raft/configuration.ts";
import type { SnapshotPosition } from "../raft/snapshot-position.ts";
import { checksumText } from "./log-record.ts";
import { decodeMembers, encodeMembers, isOrdered, membersShape, serversShape } from "./member-list.ts";

/** The version of the format. */
const SNAPSHOT_FORMAT = 1;

/** What a snapshot belongs to and stands for. */
export interface SnapshotHeader {
  readonly clusterId: string;
  readonly position: SnapshotPosition;
  /** Who belongs to the cluster at that position; never empty. */
  readonly configuration: Configuration;
}

/** Why a file is not a good snapshot. */
export interface SnapshotDamage {
  /** "unusable": whole as far as was read, but of another version. */
  readonly kind: "corrupt" | "unusable";
  /** Where the first line begins that is not what was written, in bytes. */
  readonly offset: number;
  readonly what: string;
}

/**
 * No line is longer, in bytes: so looking for one's end needs no more memory than this, whatever the file is.
 * The largest key and value that can be configured, each byte of them escaped, fit in twice over.
 */
const MAX_LINE_BYTES = 64 * 1024 * 1024;
const MAX_HEADER_BYTES = 64 * 1024;

const FIRST = "[[";
const NEXT = ",[";
/** `,["5f6c2c1e",` */
const PREFIX_BYTES = 13;
const SUFFIX = "]\n";
/** How the payload of the end begins. */
const END = '{"end":';
const CLOSING = "]\n";
const NEWLINE = 0x0a;

const headerShape = z.strictObject({
  snapshot: z.literal(SNAPSHOT_FORMAT),
  clusterId: z.string().min(1),
  index: z.int().min(1),
  term: z.int().min(1),
  servers: serversShape.optional(),
  members: membersShape.min(1).optional(),
});
const versionShape = z.object({ snapshot: z.int() });
const endShape = z.strictObject({ end: z.strictObject({ sections: z.int().min(0), checksum: z.string() }) });

/** The first line. */
export function encodeHeaderLine({ clusterId, position, configuration }: SnapshotHeader): Uint8Array {
  assert(configuration.length > 0 && isOrdered(configuration), "a configuration has members, in order");
  const { index, term } = position;
  const header = { snapshot: SNAPSHOT_FORMAT, clusterId, index, term, ...encodeMembers(configuration) };
  const line = encodeLine(FIRST, JSON.stringify(header));
  assert(line.length <= MAX_HEADER_BYTES, "a header fits in what a reader takes");
  return line;
}

/** The line for a section of the state. */
export function encodeSectionLine(section: string): Uint8Array {
  assert(!section.includes("\n"), "a section is one line");
  return encodeLine(NEXT, section);
}

/** The last lines. `checksum` is the CRC-32 of all the bytes before them, `sections` the number of sections. */
export function encodeEnd(sections: number, checksum: number): Uint8Array {
  const end = { sections, checksum: checksumText(checksum) };
  return Buffer.concat([encodeLine(NEXT, JSON.stringify({ end })), Buffer.from(CLOSING)]);
}

/** Who is told what a file holds, in its order. */
export interface SnapshotSink {
  header(header: SnapshotHeader): void;
  /** Returns why the section cannot be what was written; null when it can. */
  section(section: string): string | null;
  /** Everything was told. Returns why something must be missing; null when it need not. */
  end(): string | null;
}

/**
 * Reads a snapshot file piece by piece and finds the first thing that is not what was written. It holds one
 * line at a time. After damage nothing more is read.
 */
export class SnapshotDecoder {
  readonly #sink: SnapshotSink;
  #expected: "header" | "section" | "closing" | "nothing" = "header";
  /** The beginning of a line of which the rest has not come yet, as it came: it is joined once. */
  #rest: Uint8Array[] = [];
  /** Of `#rest`, in bytes. */
  #restBytes = 0;
  /** Where `#rest` stands in the file. */
  #offset = 0;
  /** Of every byte before `#rest`. */
  #checksum = 0;
  #sections = 0;
  #damage: SnapshotDamage | null = null;

  constructor(sink: SnapshotSink) {
    this.#sink = sink;
  }

  /** CRC-32 of what was read; after `finish` without damage, of the whole file. */
  get checksum(): number {
    return this.#checksum;
  }

  /** Takes the next bytes of the file, which must not change any more. Returns the damage that is known by now; null: none. */
  push(bytes: Uint8Array): SnapshotDamage | null {
    for (let start = 0; start < bytes.length && this.#damage === null;) {
      const newline = bytes.indexOf(NEWLINE, start);
      const end = newline === -1 ? bytes.length : newline + 1;
      this.#rest.push(bytes.subarray(start, end));
      this.#restBytes += end - start;
      start = end;
      if (newline !== -1) this.#damage = this.#take(this.#joinRest());
    }
    if (this.#damage === null) this.#damage = this.#judgeRest();
    return this.#damage;
  }

  /** No bytes follow. Returns the damage; null: the file is whole. */
  finish(): SnapshotDamage | null {
    if (this.#damage !== null || this.#expected === "nothing") return this.#damage;
    if (this.#offset + this.#restBytes === 0) return corrupt(0, "the file is empty");
    return corrupt(
      this.#offset,
      this.#restBytes > 0 ? "the file ends within this line" : "the file ends here, before its end",
    );
  }

  /** The line that has just come to its end. */
  #joinRest(): Buffer {
    const line = Buffer.concat(this.#rest, this.#restBytes);
    this.#rest = [];
    this.#restBytes = 0;
    return line;
  }

  /** What can be said of a line before its end has come, so that a foreign file is not read to its end first. */
  #judgeRest(): SnapshotDamage | null {
    const length = this.#restBytes;
    if (length === 0) return null;
    if (this.#expected === "nothing") return corrupt(this.#offset, "something follows the end");
    const tooLong = length > (this.#expected === "header" ? MAX_HEADER_BYTES : MAX_LINE_BYTES);
    return tooLong ? this.#misshapen() : null;
  }

  /** Reads one line, its newline included. */
  #take(line: Buffer): SnapshotDamage | null {
    const damage = this.#expected === "closing" ? this.#takeClosing(line) : this.#takeElement(line);
    if (damage !== null) return damage;
    this.#checksum = crc32(line, this.#checksum);
    this.#offset += line.length;
    return null;
  }

  #takeClosing(line: Buffer): SnapshotDamage | null {
    if (line.toString("latin1") !== CLOSING) return this.#misshapen();
    this.#expected = "nothing";
    return null;
  }

  #takeElement(line: Buffer): SnapshotDamage | null {
    if (this.#expected === "nothing") return corrupt(this.#offset, "something follows the end");
    const payload = decodeLine(line, this.#expected === "header" ? FIRST : NEXT);
    if (payload === null) return this.#misshapen();
    if (this.#expected === "header") return this.#takeHeader(payload);
    return payload.startsWith(END) ? this.#takeEnd(payload) : this.#takeSection(payload);
  }

  #takeHeader(payload: string): SnapshotDamage | null {
    const value = parseJson(payload);
    const version = versionShape.safeParse(value);
    if (version.success && version.data.snapshot !== SNAPSHOT_FORMAT) {
      const what = `has format ${version.data.snapshot}; this version of raftkv reads snapshots of format ${SNAPSHOT_FORMAT}`;
      return { kind: "unusable", offset: 0, what };
    }
    const parsed = headerShape.safeParse(value);
    if (!parsed.success) return this.#misshapen();
    const { clusterId, index, term } = parsed.data;
    const configuration = decodeMembers(parsed.data);
    if (configuration === null) return this.#misshapen();
    this.#sink.header({ clusterId, position: { index, term }, configuration });
    this.#expected = "section";
    return null;
  }

  #takeSection(payload: string): SnapshotDamage | null {
    this.#sections += 1;
    const why = this.#sink.section(payload);
    return why === null ? null : corrupt(this.#offset, why);
  }

  #takeEnd(payload: string): SnapshotDamage | null {
    const parsed = endShape.safeParse(parseJson(payload));
    if (!parsed.success) return this.#misshapen();
    const { sections, checksum } = parsed.data.end;
    if (sections !== this.#sections) {
      return corrupt(this.#offset, `the file should have ${sections} sections, not ${this.#sections}`);
    }
    if (checksum !== checksumText(this.#checksum)) {
      return corrupt(this.#offset, "the checksum of the whole file does not match");
    }
    const why = this.#sink.end();
    if (why !== null) return corrupt(this.#offset, why);
    this.#expected = "closing";
    return null;
  }

  #misshapen(): SnapshotDamage {
    return corrupt(
      this.#offset,
      this.#expected === "header"
        ? "this is not a snapshot, or its first line is damaged"
        : "this line is not what was written",
    );
  }
}

function corrupt(offset: number, what: string): SnapshotDamage {
  return { kind: "corrupt", offset, what };
}

function encodeLine(opening: string, payload: string): Buffer {
  const payloadEnd = PREFIX_BYTES + Buffer.byteLength(payload);
  const line = Buffer.allocUnsafe(payloadEnd + SUFFIX.length);
  assert(line.length <= MAX_LINE_BYTES, "a line fits in what a reader takes");
  line.write(payload, PREFIX_BYTES);
  line.write(prefixOf(opening, line.subarray(PREFIX_BYTES, payloadEnd)), "latin1");
  line.write(SUFFIX, payloadEnd, "latin1");
  return line;
}

/** The payload of a line that is as encodeLine makes it; null for any other. */
function decodeLine(line: Buffer, opening: string): string | null {
  const payloadEnd = line.length - SUFFIX.length;
  if (payloadEnd <= PREFIX_BYTES || line.toString("latin1", payloadEnd) !== SUFFIX) return null;
  const payload = line.subarray(PREFIX_BYTES, payloadEnd);
  return line.toString("latin1", 0, PREFIX_BYTES) === prefixOf(opening, payload)
    ? payload.toString("utf8")
    : null;
}

function prefixOf(opening: string, payload: Buffer): string {
  return `${opening}"${checksumText(crc32(payload))}",`;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
