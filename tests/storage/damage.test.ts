/** The table at the head of server-store.ts, a test a row, and the judgement of segment.ts. */
import { expect, test } from "bun:test";

import type { FileSystem } from "../../src/storage/file-system.ts";
import { encodeEntry, encodeFooter, encodeRecord } from "../../src/storage/log-record.ts";
import { MemoryDisk } from "../../src/storage/memory-file-system.ts";
import { encodeHeader, SECTOR_BYTES } from "../../src/storage/segment.ts";
import { segmentName } from "../../src/storage/server-files.ts";
import { createServerStore, eraseServer, openServerStore } from "../../src/storage/server-store.ts";
import {
  append,
  contents,
  group,
  IDENTITY,
  noop,
  put,
  puts,
  readServer,
  refusal,
  term,
  truncate,
  writeServer,
} from "./sample-log.ts";

const STATE = "raft_state/server_1.json";
const DIRECTORY = "raft_state/server_1";
const OPTIONS = { maxSegmentBytes: 500 };
const ENTRIES = [noop(1, 1), ...puts(2, 6, 1, 60), ...puts(8, 3, 2, 60)];
/** The segments of that log: the first entry of each. */
const FIRST = segmentName(1);
const MIDDLE = segmentName(5);
const LAST = segmentName(8);

/** A server of three segments, whose last segment was written by one group of two entries and one of one. */
async function server(): Promise<FileSystem> {
  const fs = new MemoryDisk().mount();
  const groups = [
    group(term(1), append(...ENTRIES.slice(0, 7))),
    group(term(2), append(...ENTRIES.slice(7, 9))),
    group(null, append(...ENTRIES.slice(9))),
  ];
  await writeServer(fs, "raft_state", groups, OPTIONS);
  expect(await fs.listDirectory(DIRECTORY)).toEqual(["lock", FIRST, MIDDLE, LAST]);
  return fs;
}

async function read(fs: FileSystem, path: string): Promise<Buffer> {
  return Buffer.from((await fs.readFile(path)) ?? []);
}

/** The server with one file changed. */
async function serverWith(path: string, change: (bytes: Buffer) => Uint8Array): Promise<FileSystem> {
  const fs = await server();
  await fs.writeFile(path, change(await read(fs, path)));
  return fs;
}

/** Where the line with that number starts, in bytes; the header is line 0. */
function lineStart(bytes: Buffer, line: number): number {
  let start = 0;
  for (let at = 0; at < line; at++) start = bytes.indexOf("\n", start) + 1;
  return start;
}

/** Expects a start to be refused with that code, in one line that holds the words, and to change nothing. */
async function expectRefused(fs: FileSystem, code: string, ...words: readonly string[]): Promise<void> {
  const before = await contents(fs, "raft_state");
  const error = await refusal(readServer(fs, "raft_state", OPTIONS));
  expect([error.code, error.message]).toEqual([code, error.message]);
  for (const word of words) expect(error.message).toContain(word);
  expect(error.message).not.toContain("\n");
  expect(await contents(fs, "raft_state")).toEqual(before);
}

/** Expects a start that mends something, keeps the first `kept` entries, and needs no mending again. */
async function expectMended(fs: FileSystem, kept: number, ...words: readonly string[]): Promise<void> {
  const found = await readServer(fs, "raft_state", OPTIONS);
  expect(found.entries).toEqual(ENTRIES.slice(0, kept));
  expect(found.repairs).toHaveLength(1);
  for (const word of words) expect(found.repairs[0]).toContain(word);
  const again = await readServer(fs, "raft_state", OPTIONS);
  expect(again).toEqual({ ...found, repairs: [] });
}

const cutAt = (length: number) => (bytes: Buffer) => bytes.subarray(0, length);
const flip =
  (at: number, mask = 1) =>
  (bytes: Buffer) =>
    bytes.fill((bytes[at] ?? 0) ^ mask, at, at + 1);
const withText = (text: string) => () => Buffer.from(text);

