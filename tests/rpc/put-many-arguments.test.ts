import { expect, test } from "bun:test";
import { RaftKvError } from "../../src/base/errors.ts";
import {
  checkPutMany,
  MAX_WRITES,
  maxWriteBytes,
  parsePutMany,
  refusedWrite,
} from "../../src/rpc/put-many-arguments.ts";
import { encodeText } from "../../src/rpc/text.ts";
import type { PutManyArgs } from "../../src/rpc/wire.ts";
import { encodeParts, encodeWrite } from "../../src/rpc/write-codec.ts";

const limits = { maxKeyBytes: 8, maxValueBytes: 16 };

function message(writes: readonly Buffer[], fields: Partial<PutManyArgs> = {}): PutManyArgs {
  const names = {
    clientId: 0,
    requestId: 0,
    routerId: 0,
    routerCall: 0,
    routerPending: 0,
    routerRetried: false,
  };
  return { writes, ...names, ...fields };
}

function write(key: string, value: string): Buffer {
  return encodeWrite({ key, value });
}

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof RaftKvError && error.code === "invalidArgument") return error.message;
    throw error;
  }
  return "accepted";
}

/** What a frontend and what a server say of the writes. */
function refusals(writes: readonly Buffer[], textLimits = limits): readonly string[] {
  const args = message(writes);
  return [refusal(() => checkPutMany(args, textLimits)), refusal(() => parsePutMany(args, textLimits))];
}

test("I2: an empty batch, and one of too many writes or bytes, is refused", () => {
  for (const said of refusals([])) expect(said).toBe("the batch is empty: give it at least one write");
  const many = Array.from({ length: MAX_WRITES + 1 }, (_, n) => write(`${n}`, ""));
  for (const said of refusals(many)) expect(said).toContain("more than 4096 writes");
  expect(refusals(many.slice(1))).toEqual(["accepted", "accepted"]);
  const large = { maxKeyBytes: 4096, maxValueBytes: 1 << 20 };
  const largest = [write("k".repeat(4096), "v".repeat(1 << 20))];
  expect(refusals(largest, large)).toEqual(["accepted", "accepted"]);
  for (const said of refusals([...largest, write("k", "")], large))
    expect(said).toContain("more than 1052672 bytes");
  expect(maxWriteBytes(limits)).toBe(1 << 20);
});

test("I2, I4: a write with more beside its key and value than frames them is refused, as nobody counts that", () => {
  const padded = (bytes: number): Buffer =>
    Buffer.concat([write("k", "v"), Buffer.from([0x1a, bytes]), Buffer.alloc(bytes)]);
  expect(refusals([padded(58)])).toEqual(["accepted", "accepted"]);
  const said = "write 2 of the batch: it has 65 bytes that are neither its key nor its value";
  expect(refusals([write("k", ""), padded(59)])).toEqual([said, said]);
  const repeated = Buffer.concat(Array.from({ length: 20 }, () => write("k", "v")));
  for (const refused of refusals([repeated])) expect(refused).toContain("it has 118 bytes");
});

test("I2: each write is checked as a put is, and the refusal says which it is", () => {
  const wrong: readonly (readonly [Buffer, string])[] = [
    [write("", "v"), "the key is empty: give it at least one byte"],
    [write("ééééé", "v"), "the key has 10 bytes: at most 8 are allowed"],
    [write("k", "v".repeat(17)), "the value has 17 bytes: at most 16 are allowed"],
  ];
  for (const [bytes, what] of wrong) {
    const said = `write 3 of the batch: ${what}`;
    expect(refusals([write("a", ""), write("b", ""), bytes, bytes])).toEqual([said, said]);
    expect(refusedWrite(said)).toBe(3);
  }
  expect(refusedWrite("the batch is empty")).toBeNull();
});

test("I2: whether it is text is for the server to say, as only it reads the texts", () => {
  for (const bytes of [
    encodeParts(Buffer.from([0xff]), Buffer.from("v")),
    encodeParts(Buffer.from("k"), Buffer.from([0x80])),
  ]) {
    expect(refusals([bytes])).toEqual([
      "accepted",
      "write 1 of the batch: the key or the value is not UTF-8 text",
    ]);
  }
});

test("I2: ids beyond what a number holds exactly are refused", () => {
  for (const name of ["clientId", "requestId", "routerId", "routerCall", "routerPending"]) {
    const args = message([write("k", "v")], { [name]: 2 ** 53 });
    expect(refusal(() => parsePutMany(args, limits))).toContain(name);
  }
});

test("I1, C1: writes come through as they are and in their order, with the names of the call", () => {
  const texts = ["\0", "\n", '"', "__proto__", "\ud800", "🙂", "k", "k"];
  const writes = texts.map((text, n) => ({ key: text, value: `${text}${n}` }));
  const named = {
    clientId: 1,
    requestId: 2,
    routerId: 3,
    routerCall: 4,
    routerPending: 4,
    routerRetried: true,
  };
  const large = { maxKeyBytes: 9, maxValueBytes: 10 };
  expect(parsePutMany(message(writes.map(encodeWrite), named), large)).toEqual({
    kind: "putMany",
    writes,
    request: { clientId: 1, requestId: 2 },
    routed: { routerId: 3, routerCall: 4, pending: 4, retried: true },
  });
  expect(parsePutMany(message([write("k", "")]), large)).toMatchObject({ request: null, routed: null });
  const bytes = writes.reduce(
    (sum, { key, value }) => sum + encodeText(key).length + encodeText(value).length,
    0,
  );
  expect(checkPutMany(message(writes.map(encodeWrite)), large)).toBe(bytes);
});
