import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lastWords } from "../../src/frontend/last-words.ts";

let directory = "";
let log = "";

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "raftkv-words-"));
  log = join(directory, "server_0.log");
});

afterAll(() => rm(directory, { recursive: true }));

function line(level: string, message: string, fields?: object): string {
  return JSON.stringify({ time: "t", level, logger: "server.0", message, fields });
}

test.each([
  ["a line that is not structured", [line("info", "serving"), "raftkv: no room", ""], "raftkv: no room"],
  ["an error", [line("error", "disk lost"), line("info", "serving"), ""], "disk lost"],
  ["what the error was", [line("error", "ends", { error: { message: "bad sum" } })], "ends: bad sum"],
  ["the last of two", [line("warn", "first"), line("warn", "second"), ""], "second"],
])("F2: %s is quoted", async (_, lines, words) => {
  await writeFile(log, lines.join("\n"));
  expect(await lastWords(log, 0)).toBe(words);
});

test("F2: where nothing is a reason to end, the log is named", async () => {
  await writeFile(log, `${line("info", "serving")}\n${line("debug", "tick")}\n`);
  expect(await lastWords(log, 0)).toBe(`its log is ${log}`);
  expect(await lastWords(join(directory, "absent.log"), 0)).toBe(`its log is ${directory}/absent.log`);
});

test("what was said before the start counts for nothing, nor does the rest of a line that is too long", async () => {
  const before = "raftkv: an earlier complaint\n";
  await writeFile(log, before);
  expect(await lastWords(log, before.length)).toBe(`its log is ${log}`);
  await writeFile(log, `${before}${line("info", "x".repeat(20_000))}\n`);
  expect(await lastWords(log, before.length)).toBe(`its log is ${log}`);
});
