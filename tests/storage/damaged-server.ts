/** A small server of three segments, ways to damage its files, and what is expected of a start. */
import { expect } from "bun:test";

import type { FileSystem } from "../../src/storage/file-system.ts";
import { encodeHeader } from "../../src/storage/segment.ts";
import { segmentName } from "../../src/storage/server-files.ts";
import {
  append,
  contents,
  group,
  IDENTITY,
  killedServer,
  noop,
  puts,
  readServer,
  refusal,
  term,
} from "./sample-log.ts";

export const STATE = "raft_state/server_1.json";
export const DIRECTORY = "raft_state/server_1";
export const OPTIONS = { maxSegmentBytes: 500 };
export const ENTRIES = [noop(1, 1), ...puts(2, 6, 1, 60), ...puts(8, 3, 2, 60)];
/** The segments of that log: the first entry of each. */
export const FIRST = segmentName(1);
export const MIDDLE = segmentName(5);
export const LAST = segmentName(8);

/** A server of three segments, whose last segment was written by one group of two entries and one of one. */
export async function server(): Promise<FileSystem> {
  const groups = [
    group(term(1), append(...ENTRIES.slice(0, 7))),
    group(term(2), append(...ENTRIES.slice(7, 9))),
    group(null, append(...ENTRIES.slice(9))),
  ];
  const fs = await killedServer(groups, OPTIONS);
  expect(await fs.listDirectory(DIRECTORY)).toEqual(["lock", FIRST, MIDDLE, LAST, "reserve"]);
  return fs;
}

export async function read(fs: FileSystem, path: string): Promise<Buffer> {
  return Buffer.from((await fs.readFile(path)) ?? []);
}

/** The server with one file changed. */
export async function serverWith(path: string, change: (bytes: Buffer) => Uint8Array): Promise<FileSystem> {
  const fs = await server();
  await fs.writeFile(path, change(await read(fs, path)));
  return fs;
}

/** Where the line with that number starts, in bytes; the header is line 0. */
export function lineStart(bytes: Buffer, line: number): number {
  let start = 0;
  for (let at = 0; at < line; at++) start = bytes.indexOf("\n", start) + 1;
  return start;
}

/** Expects a start to be refused with that code, in one line that holds the words, and to change nothing. */
export async function expectRefused(
  fs: FileSystem,
  code: string,
  ...words: readonly string[]
): Promise<void> {
  const before = await contents(fs, "raft_state");
  const error = await refusal(readServer(fs, "raft_state", OPTIONS));
  expect([error.code, error.message]).toEqual([code, error.message]);
  for (const word of words) expect(error.message).toContain(word);
  expect(error.message).not.toContain("\n");
  expect(await contents(fs, "raft_state")).toEqual(before);
}

/** Expects a start that mends something, keeps the first `kept` entries, and needs no mending again. */
export async function expectMended(fs: FileSystem, kept: number, ...words: readonly string[]): Promise<void> {
  const found = await readServer(fs, "raft_state", OPTIONS);
  expect(found.log.entries).toEqual(ENTRIES.slice(0, kept));
  expect(found.repairs).toHaveLength(1);
  for (const word of words) expect(found.repairs[0]).toContain(word);
  const again = await readServer(fs, "raft_state", OPTIONS);
  expect(again).toEqual({ ...found, repairs: [] });
}

export const cutAt = (length: number) => (bytes: Buffer) => bytes.subarray(0, length);
export const flip =
  (at: number, mask = 1) =>
  (bytes: Buffer) =>
    bytes.fill((bytes[at] ?? 0) ^ mask, at, at + 1);
export const withText = (text: string) => () => Buffer.from(text);

/** The next segment of the server above, as a roll leaves it: durable, without entries. */
export const NEXT = segmentName(11);
export const NEXT_HEADER = Buffer.from(encodeHeader(IDENTITY, 11, 2));

/** The server with `next` as that segment's bytes, and `footer` at the end of the one before it. */
export async function rolling(next: Uint8Array, footer: Uint8Array): Promise<FileSystem> {
  const fs = await serverWith(`${DIRECTORY}/${LAST}`, (bytes) => Buffer.concat([bytes, footer]));
  await fs.writeFile(`${DIRECTORY}/${NEXT}`, next);
  return fs;
}

/** Flips every bit of the state file and those of the log, one at a time. Resolves to how many were refused. */
export async function everyFlip(fs: FileSystem, names: readonly string[]): Promise<number> {
  const expected = await readServer(fs, "raft_state", OPTIONS);
  let refusals = 0;
  for (const path of [STATE, ...names.map((name) => `${DIRECTORY}/${name}`)]) {
    const whole = await read(fs, path);
    for (let at = 0; at < whole.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        await fs.writeFile(path, flip(at, 1 << bit)(Buffer.from(whole)));
        const found = await readServer(fs, "raft_state", OPTIONS).catch((error: unknown) => error);
        if (!(found instanceof Error)) expect(found).toEqual(expected);
        else {
          refusals++;
          expect(found).toMatchObject({ name: "RaftKvError" });
        }
      }
    }
    await fs.writeFile(path, whole);
  }
  return refusals;
}
