import { describe, expect, test } from "bun:test";
import { RaftKvError } from "../../src/base/errors.ts";
import { humanLine, jsonLine, type LogFields } from "../../src/observability/log-line.ts";

function event(fields: LogFields, message = "it happened") {
  return {
    timeMs: Date.UTC(2025, 0, 31, 12),
    level: "warn",
    logger: "server.storage",
    message,
    fields,
  } as const;
}

/** The fields of the JSON line, read back. */
function fieldsOf(fields: LogFields): Record<string, unknown> {
  const line = jsonLine(event(fields));
  expect(line.indexOf("\n")).toBe(line.length - 1);
  return JSON.parse(line).fields;
}

describe("a JSON line", () => {
  test("it holds time, level, logger, message and fields", () => {
    expect(jsonLine(event({ file: "log-1.jsonl", bytes: 17 }))).toBe(
      '{"time":"2025-01-31T12:00:00.000Z","level":"warn","logger":"server.storage","message":"it happened",' +
        '"fields":{"file":"log-1.jsonl","bytes":17}}\n',
    );
  });

  test("without fields it has none", () => {
    expect(JSON.parse(jsonLine(event({})))).not.toHaveProperty("fields");
  });

  test("I1: line breaks, quotes and lone surrogates do not break it", () => {
    const text = 'a\nb\r"\ud800\0';
    expect(fieldsOf({ text })).toEqual({ text });
  });

  test("an error comes out with its code, message and stack", () => {
    const error = new RaftKvError("io", "raft_state: no such directory");
    expect(fieldsOf({ error })).toEqual({
      error: { code: "io", message: error.message, stack: error.stack },
    });
  });

  test("an error without a code has none", () => {
    expect(fieldsOf({ error: new Error("x") })["error"]).not.toHaveProperty("code");
  });

  test("an error's cause comes out too, and so do errors deeper in the fields", () => {
    const error = new RaftKvError("io", "outer", { cause: new Error("inner") });
    expect(fieldsOf({ list: [error] })).toMatchObject({
      list: [{ message: "outer", cause: { message: "inner" } }],
    });
  });

  test("what JSON cannot say does not stop it", () => {
    expect(fieldsOf({ big: 2n ** 64n })).toEqual({ big: "18446744073709551616" });
    const circle: Record<string, unknown> = {};
    circle["self"] = circle;
    expect(fieldsOf(circle)).toHaveProperty("unprintable");
  });

  test("an error that causes itself is told a few times", () => {
    const error = new Error("x");
    error.cause = error;
    expect(jsonLine(event({ error })).split('"message":"x"').length).toBe(6);
  });
});

describe("a line for people", () => {
  test("it is short", () => {
    expect(humanLine(event({ file: "log-1.jsonl", bytes: 17, why: "torn tail", list: [1, 2] }))).toBe(
      '12:00:00.000 WARN  server.storage  it happened  file=log-1.jsonl bytes=17 why="torn tail" list=[1,2]\n',
    );
    expect(humanLine(event({}))).toBe("12:00:00.000 WARN  server.storage  it happened\n");
  });

  test("an error is its message and code", () => {
    expect(humanLine(event({ error: new RaftKvError("io", "disk full") }))).toEndWith(
      "  error=disk full (io)\n",
    );
  });

  test("I1: nothing breaks it or reaches the terminal as a command", () => {
    const line = humanLine(event({ a: "x\ny", error: new Error("p\n\u001b[2Jq") }, "one\ntwo\u001b[31m"));
    expect(line).toEndWith('one two [31m  a="x\\ny" error=p [2Jq\n');
    const circle: Record<string, unknown> = {};
    circle["self"] = circle;
    expect(humanLine(event({ circle, gone: undefined }))).toContain("circle=unprintable: ");
  });
});
