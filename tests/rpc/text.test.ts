import { describe, expect, test } from "bun:test";
import { assert, integer, property, string, uint8Array } from "fast-check";
import { decodeText, encodeText } from "../../src/rpc/text.ts";

describe("keys and values on the wire", () => {
  test("I1: every string comes back exactly, lone surrogates too", () => {
    assert(
      property(string({ unit: integer({ min: 0, max: 0xffff }).map((u) => String.fromCharCode(u)) }), (s) => {
        expect(decodeText(encodeText(s))).toBe(s);
      }),
    );
  });

  test("I1: what is valid UTF-8 is the same bytes that any other client sends", () => {
    assert(
      property(string({ unit: "binary" }), (s) => {
        expect(encodeText(s).equals(Buffer.from(s, "utf8"))).toBe(true);
      }),
    );
  });

  test("I1: a leading byte order mark is kept", () => {
    expect(decodeText(Buffer.from("\ufeffx"))).toBe("\ufeffx");
  });

  test("I2: bytes that are no text are refused, not replaced", () => {
    const notText = [
      [0xff],
      [0xc3],
      [0xc0, 0x80],
      [0x80],
      [0xf5, 0x80, 0x80, 0x80],
      [0xed, 0xa0],
      [0x61, 0xed],
    ];
    for (const bytes of notText) expect(decodeText(Uint8Array.from(bytes))).toBeNull();
  });

  test("I2: a surrogate pair written as two lone ones is refused: one string has one encoding", () => {
    expect(decodeText(Uint8Array.from([0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80]))).toBeNull();
  });

  test("I1: every sequence of bytes is either refused or comes back exactly", () => {
    assert(
      property(uint8Array({ maxLength: 12 }), (bytes) => {
        const text = decodeText(bytes);
        if (text !== null) expect(encodeText(text).equals(bytes)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});
