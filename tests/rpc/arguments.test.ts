import { expect, test } from "bun:test";
import { RaftKvError } from "../../src/base/errors.ts";
import { parseKey, parsePut, parseRequestId } from "../../src/rpc/arguments.ts";
import { encodeText } from "../../src/rpc/text.ts";
import type { KeyValue } from "../../src/rpc/wire.ts";

const limits = { maxKeyBytes: 8, maxValueBytes: 16 };

function message(fields: Partial<KeyValue>): KeyValue {
  return {
    key: Buffer.from("k"),
    value: Buffer.from("v"),
    clientId: 0,
    requestId: 0,
    routerId: 0,
    routerCall: 0,
    routerPending: 0,
    routerRetried: false,
    found: false,
    error: "",
    code: "OK",
    ...fields,
  };
}

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof RaftKvError && error.code === "invalidArgument") return error.message;
    throw error;
  }
  throw new Error("it was accepted");
}

test("I2: an empty key, and a key or value over its limit in bytes, are refused", () => {
  expect(refusal(() => parseKey(Buffer.alloc(0), limits))).toContain("empty");
  expect(refusal(() => parseKey(encodeText("ééééé"), limits))).toBe(
    "the key has 10 bytes: at most 8 are allowed",
  );
  expect(refusal(() => parsePut(message({ value: Buffer.alloc(17, "v") }), limits))).toContain("the value");
  expect(parseKey(encodeText("éééé"), limits)).toBe("éééé");
  expect(parsePut(message({ value: Buffer.alloc(0) }), limits).value).toBe("");
});

test("I2: bytes that are not text are refused, and never replaced", () => {
  expect(refusal(() => parseKey(Buffer.from([0xff]), limits))).toContain("not UTF-8");
  expect(refusal(() => parsePut(message({ value: Buffer.from([0x80]) }), limits))).toContain("not UTF-8");
});

test.each(["clientId", "requestId", "routerId", "routerCall", "routerPending"])(
  "I2: a %s beyond what a number holds exactly is refused",
  (name) => {
    const put = message({ [name]: 2 ** 53 });
    expect(refusal(() => parsePut(put, limits))).toContain(name);
  },
);

test("I1: awkward keys and values come through as they are", () => {
  for (const text of ["\0", "\n", '"', "__proto__", "\ud800", "🙂"]) {
    const { key, value } = parsePut(message({ key: encodeText(text), value: encodeText(text) }), {
      maxKeyBytes: 9,
      maxValueBytes: 9,
    });
    expect([key, value]).toEqual([text, text]);
  }
});

test("C1: a request is named unless both its ids are 0", () => {
  expect(parseRequestId({ clientId: 0, requestId: 0 })).toBeNull();
  expect(parseRequestId({ clientId: 0, requestId: 7 })).toEqual({ clientId: 0, requestId: 7 });
  expect(parseRequestId({ clientId: -5, requestId: 0 })).toEqual({ clientId: -5, requestId: 0 });
});

test("C1: a call is routed when a frontend has named it", () => {
  expect(parsePut(message({ routerId: 0, routerCall: 3 }), limits).routed).toBeNull();
  expect(parsePut(message({ routerId: 9, routerCall: 3 }), limits).routed).toEqual({
    routerId: 9,
    routerCall: 3,
    pending: 0,
    retried: false,
  });
  const named = message({ routerId: 9, routerCall: 3, routerPending: 2, routerRetried: true });
  expect(parsePut(named, limits).routed).toEqual({ routerId: 9, routerCall: 3, pending: 2, retried: true });
});

test("I2: a frontend that says that it never sends this call again, or something negative, is refused", () => {
  for (const routerPending of [4, -1]) {
    const put = message({ routerId: 9, routerCall: 3, routerPending });
    expect(refusal(() => parsePut(put, limits))).toContain(`routerPending is ${routerPending}`);
  }
});