test("P7: nothing at all is refused, says how a server comes to be, and makes no file", async () => {
  const fs = new MemoryDisk().mount();
  expect((await refusal(readServer(fs, "raft_state"))).message).toContain("StartRaft");
  expect(await fs.listDirectory("/")).toEqual([]);
  await createServerStore(fs, "raft_state", { ...IDENTITY, serverId: 2 });
  await expectRefused(fs, "failedPrecondition", STATE, "server 1 has no state");
  await fs.makeDirectory(DIRECTORY);
  await expectRefused(fs, "failedPrecondition", STATE, "server 1 has no state");
});

test("P7, P9: a log without its state file, or the other way round, is never a fresh server", async () => {
  let fs = await server();
  await fs.removeFile(STATE);
  await expectRefused(fs, "failedPrecondition", STATE, "state file is missing");
  expect((await refusal(createServerStore(fs, "raft_state", IDENTITY))).code).toBe("failedPrecondition");
  fs = await server();
  for (const name of [FIRST, MIDDLE, LAST]) await fs.removeFile(`${DIRECTORY}/${name}`);
  await expectRefused(fs, "failedPrecondition", DIRECTORY, "log is missing");
  expect((await refusal(createServerStore(fs, "raft_state", IDENTITY))).code).toBe("failedPrecondition");
  await fs.removeFile(`${DIRECTORY}/lock`);
  await fs.removeDirectory(DIRECTORY);
  await expectRefused(fs, "failedPrecondition", DIRECTORY, "directory is missing");
  await eraseServer(fs, "raft_state", 1);
  expect(await fs.listDirectory("raft_state")).toEqual([]);
});

test("P7: an empty, garbage or cut state file is refused", async () => {
  await expectRefused(await serverWith(STATE, withText("")), "corruption", STATE, "empty");
  await expectRefused(await serverWith(STATE, withText("\0\0\0\0")), "corruption", STATE, "not JSON");
  await expectRefused(await serverWith(STATE, cutAt(40)), "corruption", STATE, "not JSON");
  await expectRefused(await serverWith(STATE, withText(`{"format":1}`)), "corruption", STATE, "clusterId");
  const state = (await read(await server(), STATE)).toString();
  const otherTerm = withText(state.replace(`"currentTerm": 2`, `"currentTerm": 3`));
  await expectRefused(await serverWith(STATE, otherTerm), "corruption", STATE, "checksum");
});

test("P10: another server's, cluster's or format's file is refused", async () => {
  const renamed = await server();
  await renamed.rename(STATE, "raft_state/server_0.json");
  await createServerStore(renamed, "raft_state", { ...IDENTITY, serverId: 2 });
  await renamed.rename("raft_state/server_2.json", STATE);
  await expectRefused(renamed, "failedPrecondition", STATE, "belongs to server 2");
  await expectRefused(
    await serverWith(STATE, withText(`{"format":2}`)),
    "failedPrecondition",
    STATE,
    "format 2",
  );

  const path = `${DIRECTORY}/${MIDDLE}`;
  const header = { format: 1, clusterId: "cluster-a", serverId: 1, firstIndex: 5, previousTerm: 1 };
  const withHeader = (changed: object) =>
    serverWith(path, (bytes) => {
      const line = encodeRecord(JSON.stringify({ ...header, ...changed }));
      return Buffer.concat([Buffer.from(line), bytes.subarray(lineStart(bytes, 1))]);
    });
  expect((await readServer(await withHeader({}), "raft_state")).entries).toEqual(ENTRIES);
  await expectRefused(await withHeader({ format: 2, more: true }), "failedPrecondition", path, "format 2");
  await expectRefused(await withHeader({ clusterId: "cluster-b" }), "failedPrecondition", path, "cluster-b");
  await expectRefused(await withHeader({ serverId: 0 }), "failedPrecondition", path, "server 0");
  await expectRefused(await withHeader({ firstIndex: 6 }), "corruption", path, "byte 0", "entry 6");
  await expectRefused(await withHeader({ previousTerm: 0 }), "corruption", path, "byte 0", "term 0");
});

