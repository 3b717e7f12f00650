import { expect, test } from "bun:test";
import * as fc from "fast-check";
import protobuf from "protobufjs";
import { RaftKvError } from "../../src/base/errors.ts";
import { services } from "../../src/rpc/definition.ts";
import { MAX_WRITES } from "../../src/rpc/put-many-arguments.ts";
import { decodeText, encodeText } from "../../src/rpc/text.ts";
import {
  decodeWrite,
  decodeWriteList,
  encodeParts,
  encodeWrite,
  encodeWriteList,
  endOfWrites,
  spanOf,
} from "../../src/rpc/write-codec.ts";
import protoText from "../../proto/raft.proto" with { type: "text" };
import { anyText } from "../kv/command-arbitrary.ts";

/** The library's own idea of the messages, with texts as bytes. */
const { root } = protobuf.parse(protoText.replaceAll(/string (key|value)/g, "bytes $1"), { keepCase: true });
const write = root.lookupType("raft.Write");
const list = root.lookupType("raft.WriteList");

function decode(bytes: Buffer) {
  return decodeWrite(bytes, spanOf(bytes));
}

function encoded(fields: object): Buffer {
  return Buffer.from(write.encode(fields).finish());
}

function outcome(bytes: Buffer): unknown {
  try {
    return decode(bytes);
  } catch (error) {
    if (error instanceof RaftKvError && error.code === "invalidArgument") return error.message;
    throw error;
  }
}

const REFUSED = "a write of the batch is not a message Write";

test("I1: any key and value arrive as they were, and the library reads the same", () => {
  const length = fc.constantFrom(0, 1, 127, 128, 16_383, 16_384, 70_000);
  const text = fc.oneof(
    anyText,
    length.map((units) => "é".repeat(units)),
    length.map((units) => "x".repeat(units)),
  );
  fc.assert(
    fc.property(text, text, (key, value) => {
      const bytes = encodeWrite({ key, value });
      expect(decode(bytes)).toEqual({ key, value });
      const fields = write.toObject(write.decode(bytes), { defaults: true });
      const read = [fields["key"], fields["value"]].map((field) =>
        Buffer.from(field as Uint8Array).toString("hex"),
      );
      expect(read).toEqual([encodeText(key).toString("hex"), encodeText(value).toString("hex")]);
      expect(encodeParts(encodeText(key), encodeText(value))).toEqual(bytes);
    }),
  );
});

test("I1: any list of writes arrives as it was, and the library reads the same", () => {
  const write = fc.record({ key: anyText, value: anyText });
  fc.assert(
    fc.property(fc.array(write, { maxLength: 20 }), (writes) => {
      const bytes = encodeWriteList(writes);
      expect(decodeWriteList(bytes)).toEqual(writes);
      const fields = list.toObject(list.decode(bytes), { arrays: true });
      expect(fields["writes"]).toHaveLength(writes.length);
      const later = Buffer.concat([bytes, Buffer.from([0x12, 1, 9])]);
      expect(decodeWriteList(later)).toEqual(writes);
    }),
  );
});

test("I1, I2: bytes are read as text exactly as decodeText reads them", () => {
  const odd = fc.constantFrom(
    [0xef, 0xbb, 0xbf],
    [0xef, 0xbf, 0xbd],
    [0xed, 0xa0, 0x80],
    [0xff],
    [0xc3],
    [0x41],
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 8 }),
        fc.array(odd, { maxLength: 4 }).map((all) => all.flat()),
      ),
      (raw) => {
        const value = Buffer.from(raw);
        const text = decodeText(value);
        expect(decode(encodeParts(Buffer.from("k"), value))).toEqual(
          text === null ? null : { key: "k", value: text },
        );
      },
    ),
    { numRuns: 3000 },
  );
});

test("I1: what another program encodes is read as any proto3 reader reads it", () => {
  const [key, value] = [Buffer.from("k"), Buffer.from("v")];
  expect(decode(encoded({ key, value }))).toEqual({ key: "k", value: "v" });
  expect(decode(encoded({ key }))).toEqual({ key: "k", value: "" });
  expect(decode(Buffer.alloc(0))).toEqual({ key: "", value: "" });
  const backwards = Buffer.from([0x12, 1, 0x76, 0x0a, 1, 0x6b]);
  expect(decode(backwards)).toEqual({ key: "k", value: "v" });
  expect(decode(Buffer.concat([backwards, Buffer.from([0x0a, 1, 0x6c])]))).toEqual({ key: "l", value: "v" });
});

test("I1: fields that a later version adds are passed over", () => {
  const known = [0x0a, 1, 0x6b, 0x12, 1, 0x76];
  const unknown = [
    [0x18, 0x96, 0x01],
    [0x19, 1, 2, 3, 4, 5, 6, 7, 8],
    [0x1a, 2, 9, 9],
    [0x1d, 1, 2, 3, 4],
    [0x82, 0x01, 1, 9],
  ];
  for (const field of unknown) {
    expect(decode(Buffer.from([...field, ...known]))).toEqual({ key: "k", value: "v" });
    expect(decode(Buffer.from([...known, ...field]))).toEqual({ key: "k", value: "v" });
    expect(outcome(Buffer.from([...known, ...field.slice(0, -1)]))).toBe(REFUSED);
  }
});

test("I2: bytes that are no message are refused, whatever they are", () => {
  const wrong = [
    [0x0a],
    [0x0a, 2, 0x6b],
    [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    [0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f],
    [0x1b],
    [0x02, 0],
    [0x1f, 1],
    // The tags of a key and of a value, a byte longer than they need be.
    [0x8a, 0, 1, 0x6b],
    [0x0a, 1, 0x6b, 0x92, 0, 1, 0x76],
  ];
  for (const bytes of wrong) expect([bytes, outcome(Buffer.from(bytes))]).toEqual([bytes, REFUSED]);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const found = outcome(Buffer.from(bytes));
      expect(found === null || typeof found === "string" || typeof found === "object").toBe(true);
    }),
    { numRuns: 2000 },
  );
});

test("I2: a key or value that is not text is told, and never replaced", () => {
  expect(decode(encodeParts(Buffer.from([0xff]), Buffer.from("v")))).toBeNull();
  expect(decode(encodeParts(Buffer.from("k"), Buffer.from([0x80])))).toBeNull();
});

test("I2, I4: of a batch of too many writes no more are read than it takes to refuse it", () => {
  const [clientId, empty] = [
    [0x10, 7],
    [0x0a, 0],
  ];
  const args = (writes: number): Buffer =>
    Buffer.concat([
      Buffer.from(clientId),
      Buffer.alloc(2 * writes, Buffer.from(empty)),
      Buffer.from([0x18, 9]),
    ]);
  expect(endOfWrites(args(3), 3)).toBe(8);
  expect(endOfWrites(args(3), 4)).toBe(10);
  const read = [services.FrontEnd, services.KeyValueStore].map(
    (service) => service["PutMany"]?.requestDeserialize,
  );
  for (const deserialize of read) {
    expect(deserialize?.(args(MAX_WRITES))).toMatchObject({ clientId: 7, requestId: 9 });
    expect(deserialize?.(args(100_000))).toHaveProperty("writes.length", MAX_WRITES + 1);
    // A message that cannot be counted is not read at all.
    expect(() => deserialize?.(Buffer.concat([Buffer.from([0x8a, 0, 0]), args(1)]))).toThrow(REFUSED);
  }
});
