import { expect, test } from "bun:test";
import { crc32 } from "node:zlib";

import {
  assert as holds,
  boolean,
  constant,
  integer,
  oneof,
  option,
  property,
  record,
  string,
} from "fast-check";

import type { Entry } from "../../src/raft/entry.ts";
import type { Command } from "../../src/kv/command.ts";
import {
  decodeEntry,
  decodeFooter,
  encodeEntry,
  encodeFooter,
  encodeRecord,
} from "../../src/storage/log-record.ts";
import { configuration, noop, put, putMany, SPREAD } from "./sample-log.ts";

const NASTY = [
  "__proto__",
  "constructor",
  "",
  "\0",
  "\n",
  "\r\n",
  '"quotes" and \\ backslashes',
  "😀 é 漢",
  "\ud800",
  "\udc00\ud800",
  "a\ud83d",
  "\u2028\u2029\u007f\ufeff\ufffd",
];

function decode(line: string) {
  const bytes = Buffer.from(line);
  return decodeEntry(bytes, 0, bytes.length - 1);
}

function footer(line: string) {
  const bytes = Buffer.from(line);
  return decodeFooter(bytes, 0, bytes.length - 1);
}

test("I1: every string comes back as it was, in one line without NUL", () => {
  for (const key of NASTY) {
    for (const value of NASTY) {
      const entry = put(3, 2, key, value);
      const line = encodeEntry(entry, null);
      expect(line.indexOf("\n")).toBe(line.length - 1);
      expect(line).not.toContain("\0");
      expect(decode(line)).toEqual({ entry, synced: null });
    }
  }
});

test("I1: any entry comes back as it was", () => {
  const id = integer({ min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER });
  const text = oneof(string({ unit: "binary" }), string({ unit: "grapheme" }), constant("\ud800\0__proto__"));
  const names = record({
    request: option(record({ clientId: id, requestId: id }), { nil: null }),
    routed: option(record({ routerId: id, routerCall: id, pending: id, retried: boolean() }), {
      nil: null,
    }),
  });
  const synced = option(integer({ min: 0, max: 8 }), { nil: null });
  holds(
    property(text, text, names, synced, (key, value, named, known) => {
      const entry: Entry<Command> = put(9, 4, key, value, named);
      expect(decode(encodeEntry(entry, known))).toEqual({ entry, synced: known });
    }),
    { seed: 1 },
  );
});

test("a record is a checksum over the UTF-8 of its JSON, the JSON, and a newline", () => {
  const json = `{"index":7,"term":2,"synced":6,"kind":"noop"}`;
  const checksum = crc32(json).toString(16).padStart(8, "0");
  expect(encodeEntry(noop(7, 2), 6)).toBe(`${checksum} ${json}\n`);
  const request = { clientId: 5, requestId: 6 };
  const routed = { routerId: 7, routerCall: 8, pending: 0, retried: false };
  expect(encodeEntry(put(1, 1, "é", "\n", { request, routed }), null).slice(9)).toBe(
    `{"index":1,"term":1,"kind":"put","key":"é","value":"\\n",` +
      `"clientId":5,"requestId":6,"routerId":7,"routerCall":8}\n`,
  );
  const again = { ...routed, pending: 3, retried: true };
  expect(encodeEntry(put(1, 1, "k", "v", { routed: again }), null).slice(9)).toBe(
    `{"index":1,"term":1,"kind":"put","key":"k","value":"v",` +
      `"routerId":7,"routerCall":8,"routerPending":3,"routerRetried":true}\n`,
  );
});

test("M3: a configuration comes back as it was, with every member in full", () => {
  const entry = configuration(3, 2, SPREAD);
  const line = encodeEntry(entry, null);
  expect(line.slice(9)).toBe(
    `{"index":3,"term":2,"kind":"configuration","members":[` +
      `{"id":0,"address":"10.0.0.1:9001","voter":true},{"id":1,"address":"","voter":true},` +
      `{"id":7,"address":"[2001:db8::7]:9008","voter":false}]}\n`,
  );
  expect(decode(line)).toEqual({ entry, synced: null });
  const plain = configuration(4, 2, [{ id: 0, address: "", voter: true }]);
  expect(encodeEntry(plain, 3)).toContain(`"members":[{"id":0,"address":"","voter":true}]`);
  expect(decode(encodeEntry(plain, 3))).toEqual({ entry: plain, synced: 3 });
  for (const wrong of [[], SPREAD.toReversed(), [...SPREAD, ...SPREAD]]) {
    expect(() => encodeEntry(configuration(3, 2, wrong), null)).toThrow("has members, in order");
  }
});