test("P7: a left-over temporary file is removed and reported, whatever is in it", async () => {
  for (const content of ["", "garbage", `{"format":1}`]) {
    const fs = await server();
    await fs.writeFile(`${STATE}.tmp`, Buffer.from(content));
    await expectMended(fs, ENTRIES.length, `${STATE}.tmp`);
    expect(await fs.readFile(`${STATE}.tmp`)).toBeNull();
  }
});

test("P3: a last segment without a whole header is removed and reported", async () => {
  const header = Buffer.from(encodeHeader(IDENTITY, 11, 2));
  for (let length = 0; length < header.length; length++) {
    const fs = await server();
    await fs.writeFile(`${DIRECTORY}/${segmentName(11)}`, header.subarray(0, length));
    await expectMended(fs, ENTRIES.length, segmentName(11), "removed");
  }
  const fs = await server();
  await fs.writeFile(`${DIRECTORY}/${segmentName(11)}`, Buffer.alloc(header.length));
  await expectMended(fs, ENTRIES.length, segmentName(11), "removed");
});

test("P4: a header that is damaged otherwise is refused, also in the last segment and the first", async () => {
  for (const name of [FIRST, MIDDLE, LAST]) {
    const path = `${DIRECTORY}/${name}`;
    await expectRefused(await serverWith(path, flip(20)), "corruption", path, "byte 0", "header");
  }
  const fs = await server();
  for (const name of [MIDDLE, LAST]) await fs.removeFile(`${DIRECTORY}/${name}`);
  await fs.writeFile(`${DIRECTORY}/${FIRST}`, Buffer.alloc(0));
  await expectRefused(fs, "corruption", FIRST, "byte 0", "header");
});

test("P4: a last segment of a header alone is refused when a bit of it is wrong, whole or cut", async () => {
  const path = `${DIRECTORY}/${segmentName(11)}`;
  const header = Buffer.from(encodeHeader(IDENTITY, 11, 2));
  for (let at = 0; at < header.length; at++) {
    const flipped = flip(at)(Buffer.from(header));
    for (const length of [header.length, at + 1]) {
      const fs = await server();
      await fs.writeFile(path, flipped.subarray(0, length));
      await expectRefused(fs, "corruption", path, "byte 0", "header");
    }
  }
});

test("P4: a segment that was being created when the one before it was damaged proves the damage", async () => {
  const path = `${DIRECTORY}/${LAST}`;
  const fs = await serverWith(path, (bytes) => bytes.subarray(0, bytes.length - 5));
  await fs.writeFile(`${DIRECTORY}/${segmentName(11)}`, Buffer.alloc(0));
  await expectRefused(fs, "corruption", path, "cut short");
});

test("P3: the last write, cut anywhere, is cut off and the server starts", async () => {
  const path = `${DIRECTORY}/${LAST}`;
  const whole = await read(await server(), path);
  const start = lineStart(whole, 3);
  for (let length = start + 1; length < whole.length; length++) {
    await expectMended(
      await serverWith(path, cutAt(length)),
      9,
      path,
      `byte ${start}`,
      `${length - start} bytes`,
    );
  }
});

test("P3: a last write with sectors that were never written is cut off, with what came after them", async () => {
  for (const lost of [1, 2, 3, 4, 5]) {
    const fs = new MemoryDisk().mount();
    const last = puts(4, 5, 1, 500);
    await writeServer(fs, "raft_state", [
      group(term(1), append(...puts(1, 3, 1))),
      group(null, append(...last)),
    ]);
    const path = `${DIRECTORY}/${FIRST}`;
    const bytes = await read(fs, path);
    const from = Math.max(lost * SECTOR_BYTES, lineStart(bytes, 4));
    await fs.writeFile(path, bytes.fill(0, from, (lost + 1) * SECTOR_BYTES));
    const found = await readServer(fs, "raft_state");
    const kept = bytes.subarray(0, from).toString().split("\n").length - 2;
    expect(found.entries).toEqual([...puts(1, 3, 1), ...last].slice(0, kept));
    expect(found.repairs[0]).toContain("torn write");
    expect((await readServer(fs, "raft_state")).repairs).toEqual([]);
  }
});

