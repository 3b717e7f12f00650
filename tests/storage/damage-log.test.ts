/** The table at the head of server-store.ts, a test a row: the log, and the judgement of segment.ts. */
import { expect, test } from "bun:test";

import { encodeEntry, encodeRecord } from "../../src/storage/log-record.ts";
import { encodeHeader, SECTOR_BYTES } from "../../src/storage/segment.ts";
import { segmentName } from "../../src/storage/server-files.ts";
import { openServerStore } from "../../src/storage/server-store.ts";
import {
  cutAt,
  DIRECTORY,
  ENTRIES,
  expectMended,
  expectRefused,
  FIRST,
  flip,
  LAST,
  lineStart,
  MIDDLE,
  OPTIONS,
  read,
  server,
  serverWith,
} from "./damaged-server.ts";
import {
  append,
  group,
  IDENTITY,
  killedServer,
  noop,
  put,
  puts,
  readServer,
  refusal,
  term,
  truncate,
} from "./sample-log.ts";

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
    const last = puts(4, 5, 1, 500);
    const groups = [group(term(1), append(...puts(1, 3, 1))), group(null, append(...last))];
    const fs = await killedServer(groups);
    const path = `${DIRECTORY}/${FIRST}`;
    const bytes = await read(fs, path);
    const from = Math.max(lost * SECTOR_BYTES, lineStart(bytes, 4));
    await fs.writeFile(path, bytes.fill(0, from, (lost + 1) * SECTOR_BYTES));
    const found = await readServer(fs, "raft_state");
    const kept = bytes.subarray(0, from).toString().split("\n").length - 2;
    expect(found.log.entries).toEqual([...puts(1, 3, 1), ...last].slice(0, kept));
    expect(found.repairs[0]).toContain("torn write");
    expect((await readServer(fs, "raft_state")).repairs).toEqual([]);
  }
});

test("P4: lost sectors before a record that proves them durable are corruption, even right before it", async () => {
  const path = `${DIRECTORY}/${FIRST}`;
  const groups = [append(put(1, 1, "k", "v".repeat(900))), append(noop(2, 1))];
  const fs = await killedServer(groups.map((write) => group(term(1), write)));
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
