/** The lines of an import and an export, and the batches that they travel in. */
import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { Lanes, type Batch } from "../../src/cli/bulk/lanes.ts";
import { pairLine, parsePairLine } from "../../src/cli/bulk/pair-line.ts";
import { progressLine } from "../../src/cli/bulk/progress.ts";
import { LineError, textLines } from "../../src/cli/bulk/text-lines.ts";
import type { Write } from "../../src/kv/command.ts";
import { decodeWrite, spanOf } from "../../src/rpc/write-codec.ts";
import { anyText } from "../kv/command-arbitrary.ts";
import { waitFor } from "../cluster/waiting.ts";

test("I1: any key and value come back from a line as they were, and the line is UTF-8", () => {
  const key = anyText.filter((text) => text !== "");
  fc.assert(
    fc.property(key, anyText, (key, value) => {
      const line = pairLine(key, value);
      expect([line.indexOf("\n"), line.includes("\0"), line.isWellFormed()]).toEqual([
        line.length - 1,
        false,
        true,
      ]);
      expect(parsePairLine(line)).toEqual({ key, value });
    }),
  );
});

test("I2: a line that is anything else is refused in a few words", () => {
  const wrong: readonly (readonly [line: string, why: string])[] = [
    ["", "it is not JSON"],
    ["key value", "it is not JSON"],
    ['{"key":"k","value":"v"', "it is not JSON"],
    ['["k","v"]', "it is no object"],
    ["null", "it is no object"],
    ["{}", '"key" is missing'],
    ['{"key":1,"value":"v"}', '"key" is no text'],
    ['{"key":"k"}', '"value" is missing'],
    ['{"key":"k","value":null}', '"value" is no text'],
    ['{"key":"","value":"v"}', '"key" is empty'],
    ['{"key":"k","value":"v","ttl":5}', '"ttl" is not known'],
    ['{"key":"k","value":"v","__proto__":{}}', '"__proto__" is not known'],
  ];
  for (const [line, why] of wrong) expect([line, parsePairLine(line)]).toEqual([line, why]);
  expect(parsePairLine(' { "value" : "v", "key" : "k" }\r')).toEqual({ key: "k", value: "v" });
});