test("P4: lost sectors before a record that proves them durable are corruption, even right before it", async () => {
  const path = `${DIRECTORY}/${FIRST}`;
  const groups = [append(put(1, 1, "k", "v".repeat(900))), append(noop(2, 1))];
  const fs = new MemoryDisk().mount();
  await writeServer(
    fs,
    "raft_state",
    groups.map((write) => group(term(1), write)),
  );
  const bytes = await read(fs, path);
  const start = lineStart(bytes, 1);
  // The hole swallows the newline before the record that tells.
  for (const [from, to] of [
    [SECTOR_BYTES, 2 * SECTOR_BYTES],
    [SECTOR_BYTES, lineStart(bytes, 2)],
  ] as const) {
    await fs.writeFile(path, Buffer.from(bytes).fill(0, from, to));
    await expectRefused(fs, "corruption", path, `byte ${start}`, "later record proves");
  }
});

test("P4: a complete line with a wrong checksum or content is refused, wherever it stands", async () => {
  for (const [name, lines] of [
    [FIRST, 4],
    [MIDDLE, 3],
    [LAST, 3],
  ] as const) {
    const path = `${DIRECTORY}/${name}`;
    for (let line = 1; line <= lines; line++) {
      const start = lineStart(await read(await server(), path), line);
      await expectRefused(await serverWith(path, flip(start + 30)), "corruption", path, `byte ${start}`);
    }
  }
  const path = `${DIRECTORY}/${LAST}`;
  const wrongKind = Buffer.from(encodeRecord(`{"index":11,"term":2,"kind":"delete","key":"k"}`));
  const size = (await read(await server(), path)).length;
  const fs = await serverWith(path, (bytes) => Buffer.concat([bytes, wrongKind]));
  await expectRefused(fs, "corruption", path, `byte ${size}`, "entry 11");
});

test("P4: a last line of which only the newline is damaged is refused", async () => {
  const path = `${DIRECTORY}/${LAST}`;
  const bytes = await read(await server(), path);
  const start = lineStart(bytes, 3);
  for (let bit = 0; bit < 8; bit++) {
    const fs = await serverWith(path, flip(bytes.length - 1, 1 << bit));
    await expectRefused(fs, "corruption", path, `byte ${start}`, "newline");
  }
});

test("P4: a gap, a falling term, or a term that the state file does not know is refused", async () => {
  const path = `${DIRECTORY}/${LAST}`;
  const size = (await read(await server(), path)).length;
  const adding = (line: string) => serverWith(path, (bytes) => Buffer.concat([bytes, Buffer.from(line)]));
  await expectRefused(
    await adding(encodeEntry(noop(12, 2), null)),
    "corruption",
    path,
    `byte ${size}`,
    "entry 12",
  );
  await expectRefused(
    await adding(encodeEntry(noop(10, 2), null)),
    "corruption",
    path,
    `byte ${size}`,
    "entry 10",
  );
  await expectRefused(
    await adding(encodeEntry(noop(11, 1), null)),
    "corruption",
    path,
    `byte ${size}`,
    "term falls",
  );
  await expectRefused(await adding(encodeEntry(noop(11, 3), null)), "corruption", path, "term 3", "only 2");
});

test("P4: a missing segment is refused by name, at the beginning, in the middle and at the end", async () => {
  for (const names of [[FIRST], [MIDDLE], [LAST], [MIDDLE, LAST]]) {
    const fs = await server();
    for (const name of names) await fs.removeFile(`${DIRECTORY}/${name}`);
    await expectRefused(fs, "corruption", `${DIRECTORY}/`, `${names[0]}`, "missing");
  }
});

/** The next segment of the server above, as a roll leaves it: durable, without entries. */
const NEXT = segmentName(11);
const NEXT_HEADER = Buffer.from(encodeHeader(IDENTITY, 11, 2));

/** The server with `next` as that segment's bytes, and `footer` at the end of the one before it. */
async function rolling(next: Uint8Array, footer: Uint8Array): Promise<FileSystem> {
  const fs = await serverWith(`${DIRECTORY}/${LAST}`, (bytes) => Buffer.concat([bytes, footer]));
  await fs.writeFile(`${DIRECTORY}/${NEXT}`, next);
  return fs;
}

