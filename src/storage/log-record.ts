/**
 * A record of the log is one line of text:
 *
 *   <CRC-32 of the JSON's UTF-8 bytes, 8 lowercase hex digits> <JSON>\n
 *
 * and for an entry the JSON is one of
 *
 *   {"index":1,"term":1,"kind":"noop"}
 *   {"index":2,"term":1,"synced":1,"kind":"put","key":"k","value":"v",
 *    "clientId":1,"requestId":9,"routerId":4,"routerCall":7,"routerPending":5,"routerRetried":true}
 *   {"index":3,"term":1,"kind":"configuration","members":[{"id":0,"address":"","voter":true}]}
 *   {"index":4,"term":1,"kind":"putMany","writes":["k1","v1","k2","v2"]}
 *
 * `clientId`/`requestId` stand there when the client named its request, `routerId`/`routerCall` when a
 * frontend sent it, and with them `routerPending` unless it is 0 and `routerRetried` if it was: older versions
 * wrote neither. A `putMany` may have the same names. Its `writes` are keys, each with its value after it, and at
 * least one; older versions knew no such record, and refuse the file, naming it and the place: to them the record
 * is complete and its content wrong. `members` is never empty and ascends by id. `synced` stands on the first record after each sync: every record up to that index
 * was durable when this one was written, so a later start knows that none of them can be a torn write.
 *
 * and for the footer that seals a full segment, where `nextIndex` is the first entry of the segment after it,
 *
 *   {"sealed":true,"nextIndex":3}
 *
 * JSON.stringify escapes control characters and lone surrogates: a record holds no other newline than
 * its last byte, never a NUL, and every string comes back as it was.
 */
import { crc32 } from "node:zlib";

import { assert, unreachable } from "../base/assert.ts";
import { commandByteLength, type Command, type Names, type RoutedCall, type Write } from "../kv/command.ts";
import type { Configuration } from "../raft/configuration.ts";
import type { Entry, LogIndex, Payload } from "../raft/entry.ts";
import { isOrdered, membersShape } from "./member-list.ts";

/** Eight digits and a space. */
const PREFIX_BYTES = 9;
const SPACE = 0x20;
const loggedShape = membersShape.min(1);
/** Of the entries that this version knows. */
const KINDS: ReadonlySet<string> = new Set(["noop", "put", "putMany", "configuration"]);
const FOOTER = /^\{"sealed":true,"nextIndex":([1-9][0-9]*)\}$/;

export interface EntryRecord {
  readonly entry: Entry<Command>;
  /** The index up to which the log was durable when this was written; null when the record does not say. */
  readonly synced: LogIndex | null;
}

/** A CRC-32 as we write it: 8 lowercase hex digits. */
export function checksumText(checksum: number): string {
  return checksum.toString(16).padStart(8, "0");
}

/** The line for a JSON text, its newline included. */
export function encodeRecord(json: string): string {
  return `${checksumText(crc32(json))} ${json}\n`;
}

/** The JSON text of the line at `start`, whose newline stands at `end`; null when the line is damaged. */
export function decodeRecord(bytes: Buffer, start: number, end: number): string | null {
  const jsonStart = start + PREFIX_BYTES;
  if (end <= jsonStart || bytes[jsonStart - 1] !== SPACE) return null;
  const expected = parseChecksum(bytes, start);
  if (expected === null || crc32(bytes.subarray(jsonStart, end)) !== expected) return null;
  return bytes.toString("utf8", jsonStart, end);
}

/** The line for an entry. Plain concatenation: this is the hot path of every write. */
export function encodeEntry(entry: Entry<Command>, synced: LogIndex | null): string {
  assert(isCount(entry.index) && isCount(entry.term), "an entry has an index and a term");
  const known = synced === null ? "" : `,"synced":${synced}`;
  return encodeRecord(
    `{"index":${entry.index},"term":${entry.term}${known},${payloadFields(entry.payload)}}`,
  );
}

