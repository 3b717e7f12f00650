import { expect, test } from "bun:test";

import { RaftKvError } from "../../src/base/errors.ts";
import { decodeStateFile, encodeStateFile } from "../../src/storage/state-file.ts";
import { IDENTITY, term } from "./sample-log.ts";

const PATH = "raft_state/server_1.json";
const STATE = { identity: IDENTITY, hardState: term(17, 2) };

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
  for (const hardState of [term(0), term(17, 2), term(Number.MAX_SAFE_INTEGER, 0)]) {
    const bytes = encodeStateFile({ identity: IDENTITY, hardState });
    expect(decodeStateFile(PATH, bytes)).toEqual({ identity: IDENTITY, hardState });
    expect(JSON.parse(Buffer.from(bytes).toString())).toMatchObject({ ...IDENTITY, ...hardState, format: 1 });
  }
  expect(Buffer.from(encodeStateFile(STATE)).toString()).toMatch(/^\{\n {2}"format": 1,\n[^]*\n\}\n$/);
});

test("P4: any flipped bit in the state file is noticed", () => {
  const bytes = encodeStateFile(STATE);
  for (let at = 0; at < bytes.length; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const flipped = Uint8Array.from(bytes);
      flipped[at] = (flipped[at] ?? 0) ^ (1 << bit);
      if (refused(flipped) === null) expect(decodeStateFile(PATH, flipped)).toEqual(STATE);
    }
  }
});

test("P7: an empty, cut or garbage state file is corruption, with the file's name", () => {
  const bytes = encodeStateFile(STATE);
  const text = Buffer.from(bytes).toString();
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