async function* chunksOf(bytes: Buffer, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (let turn = 0; at < bytes.length; turn += 1) {
    const size = sizes[turn % sizes.length] ?? 1;
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

/** The lines that come, and the error after them. */
async function read(bytes: Buffer, sizes: readonly number[]) {
  const lines: string[] = [];
  try {
    for await (const block of textLines(chunksOf(bytes, sizes))) {
      expect(block.firstNumber).toBe(lines.length + 1);
      lines.push(...block.lines);
    }
    return { lines, error: null };
  } catch (error) {
    if (error instanceof LineError) return { lines, error: `${error.lineNumber}: ${error.message}` };
    throw error;
  }
}

test("I1: lines come whole, whatever pieces the file comes in, with or without a newline at its end", async () => {
  const line = fc.string({ unit: "grapheme", maxLength: 20 }).map((text) => text.replaceAll("\n", ""));
  await fc.assert(
    fc.asyncProperty(
      fc.array(line, { minLength: 1, maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
      async (lines, sizes) => {
        const ended = Buffer.from(lines.map((each) => `${each}\n`).join(""));
        expect(await read(ended, sizes)).toEqual({ lines, error: null });
        const open = lines.at(-1) === "" ? lines.slice(0, -1) : lines;
        expect(await read(ended.subarray(0, -1), sizes)).toEqual({ lines: open, error: null });
      },
    ),
  );
});

test("I2: the first line that is not UTF-8 is named, after all before it", async () => {
  const bytes = Buffer.concat([Buffer.from("one\ntwo\nthr"), Buffer.from([0xff]), Buffer.from("\nfour\n")]);
  for (const size of [1, 3, 5, 100]) {
    expect(await read(bytes, [size])).toEqual({ lines: ["one", "two"], error: "3: it is not UTF-8 text" });
  }
});

async function* endless(): AsyncGenerator<Uint8Array> {
  yield Buffer.from("good\n");
  for (;;) yield Buffer.alloc(8 * 1024 * 1024, "x");
}

test("I3: a line without an end is given up, and not held for ever", async () => {
  const lines = textLines(endless());
  expect((await lines.next()).value?.lines).toEqual(["good"]);
  await expect(lines.next()).rejects.toThrow("the line has more than 33554432 bytes");
});

function writesIn({ writes }: Batch): readonly Write[] {
  return writes.map((bytes) => decodeWrite(bytes, spanOf(bytes)) ?? { key: "", value: "not text" });
}

/** Adds the writes one after the other, as an import does. */
async function addAll(lanes: Lanes, writes: readonly Write[]): Promise<void> {
  for (const [at, write] of writes.entries()) await lanes.add(write, at + 1, 1);
}

test("a later write to a key is never under way beside an earlier one, and none is lost", async () => {
  const underWay = new Set<string>();
  const store = new Map<string, string>();
  let most = 0;
  let batches = 0;
  let lines = 0;
  const lanes = new Lanes(async (batch) => {
    batches += 1;
    const writes = writesIn(batch);
    const keys = new Set(writes.map(({ key }) => key));
    for (const key of keys) expect(underWay.has(key)).toBe(false);
    for (const key of keys) underWay.add(key);
    most = Math.max(most, underWay.size);
    await Bun.sleep((batches * 7) % 5);
    for (const { key, value } of writes) store.set(key, value);
    for (const key of keys) underWay.delete(key);
    lines += batch.lineNumbers.length;
  });
  const writes = Array.from({ length: 40_000 }, (_, n) => ({ key: `k${(n * 7919) % 500}`, value: `${n}` }));
  await addAll(lanes, writes);
  await lanes.finish();
  expect(lines).toBe(writes.length);
  expect(store).toEqual(new Map(writes.map(({ key, value }) => [key, value])));
  expect([batches > 20, most > 250]).toEqual([true, true]);
});

test("I3: a batch is bounded in writes and bytes, a larger write travels alone, and whoever adds too much waits", async () => {
  const batches: Batch[] = [];
  const held = Promise.withResolvers<void>();
  const lanes = new Lanes((batch) => {
    batches.push(batch);
    return held.promise;
  });
  let added = 0;
  const adding = (async () => {
    const large = { key: "k", value: "x".repeat(1_000_000) };
    for (const value of ["a", "b"]) await lanes.add({ key: "k", value }, ++added, 1);
    await lanes.add(large, ++added, 1);
    for (let n = 0; n < 5000; n += 1) await lanes.add({ key: "k", value: "x".repeat(1000) }, ++added, 1);
  })();
  await waitFor("it waits", () => batches.length === 1);
  await Bun.sleep(20);
  expect([batches.length, added]).toEqual([1, 4]);
  held.resolve();
  await adding;
  await lanes.finish();
  expect(batches.slice(0, 2).map(({ writes }) => writes.length)).toEqual([2, 1]);
  for (const { writes, bytes } of batches.slice(2)) {
    expect([writes.length <= 1024, bytes <= 256 * 1024]).toEqual([true, true]);
  }
  expect(batches.flatMap(({ lineNumbers }) => lineNumbers)).toEqual(
    Array.from({ length: 5003 }, (_, n) => n + 1),
  );
});

test("after a batch has failed none is sent, and the failure is told when nothing is under way", async () => {
  let sent = 0;
  let ended = 0;
  const lanes = new Lanes(async () => {
    const number = ++sent;
    await Bun.sleep(number);
    ended += 1;
    if (number === 1) throw new Error("the first");
  });
  const writes = Array.from({ length: 30_000 }, (_, n) => ({ key: `k${n}`, value: "x".repeat(100) }));
  await expect(addAll(lanes, writes)).rejects.toThrow("the first");
  const before = sent;
  await expect(lanes.finish()).rejects.toThrow("the first");
  expect([sent, ended]).toEqual([before, before]);
});

test("a line of progress has a bar where the end is known", () => {
  expect(progressLine(1, 0.4, null)).toBe("1 entry, 0 /s");
  expect(progressLine(1_234_567, 52_000, 0.5)).toBe(
    "[############------------]  50 %  1,234,567 entries, 52,000 /s",
  );
  expect(progressLine(0, 0, 0)).toBe(`[${"-".repeat(24)}]   0 %  0 entries, 0 /s`);
  expect(progressLine(9, 9, 1.2)).toBe(`[${"#".repeat(24)}] 100 %  9 entries, 9 /s`);
});