test("I1: a batch comes back as it was, its writes a list of texts in one line without NUL", () => {
  const request = { clientId: 5, requestId: 6 };
  const entry = putMany(
    4,
    2,
    [
      ["é", "\n"],
      ["k", ""],
      ["é", "again"],
    ],
    { request },
  );
  expect(encodeEntry(entry, 3).slice(9)).toBe(
    `{"index":4,"term":2,"synced":3,"kind":"putMany",` +
      `"writes":["é","\\n","k","","é","again"],"clientId":5,"requestId":6}\n`,
  );
  expect(decode(encodeEntry(entry, 3))).toEqual({ entry, synced: 3 });
  const routed = { routerId: 7, routerCall: 8, pending: 3, retried: true };
  const nasty = putMany(
    9,
    4,
    NASTY.map((text) => [text, text.repeat(3)]),
    { routed },
  );
  const line = encodeEntry(nasty, null);
  expect(line.indexOf("\n")).toBe(line.length - 1);
  expect(line).not.toContain("\0");
  expect(decode(line)).toEqual({ entry: nasty, synced: null });
  expect(() => encodeEntry(putMany(4, 2, []), null)).toThrow("a batch has writes");
});

test("P4: one flipped bit anywhere in a record makes it unreadable", () => {
  const bytes = Buffer.from(
    encodeEntry(put(12, 3, "kéy", "value", { request: { clientId: 1, requestId: 1 } }), 11),
  );
  for (let at = 0; at < bytes.length - 1; at++) {
    for (let bit = 0; bit < 8; bit++) {
      bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
      expect(decodeEntry(bytes, 0, bytes.length - 1)).toBeNull();
      bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
    }
  }
});

