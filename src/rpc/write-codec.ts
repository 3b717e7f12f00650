/**
 * One write of a batch as it travels, the message Write of raft.proto: bytes that a frontend passes on as they are.
 *
 *   0a <length> <key>   12 <length> <value>       each length a varint; a field that is left out is empty
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
  let at = putHeader(bytes, 0, KEY_TAG, keyBytes);
  at += bytes.write(key, at, "utf8");
  at = putHeader(bytes, at, VALUE_TAG, valueBytes);
  bytes.write(value, at, "utf8");
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

/** Throws RaftKvError "invalidArgument" when the bytes are no message. */
export function spanOf(bytes: Uint8Array): WriteSpan {
  let [keyStart, keyEnd, valueStart, valueEnd] = [0, 0, 0, 0];
  for (let at = 0; at < bytes.length;) {
    const tag = bytes[at] ?? 0;
    if (tag === KEY_TAG || tag === VALUE_TAG) {
      const length = readVarint(bytes, at + 1);
      const start = length.end;
      at = start + length.value;
      if (at > bytes.length) throw malformed();
      if (tag === KEY_TAG) [keyStart, keyEnd] = [start, at];
      else [valueStart, valueEnd] = [start, at];
    } else {
      at = endOfUnknown(bytes, at);
    }
  }
  return { keyStart, keyEnd, valueStart, valueEnd };
}

/** The write, which keeps nothing of the bytes; null when its key or value is not text. */
export function decodeWrite(bytes: Uint8Array, span: WriteSpan): Write | null {
  const key = decodeText(bytes.subarray(span.keyStart, span.keyEnd));
  const value = decodeText(bytes.subarray(span.valueStart, span.valueEnd));
  return key === null || value === null ? null : { key, value };
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

/** Where the field ends that begins at `start`, and of which a later version may know more. */
function endOfUnknown(bytes: Uint8Array, start: number): number {
  const { value: tag, end: after } = readVarint(bytes, start);
  const end = after + unknownByteLength(bytes, after, tag % 8);
  if (end > bytes.length || tag < 8) throw malformed();
  return end;
}

function unknownByteLength(bytes: Uint8Array, start: number, wireType: number): number {
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