/** The entry in the line at `start`, whose newline stands at `end`; null when it is not exactly a record of ours. */
export function decodeEntry(bytes: Buffer, start: number, end: number): EntryRecord | null {
  const json = decodeRecord(bytes, start, end);
  if (json === null) return null;
  const value = parseObject(json);
  if (value === null) return null;
  const { index, term, synced = null } = value;
  if (!isCount(index) || index === 0 || !isCount(term)) return null;
  if (synced !== null && (!isCount(synced) || synced >= index)) return null;
  const payload = parsePayload(value, Object.keys(value).length - (synced === null ? 2 : 3));
  return payload === null ? null : { entry: { index, term, payload }, synced };
}

/** The line that ends a full segment; the next one starts with entry `nextIndex`. */
export function encodeFooter(nextIndex: LogIndex): string {
  return encodeRecord(`{"sealed":true,"nextIndex":${nextIndex}}`);
}

/** What the footer in the line at `start` says comes next; null when it is not exactly a footer of ours. */
export function decodeFooter(bytes: Buffer, start: number, end: number): LogIndex | null {
  const digits = FOOTER.exec(decodeRecord(bytes, start, end) ?? "")?.[1];
  const nextIndex = Number(digits);
  return isCount(nextIndex) ? nextIndex : null;
}

function payloadFields(payload: Payload<Command>): string {
  switch (payload.kind) {
    case "noop":
      return `"kind":"noop"`;
    case "configuration":
      return configurationFields(payload.configuration);
    case "command":
      return commandFields(payload.command);
    default:
      return unreachable(payload);
  }
}

function commandFields(command: Command): string {
  switch (command.kind) {
    case "put": {
      const { key, value } = command;
      return `"kind":"put","key":${JSON.stringify(key)},"value":${JSON.stringify(value)}${nameFields(command)}`;
    }
    case "putMany":
      return `"kind":"putMany","writes":${writeList(command.writes)}${nameFields(command)}`;
    default:
      return unreachable(command);
  }
}

/** One list of texts, which costs much less to write and to read than an object for each write. */
function writeList(writes: readonly Write[]): string {
  assert(writes.length > 0, "a batch has writes");
  const texts: string[] = [];
  for (const { key, value } of writes) texts.push(key, value);
  return JSON.stringify(texts);
}

function nameFields({ request, routed }: Names): string {
  let fields = "";
  if (request !== null) {
    assert(isInt(request.clientId) && isInt(request.requestId), "a request is named by integers");
    fields += `,"clientId":${request.clientId},"requestId":${request.requestId}`;
  }
  if (routed !== null) {
    const { routerId, routerCall, pending, retried } = routed;
    assert(isInt(routerId) && isInt(routerCall) && isInt(pending), "a routed call is named by integers");
    fields += `,"routerId":${routerId},"routerCall":${routerCall}`;
    if (pending !== 0) fields += `,"routerPending":${pending}`;
    if (retried) fields += `,"routerRetried":true`;
  }
  return fields;
}

function configurationFields(configuration: Configuration): string {
  assert(configuration.length > 0 && isOrdered(configuration), "a configuration has members, in order");
  const members = configuration.map(({ id, address, voter }) => ({ id, address, voter }));
  return `"kind":"configuration","members":${JSON.stringify(members)}`;
}

/** The fields of a record, none of them checked. */
interface Fields {
  readonly index?: unknown;
  readonly term?: unknown;
  readonly synced?: unknown;
  readonly kind?: unknown;
  readonly key?: unknown;
  readonly value?: unknown;
  readonly clientId?: unknown;
  readonly requestId?: unknown;
  readonly routerId?: unknown;
  readonly routerCall?: unknown;
  readonly routerPending?: unknown;
  readonly routerRetried?: unknown;
  readonly members?: unknown;
  readonly writes?: unknown;
}

