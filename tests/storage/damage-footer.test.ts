/** The table at the head of server-store.ts, a test a row: the footers of the log. */
import { expect, test } from "bun:test";

import { encodeEntry, encodeFooter } from "../../src/storage/log-record.ts";
import { encodeHeader, SECTOR_BYTES } from "../../src/storage/segment.ts";
import { segmentName } from "../../src/storage/server-files.ts";
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
  NEXT,
  NEXT_HEADER,
  OPTIONS,
  read,
  rolling,
  server,
  serverWith,
} from "./damaged-server.ts";
import { append, group, IDENTITY, killedServer, noop, put, readServer, term } from "./sample-log.ts";

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
  expect([whole.log.entries, whole.repairs]).toEqual([ENTRIES, []]);
});

test("P3: a footer of which one of two sectors was never written is completed", async () => {
  const options = { maxSegmentBytes: 450 };
  const path = `${DIRECTORY}/${FIRST}`;
  const written = async () => {
    const groups = [1, 2].map((index) => group(term(1), append(put(index, 1, "k", "v".repeat(330)))));
    const fs = await killedServer(groups, options);
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
  const long = [put(1, 1, "k", "v".repeat(900)), noop(2, 1)];
  const fs = await killedServer([group(term(1), append(...long))], { maxSegmentBytes: 1000 });
  await fs.removeFile(`${DIRECTORY}/${segmentName(2)}`);
  await fs.writeFile(path, (await read(fs, path)).fill(0, SECTOR_BYTES, 2 * SECTOR_BYTES));
  await expectRefused(fs, "corruption", path, "later record proves");
});
