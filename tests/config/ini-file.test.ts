import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { stringify } from "ini";
import { RaftKvError } from "../../src/base/errors.ts";
import { readIni } from "../../src/config/ini-file.ts";

/** The value of a lone setting. */
function valueOf(raw: string): string | undefined {
  return readIni(`key = ${raw}`, "config.ini")[0]?.value;
}

/** The message of the error that the text ends in. */
function refusal(text: string): string {
  try {
    readIni(text, "config.ini");
  } catch (error) {
    if (error instanceof RaftKvError && error.code === "invalidArgument") return error.message;
    throw error;
  }
  throw new Error("it was accepted");
}

describe("lines", () => {
  test("sections, settings, comments and empty lines are told apart", () => {
    const text =
      "\uFEFF; a\r\n# b\n\n  [ One ] ; c\nkey=value\r  other =  x = y  \n[Two]\nkey =\n[One]\nthird = 3";
    expect(readIni(text, "config.ini")).toEqual([
      { section: "One", key: "key", value: "value" },
      { section: "One", key: "other", value: "x = y" },
      { section: "Two", key: "key", value: "" },
      { section: "One", key: "third", value: "3" },
    ]);
  });

  test("keys and sections named like what objects inherit are kept", () => {
    expect(
      readIni("[__proto__]\n__proto__ = 1\nconstructor = 2\na[] = 3\n[a.b]\nc.d = 4", "config.ini"),
    ).toEqual([
      { section: "__proto__", key: "__proto__", value: "1" },
      { section: "__proto__", key: "constructor", value: "2" },
      { section: "__proto__", key: "a[]", value: "3" },
      { section: "a.b", key: "c.d", value: "4" },
    ]);
  });

  test("a key that stands twice in a section is refused, also when the section does", () => {
    const expected = 'config.ini: [A] x = "2": expected every key once';
    expect(refusal("[A]\nx = 1\nx = 2")).toBe(expected);
    expect(refusal("[A]\nx = 1\n[B]\nx = 2\n[A]\nx = 2")).toBe(expected);
  });

  test("a line of no known form is refused and shown", () => {
    const expected = ': expected "key = value" or "[Section]"';
    expect(refusal("[A]\nx")).toBe(`config.ini: [A] "x"${expected}`);
    expect(refusal("= 1")).toBe(`config.ini: "= 1"${expected}`);
    expect(refusal("[Broken")).toBe(`config.ini: "[Broken"${expected}`);
    expect(refusal("[A] x")).toBe(`config.ini: "[A] x"${expected}`);
  });
});

describe("values", () => {
  test("a value is text, whatever it looks like", () => {
    for (const text of ["true", "false", "null", "1", "[1]", "{}", "a.b", "\\", "a\\b", "héé", "a b"]) {
      expect(valueOf(text)).toBe(text);
    }
  });

  test("quotes go, and what stands between them stays text", () => {
    const values = {
      '"a b "': "a b ",
      '"1"': "1",
      "'1'": "1",
      "'null'": "null",
      "'{\"a\":1}'": '{"a":1}',
      "'it'": "it",
    };
    for (const [raw, value] of Object.entries(values)) expect(valueOf(raw)).toBe(value);
    expect(valueOf('""')).toBe("");
    expect(valueOf("''")).toBe("");
  });

  test("a comment goes unless it is escaped or quoted", () => {
    expect(valueOf("a ; b")).toBe("a");
    expect(valueOf("a#b")).toBe("a");
    expect(valueOf("a\\;b\\#c")).toBe("a;b#c");
    expect(valueOf('"a;b#c"')).toBe("a;b#c");
    expect(valueOf("; nothing")).toBe("");
  });

  test("a value that is quoted in part is refused", () => {
    for (const raw of ['"a', "'a", '"', "'", '"a" ; b', "\"a'", '"a" b', '"a\\q"']) {
      expect(refusal(`[A]\nx = ${raw}`)).toEndWith(": expected a value quoted whole or not at all");
    }
  });

  test("what the package writes is read back", () => {
    // But for a backslash before what it escapes: it writes two of them, and reads them as one and a comment.
    const isUnreadable = /^['"]|\\[;#]/;
    const text = fc
      .string({ unit: "binary-ascii", maxLength: 10 })
      .filter((value) => !isUnreadable.test(value));
    fc.assert(
      fc.property(text, (value) => {
        expect(readIni(stringify({ A: { key: value } }), "config.ini")[0]?.value).toBe(value);
      }),
    );
  });
});

test("an error is one line of bounded length, whatever the file holds", () => {
  const message = refusal(`[A\u0007]\nx\u001b = 1\nx\u001b = ${"\u2028y".repeat(1000)}`);
  expect(message).not.toMatch(/[\p{Cc}\u2028\u2029]/u);
  expect(message.length).toBeLessThan(200);
});