function parseObject(json: string): Fields | null {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === "object" && value !== null ? value : null;
  } catch {
    return null;
  }
}

/** `count` is how many fields belong to the payload; one more or one less and the record is not ours. */
function parsePayload(fields: Fields, count: number): Payload<Command> | null {
  switch (fields.kind) {
    case "noop":
      return count === 1 ? { kind: "noop" } : null;
    case "configuration":
      return count === 2 ? parseConfiguration(fields.members) : null;
    case "put":
      return parsePut(fields, count);
    case "putMany":
      return parsePutMany(fields, count);
    default:
      return null;
  }
}

/** The kind that a line says whose checksum is right and which is no entry to this version; null: none. */
export function unknownKind(bytes: Buffer, start: number, end: number): string | null {
  const json = decodeRecord(bytes, start, end);
  const kind = json === null ? null : parseObject(json)?.kind;
  return typeof kind === "string" && !KINDS.has(kind) ? kind : null;
}

function parseConfiguration(members: unknown): Payload<Command> | null {
  const parsed = loggedShape.safeParse(members);
  return parsed.success ? { kind: "configuration", configuration: parsed.data } : null;
}

function parsePut(fields: Fields, count: number): Payload<Command> | null {
  const { key, value } = fields;
  if (typeof key !== "string" || typeof value !== "string") return null;
  const names = parseNames(fields, count - 3);
  return names === null ? null : payloadOf({ kind: "put", key, value, ...names });
}

function parsePutMany(fields: Fields, count: number): Payload<Command> | null {
  const writes = parseWrites(fields.writes);
  const names = parseNames(fields, count - 2);
  return writes === null || names === null ? null : payloadOf({ kind: "putMany", writes, ...names });
}

function payloadOf(command: Command): Payload<Command> {
  return { kind: "command", command, byteLength: commandByteLength(command) };
}

function parseWrites(texts: unknown): readonly Write[] | null {
  if (!Array.isArray(texts) || texts.length === 0 || texts.length % 2 !== 0) return null;
  const writes: Write[] = [];
  for (let at = 0; at < texts.length; at += 2) {
    const key: unknown = texts[at];
    const value: unknown = texts[at + 1];
    if (typeof key !== "string" || typeof value !== "string") return null;
    writes.push({ key, value });
  }
  return writes;
}

/** `count` is how many fields are left for the names; null: they are others, or more, or fewer. */
function parseNames(fields: Fields, count: number): Names | null {
  const { clientId, requestId } = fields;
  const request = isInt(clientId) && isInt(requestId) ? { clientId, requestId } : null;
  const routed = parseRouted(fields);
  return count === (request === null ? 0 : 2) + routedFieldCount(routed) ? { request, routed } : null;
}

function parseRouted({ routerId, routerCall, routerPending, routerRetried }: Fields): RoutedCall | null {
  if (!isInt(routerId) || !isInt(routerCall)) return null;
  const pending = isInt(routerPending) ? routerPending : 0;
  return { routerId, routerCall, pending, retried: routerRetried === true };
}

/** How many fields of a record say this; what says nothing is left out. */
function routedFieldCount(routed: RoutedCall | null): number {
  if (routed === null) return 0;
  return 2 + (routed.pending === 0 ? 0 : 1) + (routed.retried ? 1 : 0);
}

/** Eight lowercase hex digits as an unsigned number; null for anything else. */
function parseChecksum(bytes: Buffer, start: number): number | null {
  let value = 0;
  for (let at = start; at < start + 8; at++) {
    const byte = bytes[at] ?? 0;
    if (byte >= 0x30 && byte <= 0x39) value = value * 16 + (byte - 0x30);
    else if (byte >= 0x61 && byte <= 0x66) value = value * 16 + (byte - 0x57);
    else return null;
  }
  return value;
}

function isCount(value: unknown): value is number {
  return isInt(value) && value >= 0;
}

function isInt(value: unknown): value is number {
  return Number.isSafeInteger(value);
}