test("P4: a line with a right checksum is still refused when it is not exactly a record", () => {
  const good = `{"index":2,"term":1,"kind":"put","key":"k","value":"v"`;
  const routed = `${good},"routerId":1,"routerCall":2`;
  const member = `{"id":0,"address":"","voter":true}`;
  const change = `{"index":2,"term":1,"kind":"configuration","members":`;
  expect(decode(encodeRecord(`${routed},"routerPending":1,"routerRetried":true}`))).not.toBeNull();
  expect(decode(encodeRecord(`${change}[${member}]}`))).not.toBeNull();
  expect(decode(encodeRecord(`${good}}`))).not.toBeNull();
  expect(decode(encodeRecord(`{"index":2,"term":1,"kind":"putMany","writes":["k","v"]}`))).not.toBeNull();
  const wrong = [
    "",
    "null",
    "[]",
    "{}",
    "not JSON",
    `{"index":2,"term":1}`,
    `{"index":0,"term":1,"kind":"noop"}`,
    `{"index":-1,"term":1,"kind":"noop"}`,
    `{"index":1.5,"term":1,"kind":"noop"}`,
    `{"index":9007199254740992,"term":1,"kind":"noop"}`,
    `{"index":2,"term":-1,"kind":"noop"}`,
    `{"index":2,"term":"1","kind":"noop"}`,
    `{"index":2,"term":1,"synced":2,"kind":"noop"}`,
    `{"index":2,"term":1,"synced":-1,"kind":"noop"}`,
    `{"index":2,"term":1,"kind":"noop","key":"k"}`,
    `{"index":2,"term":1,"kind":"delete","key":"k","value":"v"}`,
    `{"index":2,"term":1,"kind":"put","key":"k"}`,
    `{"index":2,"term":1,"kind":"put","key":1,"value":"v"}`,
    `{"index":2,"term":1,"kind":"put","key":"k","value":null}`,
    `${good},"extra":1}`,
    `${good},"clientId":1}`,
    `${good},"clientId":1,"requestId":"1"}`,
    `${good},"routerId":1,"routerCall":1.5}`,
    `${good},"__proto__":1}`,
    `${good},"routerPending":1}`,
    `${good},"clientId":1,"requestId":1,"routerPending":1,"routerRetried":true}`,
    `${routed},"routerPending":0}`,
    `${routed},"routerPending":1.5}`,
    `${routed},"routerRetried":false}`,
    `${routed},"routerRetried":1}`,
    `{"index":2,"term":1,"kind":"configuration"}`,
    `${change}[]}`,
    `${change}[${member},${member}]}`,
    `${change}[{"id":1,"address":"","voter":true},${member}]}`,
    `${change}[{"id":-1,"address":"","voter":true}]}`,
    `${change}[{"id":0,"address":null,"voter":true}]}`,
    `${change}[{"id":0,"address":"","voter":1}]}`,
    `${change}[{"id":0,"address":""}]}`,
    `${change}[{"id":0,"address":"","voter":true,"more":1}]}`,
    `${change}{"0":${member}}}`,
    `${change}[${member}],"key":"k"}`,
    `{"index":2,"term":1,"kind":"noop","members":[${member}]}`,
    `{"index":2,"term":1,"kind":"putMany"}`,
    `{"index":2,"term":1,"kind":"putMany","writes":[]}`,
    `{"index":2,"term":1,"kind":"putMany","writes":["k"]}`,
    `{"index":2,"term":1,"kind":"putMany","writes":["k","v","l"]}`,
    `{"index":2,"term":1,"kind":"putMany","writes":["k",1]}`,
    `{"index":2,"term":1,"kind":"putMany","writes":{"k":"v"}}`,
    `{"index":2,"term":1,"kind":"putMany","writes":[["k","v"]]}`,
    `{"index":2,"term":1,"kind":"putMany","writes":["k","v"],"key":"k"}`,
    `{"index":2,"term":1,"kind":"putMany","writes":["k","v"],"clientId":1}`,
    `{"index":2,"term":1,"kind":"putMany","key":"k","value":"v"}`,
    `${good},"writes":["k","v"]}`,
  ];
  for (const json of wrong) expect([json, decode(encodeRecord(json))]).toEqual([json, null]);
});

test("P4: framing is strict: digits in lower case, one space, nothing before or after", () => {
  const line = encodeEntry(put(2, 1, "k", "v"), null).trimEnd();
  const upper = line.slice(0, 8).toUpperCase() + line.slice(8);
  expect(upper).not.toBe(line);
  for (const wrong of [
    upper,
    ` ${line}`,
    `${line} `,
    line.replace(" ", "\t"),
    line.slice(0, 9),
    "00000000 ",
  ]) {
    expect(decode(`${wrong}\n`)).toBeNull();
  }
});

test("P4: a footer comes back as it was, is no entry, and nothing else is a footer", () => {
  for (const nextIndex of [2, 17, Number.MAX_SAFE_INTEGER]) {
    expect(footer(encodeFooter(nextIndex))).toBe(nextIndex);
    expect(decode(encodeFooter(nextIndex))).toBeNull();
  }
  expect(encodeFooter(3).slice(9)).toBe(`{"sealed":true,"nextIndex":3}\n`);
  expect(footer(encodeEntry(noop(2, 1), null))).toBeNull();
  for (const json of [
    "{}",
    `{"sealed":true}`,
    `{"sealed":false,"nextIndex":3}`,
    `{"sealed":true,"nextIndex":0}`,
    `{"sealed":true,"nextIndex":03}`,
    `{"sealed":true,"nextIndex":-3}`,
    `{"sealed":true,"nextIndex":"3"}`,
    `{"sealed":true,"nextIndex":9007199254740992}`,
    `{"sealed":true,"nextIndex":3,"more":1}`,
    `{"nextIndex":3,"sealed":true}`,
    ` {"sealed":true,"nextIndex":3}`,
  ]) {
    expect([json, footer(encodeRecord(json))]).toEqual([json, null]);
  }
});
