import { expect, test } from "bun:test";
import { crc32 } from "node:zlib";

import { RaftKvError } from "../../src/base/errors.ts";
import { decodeStateFile, encodeStateFile } from "../../src/storage/state-file.ts";
import { IDENTITY, term } from "./sample-log.ts";

const PATH = "raft_state/server_1.json";
const STATE = { identity: IDENTITY, hardState: term(17, 2), logReaches: null, installing: null };
const FULL_STATE = {
  identity: IDENTITY,
  hardState: { ...term(17, 2), abstainsThrough: 16 },
  logReaches: { index: 90, term: 15 },
  installing: { index: 95, term: 16 },
};

/** What decoding it ends in: an error, or null when it is accepted. */
function refused(bytes: Uint8Array): RaftKvError | null {
  try {
    decodeStateFile(PATH, bytes);
    return null;
  } catch (error) {
    if (error instanceof RaftKvError) return error;
    throw error;
  }
}

test("a state comes back as it was, and is JSON for people", () => {
  for (const hardState of [term(0), term(17, 2), term(Number.MAX_SAFE_INTEGER, 0), FULL_STATE.hardState]) {
    const state = { ...FULL_STATE, hardState };
    const bytes = encodeStateFile(state);
    expect(decodeStateFile(PATH, bytes)).toEqual(state);
    const { currentTerm, votedFor } = hardState;
    const fields = { ...IDENTITY, currentTerm, votedFor, format: 1 };
    expect(JSON.parse(Buffer.from(bytes).toString())).toMatchObject(fields);
  }
  expect(Buffer.from(encodeStateFile(STATE)).toString()).toMatch(/^\{\n {2}"format": 1,\n[^]*\n\}\n$/);
});

test("P9: a file from before servers could abstain reads as one that does not, and is written the same", () => {
  const fields = { format: 1, ...IDENTITY, currentTerm: 17, votedFor: 2 };
  const checksum = crc32(JSON.stringify(fields)).toString(16).padStart(8, "0");
  const bytes = Buffer.from(`${JSON.stringify({ ...fields, checksum }, null, 2)}\n`);
  expect(decodeStateFile(PATH, bytes)).toEqual(STATE);
  expect(Buffer.from(encodeStateFile(STATE))).toEqual(bytes);
});

test("P4: any flipped bit in the state file is noticed", () => {
  for (const state of [STATE, FULL_STATE]) {
    const bytes = encodeStateFile(state);
    for (let at = 0; at < bytes.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const flipped = Uint8Array.from(bytes);
        flipped[at] = (flipped[at] ?? 0) ^ (1 << bit);
        if (refused(flipped) === null) expect(decodeStateFile(PATH, flipped)).toEqual(state);
      }
    }
  }
});

test("P7: an empty, cut or garbage state file is corruption, with the file's name", () => {
  const bytes = encodeStateFile(STATE);
  const text = Buffer.from(bytes).toString();
  const full = Buffer.from(encodeStateFile(FULL_STATE)).toString();
  const bad = [
    "",
    "\0".repeat(64),
    "garbage",
    "null",
    "[]",
    "{}",
    text.slice(0, -3),
    `\ufeff${text}`,
    text.replace(`"currentTerm": 17`, `"currentTerm": 16`),
    text.replace(`"votedFor": 2`, `"votedFor": null`),
    text.replace(`"votedFor": 2`, `"votedFor": -1`),
    text.replace(`"currentTerm": 17`, `"currentTerm": 17.5`),
    text.replace(`"currentTerm": 17,`, ``),
    text.replace(`"currentTerm"`, `"term": 1, "currentTerm"`),
    text.replace("cluster-a", ""),
    full.replace(`"abstainsThrough": 16`, `"abstainsThrough": 15`),
    full.replace(`"abstainsThrough": 16`, `"abstainsThrough": 0`),
    full.replace(`"abstainsThrough": 16,`, ``),
    full.replace(`"index": 90`, `"index": 89`),
    full.replace(`"index": 95`, `"index": 96`),
    Buffer.from(encodeStateFile({ ...STATE, hardState: { ...term(3), abstainsThrough: 4 } })).toString(),
  ];
  for (const content of bad) {
    const error = refused(Buffer.from(content));
    expect([content, error?.code]).toEqual([content, "corruption"]);
    expect(error?.message).toStartWith(PATH);
    expect(error?.message).not.toContain("\n");
  }
});

test("P10: another format's state file is refused by its format", () => {
  const newer = Buffer.from(JSON.stringify({ format: 2, somethingNew: true }));
  const error = refused(newer);
  expect(error?.code).toBe("failedPrecondition");
  expect(error?.message).toContain("format 2");
});