test("P3: a footer that was not begun, or cut anywhere, is completed when nothing was written after it", async () => {
  const size = (await read(await server(), `${DIRECTORY}/${LAST}`)).length;
  const footer = Buffer.from(encodeFooter(11));
  for (let length = 0; length < footer.length; length++) {
    const fs = await rolling(NEXT_HEADER, footer.subarray(0, length));
    await expectMended(fs, ENTRIES.length, LAST, `byte ${size}`, "footer");
    expect((await read(fs, `${DIRECTORY}/${LAST}`)).subarray(size)).toEqual(footer);
  }
  await expectMended(await rolling(NEXT_HEADER, Buffer.alloc(footer.length)), ENTRIES.length, LAST, "footer");
  const whole = await readServer(await rolling(NEXT_HEADER, footer), "raft_state", OPTIONS);
  expect([whole.entries, whole.repairs]).toEqual([ENTRIES, []]);
});

test("P3: a footer of which one of two sectors was never written is completed", async () => {
  const options = { maxSegmentBytes: 450 };
  const path = `${DIRECTORY}/${FIRST}`;
  const written = async () => {
    const fs = new MemoryDisk().mount();
    const groups = [1, 2].map((index) => group(term(1), append(put(index, 1, "k", "v".repeat(330)))));
    await writeServer(fs, "raft_state", groups, options);
    const header = encodeHeader(IDENTITY, 2, 1);
    await fs.writeFile(`${DIRECTORY}/${segmentName(2)}`, Buffer.from(header));
    return fs;
  };
  const whole = await read(await written(), path);
  const start = lineStart(whole, 2);
  expect(start).toBeLessThan(SECTOR_BYTES);
  expect(whole.length).toBeGreaterThan(SECTOR_BYTES);
  for (const [from, to] of [
    [start, SECTOR_BYTES],
    [SECTOR_BYTES, whole.length],
  ] as const) {
    const fs = await written();
    await fs.writeFile(path, Buffer.from(whole).fill(0, from, to));
    const { repairs } = await readServer(fs, "raft_state", options);
    expect(repairs).toHaveLength(1);
    expect(await read(fs, path)).toEqual(whole);
  }
});

test("P4: a footer that is damaged otherwise is refused, whole or cut, also when nothing was written after it", async () => {
  const size = (await read(await server(), `${DIRECTORY}/${LAST}`)).length;
  const footer = Buffer.from(encodeFooter(11));
  for (let at = 0; at < footer.length; at++) {
    const flipped = flip(at)(Buffer.from(footer));
    for (const length of [footer.length, at + 1]) {
      const fs = await rolling(NEXT_HEADER, flipped.subarray(0, length));
      await expectRefused(fs, "corruption", LAST, `byte ${size}`);
    }
  }
});

test("P4: a footer before a header that is not whole is refused", async () => {
  const footer = Buffer.from(encodeFooter(11));
  for (let length = 0; length < NEXT_HEADER.length; length++) {
    const fs = await rolling(NEXT_HEADER.subarray(0, length), footer);
    await expectRefused(fs, "corruption", NEXT, "byte 0", "header", LAST, "proves");
  }
});

test("P4: a part of a footer before a header that is not whole is refused", async () => {
  const fs = await rolling(NEXT_HEADER.subarray(0, 9), Buffer.from(encodeFooter(11)).subarray(0, 9));
  await expectRefused(fs, "corruption", LAST, "cut short");
});

test("P4: a footer that is missing or torn is refused when later segments hold entries, or a part of one", async () => {
  for (const name of [FIRST, MIDDLE]) {
    const path = `${DIRECTORY}/${name}`;
    const whole = await read(await server(), path);
    const start = whole.lastIndexOf("\n", whole.length - 2) + 1;
    for (let length = start; length < whole.length; length++) {
      await expectRefused(
        await serverWith(path, cutAt(length)),
        "corruption",
        path,
        `byte ${start}`,
        "footer",
      );
    }
  }
  const entry = Buffer.from(encodeEntry(noop(11, 2), 10));
  for (const length of [1, entry.length]) {
    const next = Buffer.concat([NEXT_HEADER, entry.subarray(0, length)]);
    await expectRefused(await rolling(next, Buffer.alloc(0)), "corruption", LAST, "footer");
  }
});

