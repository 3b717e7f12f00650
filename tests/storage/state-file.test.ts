import { expect, test } from "bun:test";
import { crc32 } from "node:zlib";

import { RaftKvError } from "../../src/base/errors.ts";
import type { Configuration } from "../../src/raft/configuration.ts";
import { decodeStateFile, encodeStateFile, type ServerState } from "../../src/storage/state-file.ts";
import { IDENTITY, SPREAD, term } from "./sample-log.ts";

const PATH = "raft_state/server_1.json";
const STATE = { identity: IDENTITY, hardState: term(17, 2), logReaches: null, installing: null };
const FULL_STATE = {
  identity: IDENTITY,
  hardState: { ...term(17, 2), abstainsThrough: 16 },
  logReaches: { index: 90, term: 15 },
  installing: { index: 95, term: 16 },
};

/** What the file says of IDENTITY. */
const NAMES = { clusterId: "cluster-a", serverId: 1, servers: [0, 1, 2] };
/** A state of a server with these members. */
function stateWith(members: Configuration): ServerState {
  return { ...STATE, identity: { ...IDENTITY, members } };
}

/** Of a server of a cluster of several machines, and of one that is to be added to it. */
const OTHER_STATES: readonly ServerState[] = [
  stateWith(SPREAD),
  stateWith(SPREAD.slice(0, 2)),
  stateWith([]),
];

/** The file that holds these fields and their checksum. */
function fileOf(fields: object): Uint8Array {
  const checksum = crc32(JSON.stringify(fields)).toString(16).padStart(8, "0");
  return Buffer.from(`${JSON.stringify({ ...fields, checksum }, null, 2)}\n`);
}

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
  const waits = { ...term(17, 2), abstainsTo: 41 };
  const all = [term(0), term(17, 2), term(Number.MAX_SAFE_INTEGER, 0), FULL_STATE.hardState, waits];
  for (const hardState of all) {
    const state = { ...FULL_STATE, hardState };
    const bytes = encodeStateFile(state);
    expect(decodeStateFile(PATH, bytes)).toEqual(state);
    const { currentTerm, votedFor } = hardState;
    const fields = { ...NAMES, currentTerm, votedFor, format: 1 };
    expect(JSON.parse(Buffer.from(bytes).toString())).toMatchObject(fields);
  }
  expect(Buffer.from(encodeStateFile(STATE)).toString()).toMatch(/^\{\n {2}"format": 1,\n[^]*\n\}\n$/);
});

test("P9: a file from before servers could abstain reads as one that does not, and is written the same", () => {
  const bytes = fileOf({ format: 1, ...NAMES, currentTerm: 17, votedFor: 2 });
  expect(decodeStateFile(PATH, bytes)).toEqual(STATE);
  expect(encodeStateFile(STATE)).toEqual(bytes);
});

test("S5: since when they were members comes back, where a server was made anew", () => {
  const state = { ...STATE, identity: { ...IDENTITY, membersFrom: 30 } };
  expect(decodeStateFile(PATH, encodeStateFile(state))).toEqual(state);
  const flipped = Buffer.from(encodeStateFile(state))
    .toString()
    .replace(`"membersFrom": 30`, `"membersFrom": 31`);
  expect(refused(Buffer.from(flipped))?.code).toBe("corruption");
});

test("members with addresses of their own come back with them, and so does a server that is to be added", () => {
  for (const state of OTHER_STATES) {
    const { members } = state.identity;
    const bytes = encodeStateFile(state);
    expect(decodeStateFile(PATH, bytes)).toEqual(state);
    const { servers: _, ...names } = NAMES;
    expect(bytes).toEqual(fileOf({ format: 1, ...names, members, currentTerm: 17, votedFor: 2 }));
  }
});

test("P4: members that are not told as we tell them are refused, though the checksum is right", () => {
  const { servers: _, ...names } = NAMES;
  const fields = (who: object) => ({ format: 1, ...names, ...who, currentTerm: 17, votedFor: 2 });
  const [other, self] = SPREAD;
  expect(refused(fileOf(fields({ members: [other, self] })))).toBeNull();
  const wrong = [
    {},
    { servers: [] },
    { servers: [1, 0] },
    { servers: [0, 2] },
    { servers: [1], members: [other, self] },
    { servers: [1], members: [] },
    { members: [self] },
    { members: [{ ...self, voter: true, address: "" }] },
    { members: [other] },
    { members: [self, other] },
    { members: [other, self, self] },
    { members: [other, { ...self, more: true }] },
    { members: [other, { id: 1, address: "" }] },
    { members: [other, { id: 1, address: null, voter: true }] },
    { members: { 0: other, 1: self } },
  ];
  for (const who of wrong) {
    expect([who, refused(fileOf(fields(who)))?.code]).toEqual([who, "corruption"]);
  }
});

test("P4: any flipped bit in the state file is noticed", () => {
  for (const state of [STATE, FULL_STATE, ...OTHER_STATES]) {
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
  const waits = { ...STATE, hardState: { ...term(17, 2), abstainsTo: 41 } };
  const waiting = Buffer.from(encodeStateFile(waits)).toString();
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
    waiting.replace(`"abstainsTo": 41`, `"abstainsTo": 40`),
    waiting.replace(`"abstainsTo": 41,`, ``),
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
