/**
 * The writes of a batch as they travel, the messages Write and WriteList of raft.proto: bytes that a frontend passes on
 * as they are.
 *
 *   0a <length> <key>   12 <length> <value>       each length a varint; a field that is left out is empty
 *   0a <length> <Write>   0a <length> <Write>   …     a WriteList
 *
 * Written by hand, because bulk loads pass here for every key: what the library makes of a message would be two
 * objects and two buffers more for each. Read as any proto3 reader would: in any order, the last of a field
 * counts, and what is not known is passed over.
 */
import { RaftKvError } from "../base/errors.ts";
import type { Write } from "../kv/command.ts";
import { decodeText, encodeText } from "./text.ts";

/** Where key and value stand in the bytes of a write; equal bounds: it is empty. */
export interface WriteSpan {
  readonly keyStart: number;
  readonly keyEnd: number;
  readonly valueStart: number;
  readonly valueEnd: number;
}

const KEY_TAG = 0x0a;
const VALUE_TAG = 0x12;
/** Of a write in a WriteList. */
const WRITE_TAG = 0x0a;
const REPLACEMENT = "\uFFFD";
/** The three lowest bits of a tag: how what follows it is made. */
const VARINT = 0;
const EIGHT_BYTES = 1;
const BYTES = 2;
const FOUR_BYTES = 5;

export function encodeWrite({ key, value }: Write): Buffer {
  const keyBytes = wellFormedByteLength(key);
  const valueBytes = wellFormedByteLength(value);
  if (keyBytes === null || valueBytes === null) return encodeParts(encodeText(key), encodeText(value));
  const bytes = Buffer.allocUnsafe(sizeOf(keyBytes, valueBytes));
  putWrite(bytes, 0, { key, value }, keyBytes, valueBytes);
  return bytes;
}

/** A key and a value that are bytes already, whatever they are. */
export function encodeParts(key: Uint8Array, value: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(sizeOf(key.length, value.length));
  let at = putHeader(bytes, 0, KEY_TAG, key.length);
  bytes.set(key, at);
  at = putHeader(bytes, at + key.length, VALUE_TAG, value.length);
  bytes.set(value, at);
  return bytes;
}

/** The message WriteList: one buffer for all of them, as what a log sends is made once for each follower. */
export function encodeWriteList(writes: readonly Write[]): Buffer {
  /** Of each key and value, one after the other. */
  const lengths = new Uint32Array(2 * writes.length);
  let total = 0;
  for (const [n, { key, value }] of writes.entries()) {
    const keyBytes = wellFormedByteLength(key);
    const valueBytes = wellFormedByteLength(value);
    if (keyBytes === null || valueBytes === null) return joinWrites(writes.map(encodeWrite));
    lengths[2 * n] = keyBytes;
    lengths[2 * n + 1] = valueBytes;
    const size = sizeOf(keyBytes, valueBytes);
    total += 1 + varintBytes(size) + size;
  }
  const bytes = Buffer.allocUnsafe(total);
  let at = 0;
  for (const [n, write] of writes.entries()) {
    const keyBytes = lengths[2 * n] ?? 0;
    const valueBytes = lengths[2 * n + 1] ?? 0;
    at = putHeader(bytes, at, WRITE_TAG, sizeOf(keyBytes, valueBytes));
    at = putWrite(bytes, at, write, keyBytes, valueBytes);
  }
  return bytes;
}

/** Throws RaftKvError "invalidArgument" when the bytes are no message. */
export function spanOf(bytes: Uint8Array, from = 0, to = bytes.length): WriteSpan {
  let [keyStart, keyEnd, valueStart, valueEnd] = [from, from, from, from];
  for (let at = from; at < to;) {
    const tag = bytes[at] ?? 0;
    if (tag === KEY_TAG || tag === VALUE_TAG) {
      const length = readVarint(bytes, at + 1);
      const start = length.end;
      at = start + length.value;
      if (tag === KEY_TAG) [keyStart, keyEnd] = [start, at];
      else [valueStart, valueEnd] = [start, at];
    } else {
      at = endOfField(bytes, at);
    }
    if (at > to) throw malformed();
  }
  return { keyStart, keyEnd, valueStart, valueEnd };
}

/**
 * Where the first `count` writes end of a message that has them as its field 1, as WriteList and PutManyArgs; the end
 * of the bytes when there are no more. Throws as spanOf.
 */
export function endOfWrites(bytes: Uint8Array, count: number): number {
  let found = 0;
  let at = 0;
  while (at < bytes.length && found < count) {
    if (bytes[at] === WRITE_TAG) found += 1;
    at = endOfField(bytes, at);
  }
  return at;
}