test("P4: a footer that names another entry, or has no entry before it, is refused", async () => {
  const path = `${DIRECTORY}/${LAST}`;
  const size = (await read(await server(), path)).length;
  for (const nextIndex of [10, 12]) {
    const fs = await rolling(NEXT_HEADER, Buffer.from(encodeFooter(nextIndex)));
    await expectRefused(fs, "corruption", path, `byte ${size}`, `footer before entry ${nextIndex}`);
  }
  const sealed = Buffer.concat([NEXT_HEADER, Buffer.from(encodeFooter(11))]);
  const fs = await rolling(sealed, Buffer.from(encodeFooter(11)));
  await expectRefused(fs, "corruption", NEXT, `byte ${NEXT_HEADER.length}`, "footer");
});

test("P4: whatever follows a footer is refused", async () => {
  const size = (await read(await server(), `${DIRECTORY}/${LAST}`)).length;
  for (const more of [encodeEntry(noop(11, 2), 10), encodeFooter(11), "x", "\0", "\n"]) {
    const fs = await rolling(NEXT_HEADER, Buffer.from(encodeFooter(11) + more));
    await expectRefused(fs, "corruption", LAST, `byte ${size}`, "follows the footer");
  }
});

test("P4: lost sectors before a footer that proves them durable are corruption, also when the next segment is lost", async () => {
  const path = `${DIRECTORY}/${FIRST}`;
  const fs = new MemoryDisk().mount();
  const long = [put(1, 1, "k", "v".repeat(900)), noop(2, 1)];
  await writeServer(fs, "raft_state", [group(term(1), append(...long))], { maxSegmentBytes: 1000 });
  await fs.removeFile(`${DIRECTORY}/${segmentName(2)}`);
  await fs.writeFile(path, (await read(fs, path)).fill(0, SECTOR_BYTES, 2 * SECTOR_BYTES));
  await expectRefused(fs, "corruption", path, "later record proves");
});

test("P4: a segment before the last that ends in mid-line is refused", async () => {
  const path = `${DIRECTORY}/${MIDDLE}`;
  await expectRefused(
    await serverWith(path, (bytes) => bytes.subarray(0, bytes.length - 3)),
    "corruption",
    path,
  );
});

test("P4: a segment that was damaged behind a running server's back stops a truncation into it", async () => {
  const fs = await server();
  const { store } = await openServerStore(fs, "raft_state", 1, OPTIONS);
  const path = `${DIRECTORY}/${MIDDLE}`;
  await fs.writeFile(path, flip(200)(await read(fs, path)));
  expect((await refusal(store.persist(group(null, truncate(6))))).code).toBe("corruption");
  expect((await refusal(store.persist(group(term(3))))).code).toBe("io");
});

test("files that are not named as ours are left alone", async () => {
  const fs = await server();
  const foreign = [
    "log-1.jsonl",
    "log-0000000000000001.jsonl.bak",
    "notes.txt",
    "log-0000000000000000.jsonl",
  ];
  for (const name of foreign) await fs.writeFile(`${DIRECTORY}/${name}`, Buffer.from("foreign"));
  const found = await readServer(fs, "raft_state", OPTIONS);
  expect(found.entries).toEqual(ENTRIES);
  expect(found.repairs).toEqual([]);
  for (const name of foreign) expect((await read(fs, `${DIRECTORY}/${name}`)).toString()).toBe("foreign");
});

test("P4: one flipped bit, at every byte of every file, is refused or changes nothing", async () => {
  const settled = await server();
  const rolled = await rolling(NEXT_HEADER, Buffer.from(encodeFooter(11)));
  expect(await everyFlip(settled, [FIRST, MIDDLE, LAST])).toBeGreaterThan(10_000);
  expect(await everyFlip(rolled, [LAST, NEXT])).toBeGreaterThan(2_000);
}, 60_000);

/** Flips every bit of the state file and those of the log, one at a time. Resolves to how many were refused. */
async function everyFlip(fs: FileSystem, names: readonly string[]): Promise<number> {
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