/** The write, which keeps nothing of the bytes; null when its key or value is not text. */
export function decodeWrite(bytes: Buffer, span: WriteSpan): Write | null {
  const key = decodePart(bytes, span.keyStart, span.keyEnd);
  const value = decodePart(bytes, span.valueStart, span.valueEnd);
  return key === null || value === null ? null : { key, value };
}

/** The writes of a message WriteList; null when a key or value is not text. Throws as spanOf. */
export function decodeWriteList(bytes: Buffer): readonly Write[] | null {
  const writes: Write[] = [];
  for (let at = 0; at < bytes.length;) {
    if (bytes[at] !== WRITE_TAG) {
      at = endOfField(bytes, at);
      continue;
    }
    const { value: length, end: start } = readVarint(bytes, at + 1);
    at = start + length;
    if (at > bytes.length) throw malformed();
    const write = decodeWrite(bytes, spanOf(bytes, start, at));
    if (write === null) return null;
    writes.push(write);
  }
  return writes;
}

/** As decodeText, without a view of each part: what is not UTF-8 shows as the replacement character. */
function decodePart(bytes: Buffer, start: number, end: number): string | null {
  const text = bytes.toString("utf8", start, end);
  return text.includes(REPLACEMENT) ? decodeText(bytes.subarray(start, end)) : text;
}

function joinWrites(writes: readonly Buffer[]): Buffer {
  return Buffer.concat(
    writes.flatMap((write) => {
      const header = Buffer.alloc(1 + varintBytes(write.length));
      putHeader(header, 0, WRITE_TAG, write.length);
      return [header, write];
    }),
  );
}

/** Returns where it ends. */
function putWrite(
  bytes: Buffer,
  start: number,
  { key, value }: Write,
  keyBytes: number,
  valueBytes: number,
): number {
  let at = putHeader(bytes, start, KEY_TAG, keyBytes);
  at += bytes.write(key, at, "utf8");
  at = putHeader(bytes, at, VALUE_TAG, valueBytes);
  return at + bytes.write(value, at, "utf8");
}

/** null for a text that only encodeText can encode. */
function wellFormedByteLength(text: string): number | null {
  return text.isWellFormed() ? Buffer.byteLength(text, "utf8") : null;
}

function sizeOf(keyBytes: number, valueBytes: number): number {
  return 2 + varintBytes(keyBytes) + keyBytes + varintBytes(valueBytes) + valueBytes;
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest >= 0x80; rest >>>= 7) bytes += 1;
  return bytes;
}

/** Returns where what it announces begins. */
function putHeader(bytes: Buffer, at: number, tag: number, length: number): number {
  bytes[at] = tag;
  let next = at + 1;
  let rest = length;
  for (; rest >= 0x80; rest >>>= 7) {
    bytes[next] = (rest & 0x7f) | 0x80;
    next += 1;
  }
  bytes[next] = rest;
  return next + 1;
}

/** A length or a tag, up to 2^32 - 1: no message of ours holds more. */
function readVarint(bytes: Uint8Array, start: number): { readonly value: number; readonly end: number } {
  let value = 0;
  let scale = 1;
  for (let at = start; at < start + 5; at += 1) {
    const byte = bytes[at];
    if (byte === undefined) throw malformed();
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return { value, end: at + 1 };
    scale *= 0x80;
  }
  throw malformed();
}

/** Where the field ends that begins at `start`, whatever it is. */
function endOfField(bytes: Uint8Array, start: number): number {
  const { value: tag, end: after } = readVarint(bytes, start);
  // A tag with more bytes than it needs may be one that we know: to pass it over would lose a key or a value.
  if (after - start !== varintBytes(tag)) throw malformed();
  const end = after + fieldByteLength(bytes, after, tag % 8);
  if (end > bytes.length || tag < 8) throw malformed();
  return end;
}

function fieldByteLength(bytes: Uint8Array, start: number, wireType: number): number {
  if (wireType === EIGHT_BYTES) return 8;
  if (wireType === FOUR_BYTES) return 4;
  if (wireType === BYTES) {
    const { value, end } = readVarint(bytes, start);
    return end - start + value;
  }
  if (wireType !== VARINT) throw malformed();
  let at = start;
  while ((bytes[at] ?? 0) >= 0x80) at += 1;
  return at + 1 - start;
}

function malformed(): RaftKvError {
  return new RaftKvError("invalidArgument", "a write of the batch is not a message Write");
}
