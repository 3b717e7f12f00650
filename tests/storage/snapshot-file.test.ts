import { beforeAll, describe, expect, spyOn, test } from "bun:test";
import { crc32 } from "node:zlib";
import * as fc from "fast-check";

import { KvStateMachine } from "../../src/kv/state-machine.ts";
import {
  encodeEnd,
  encodeHeaderLine,
  encodeSectionLine,
  SnapshotDecoder,
  type SnapshotDamage,
  type SnapshotHeader,
} from "../../src/storage/snapshot-file.ts";
import { SPREAD } from "./sample-log.ts";
import { HEADER, sampleMachine, snapshotBytes } from "./sample-snapshot.ts";

/** What a decoder that is given the bytes in such pieces makes of them. */
function decode(bytes: Uint8Array, pieceBytes = bytes.length) {
  const told: (SnapshotHeader | string)[] = [];
  const decoder = new SnapshotDecoder({
    header: (header) => void told.push(header),
    section: (section) => (told.push(section), null),
    end: () => null,
  });
  let damage: SnapshotDamage | null = null;
  for (let at = 0; at < bytes.length && damage === null; at += pieceBytes) {
    damage = decoder.push(bytes.subarray(at, at + pieceBytes));
  }
  return { told, damage: damage ?? decoder.finish(), checksum: decoder.checksum };
}

/** A file of these lines, the end as it should be. */
function fileOf(lines: readonly Uint8Array[], sections = lines.length - 1): Buffer {
  const body = Buffer.concat(lines);
  return Buffer.concat([body, encodeEnd(sections, crc32(body))]);
}

/** The file's lines, each with its newline. */
function linesOf(file: Buffer): Buffer[] {
  return Array.from(file.toString("latin1").match(/[^\n]*\n/g) ?? [], (line) => Buffer.from(line, "latin1"));
}

/** The text of a header with these last fields. */
function headerOf(fields: string): string {
  return `{"snapshot":1,"clusterId":"c","index":5,"term":2,${fields}}`;
}

let good: Buffer;
let lines: readonly Buffer[];

beforeAll(async () => {
  good = await snapshotBytes();
  lines = linesOf(good);
});

test("S6: a long line that comes in many small pieces costs no more than its length", () => {
  const line = encodeSectionLine(`{"data":["k","${"v".repeat(8 << 20)}"]}`);
  const file = fileOf([lines[0] ?? Buffer.of(), line]);
  const concat = spyOn(Buffer, "concat");
  const { damage, told } = decode(file, 4096);
  expect([damage, told.length]).toEqual([null, 2]);
  expect(concat.mock.calls.length).toBeLessThan(10);
  concat.mockRestore();
});

describe("a good file", () => {
  test("S5: is one JSON array with header, sections and end, and each checksum is that of its text", () => {
    const elements = lines.slice(0, -1).map((line): unknown => JSON.parse(line.toString().slice(1)));
    expect<unknown>(JSON.parse(good.toString())).toEqual(elements);
    for (const line of lines.slice(0, -1)) {
      const payload = line.subarray(13, -2);
      expect(line.toString("latin1", 3, 11)).toBe(crc32(payload).toString(16).padStart(8, "0"));
    }
    expect(lines.at(-1)?.toString()).toBe("]\n");
    expect(lines[0]?.toString().slice(13, -2)).toBe(
      '{"snapshot":1,"clusterId":"cluster-a","index":5,"term":2,"servers":[0,1,2]}',
    );
  });

  test("S5: reads the same in pieces of any size", () => {
    const machine = sampleMachine();
    const expected = [HEADER, ...machine.freeze().sections()];
    for (let pieceBytes = 1; pieceBytes <= good.length; pieceBytes += 1) {
      const { told, damage, checksum } = decode(good, pieceBytes);
      expect(damage).toBeNull();
      expect(told).toEqual(expected);
      expect(checksum).toBe(crc32(good));
    }
  });

  test("S5: can be of a state without any key", async () => {
    const machine = new KvStateMachine();
    const { told, damage } = decode(await snapshotBytes(machine));
    expect([told, damage]).toEqual([[HEADER, ...machine.freeze().sections()], null]);
    expect(told).toHaveLength(2);
  });
});

describe("a header", () => {
  test("S5: names the members in full only where their ids do not say it all", async () => {
    const file = await snapshotBytes(sampleMachine(), { ...HEADER, configuration: SPREAD });
    expect(linesOf(file)[0]?.toString().slice(13, -2)).toBe(
      '{"snapshot":1,"clusterId":"cluster-a","index":5,"term":2,"members":[' +
        '{"id":0,"address":"10.0.0.1:9001","voter":true},{"id":1,"address":"","voter":true},' +
        '{"id":7,"address":"[2001:db8::7]:9008","voter":false}]}',
    );
    const { told, damage } = decode(file);
    expect([told[0], damage]).toEqual([{ ...HEADER, configuration: SPREAD }, null]);
  });

  test("S5: comes back as it was, whoever the members are", () => {
    const member = fc.record({ address: fc.constantFrom("", "10.0.0.1:9001", '"\\'), voter: fc.boolean() });
    const members = fc.dictionary(fc.nat({ max: 99 }).map(String), member, { minKeys: 1, maxKeys: 9 });
    fc.assert(
      fc.property(members, (places) => {
        const configuration = Object.entries(places)
          .map(([id, { address, voter }]) => ({ id: Number(id), address, voter }))
          .toSorted((left, right) => left.id - right.id);
        const header = { ...HEADER, configuration };
        expect(decode(fileOf([encodeHeaderLine(header)])).told).toEqual([header]);
      }),
      { seed: 1 },
    );
  });

  test("a configuration without members, or out of order, is never written", () => {
    for (const configuration of [[], SPREAD.toReversed(), [...SPREAD, ...SPREAD]]) {
      expect(() => encodeHeaderLine({ ...HEADER, configuration })).toThrow("has members, in order");
    }
  });
});

describe("a damaged file", () => {
  test("S5, P4: with one flipped bit anywhere is refused, at the line that has it", () => {
    let lineStart = 0;
    for (let at = 0; at < good.length; at += 1) {
      if (good[at - 1] === 0x0a) lineStart = at;
      for (let bit = 0; bit < 8; bit += 1) {
        const flipped = Buffer.from(good);
        flipped[at] = (good[at] ?? 0) ^ (1 << bit);
        const { damage } = decode(flipped);
        expect([at, bit, damage?.kind, damage?.offset]).toEqual([at, bit, "corrupt", lineStart]);
      }
    }
  });

  test("S5, P4: with any byte replaced by any other is refused", () => {
    fc.assert(
      fc.property(fc.nat({ max: good.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const changed = Buffer.from(good);
        changed[at] = (good[at] ?? 0) ^ change;
        expect(decode(changed).damage?.kind).toBe("corrupt");
      }),
      { numRuns: 1000 },
    );
  });

  test("S5, P3: cut off anywhere is refused, and so is one with anything after its end", () => {
    for (let size = 0; size < good.length; size += 1) {
      const lineStart = good.subarray(0, size).lastIndexOf("\n") + 1;
      expect(decode(good.subarray(0, size)).damage).toEqual({
        kind: "corrupt",
        offset: lineStart,
        what:
          size === 0
            ? "the file is empty"
            : size === lineStart
              ? "the file ends here, before its end"
              : "the file ends within this line",
      });
    }
    for (const more of ["\n", "]", "\0", "]\n", good.toString("latin1")]) {
      const { damage } = decode(Buffer.concat([good, Buffer.from(more, "latin1")]));
      expect(damage).toEqual({ kind: "corrupt", offset: good.length, what: "something follows the end" });
    }
  });

  test("S5, P4: with two lines swapped, one repeated or one left out is refused", () => {
    for (const [i, line] of lines.entries()) {
      expect(decode(Buffer.concat(lines.toSpliced(i, 1))).damage?.kind).toBe("corrupt");
      for (const [j, other] of lines.entries()) {
        expect(decode(Buffer.concat(lines.toSpliced(j, 0, line))).damage?.kind).toBe("corrupt");
        if (line.equals(other)) continue;
        expect(decode(Buffer.concat(lines.with(i, other).with(j, line))).damage?.kind).toBe("corrupt");
        expect(decode(Buffer.concat(lines.with(i, other))).damage?.kind).toBe("corrupt");
      }
    }
  });

  test("S5, P4: with a range of NULs, or of another snapshot's bytes, is refused", async () => {
    const other = await snapshotBytes(sampleMachine(), { ...HEADER, position: { index: 6, term: 2 } });
    fc.assert(
      fc.property(
        fc.nat({ max: good.length - 1 }),
        fc.integer({ min: 1, max: 600 }),
        fc.boolean(),
        (from, length, zero) => {
          const changed = Buffer.from(good);
          if (zero) changed.fill(0, from, Math.min(from + length, good.length));
          else other.copy(changed, from, from, Math.min(from + length, good.length, other.length));
          fc.pre(!changed.equals(good) && !changed.equals(other));
          expect(decode(changed).damage?.kind).toBe("corrupt");
        },
      ),
      { numRuns: 500 },
    );
  });

  test("S5: with sections that are missing though every line is whole is told by the end", () => {
    const section = encodeSectionLine('{"retryCapacity":4}');
    const header = encodeHeaderLine(HEADER);
    expect(decode(fileOf([header, section])).damage).toBeNull();
    expect(decode(fileOf([header, section], 2)).damage).toEqual({
      kind: "corrupt",
      offset: header.length + section.length,
      what: "the file should have 2 sections, not 1",
    });
    const wrong = Buffer.concat([header, section, encodeEnd(1, 7)]);
    expect(decode(wrong).damage?.what).toBe("the checksum of the whole file does not match");
  });
});

describe("a foreign file", () => {
  test("P10: of a newer version is unusable, not damaged", () => {
    const newer = encodeSectionLine('{"snapshot":2,"anything":"else"}').toString();
    const file = Buffer.from(`[${newer.toString().slice(1)}whatever follows\n`);
    expect(decode(file).damage).toEqual({
      kind: "unusable",
      offset: 0,
      what: "has format 2; this version of raftkv reads snapshots of format 1",
    });
  });

  test("P7: that is something else is refused at its start, before it is read to its end", () => {
    for (const text of ["garbage", "{}\n", "[]\n", "\n", "\0".repeat(1000), '["x"]\n', "x".repeat(100_000)]) {
      const { damage } = decode(Buffer.from(text), 4096);
      expect(damage?.kind).toBe("corrupt");
      expect(damage?.offset).toBe(0);
    }
    const decoder = new SnapshotDecoder({ header: () => {}, section: () => null, end: () => null });
    expect(decoder.push(Buffer.alloc(70_000, "x"))?.what).toBe(
      "this is not a snapshot, or its first line is damaged",
    );
  });

  test.each([
    ["no cluster", '{"snapshot":1,"clusterId":"","index":5,"term":2,"servers":[0]}'],
    ["index 0", '{"snapshot":1,"clusterId":"c","index":0,"term":2,"servers":[0]}'],
    ["no term", '{"snapshot":1,"clusterId":"c","index":5,"servers":[0]}'],
    ["no servers", '{"snapshot":1,"clusterId":"c","index":5,"term":2,"servers":[]}'],
    ["servers out of order", '{"snapshot":1,"clusterId":"c","index":5,"term":2,"servers":[1,0]}'],
    ["servers twice", '{"snapshot":1,"clusterId":"c","index":5,"term":2,"servers":[0,0]}'],
    ["neither servers nor members", '{"snapshot":1,"clusterId":"c","index":5,"term":2}'],
    ["members for want of need", headerOf('"members":[{"id":0,"address":"","voter":true}]')],
    ["servers and members", headerOf('"servers":[0],"members":[{"id":0,"address":"","voter":false}]')],
    ["no members", headerOf('"members":[]')],
    ["a member without a vote that is a number", headerOf('"members":[{"id":0,"address":"","voter":0}]')],
    ["a member without an address", headerOf('"members":[{"id":0,"voter":false}]')],
    ["a member twice", headerOf(`"members":[${Array(2).fill('{"id":0,"address":"","voter":false}')}]`)],
    ["more than we write", '{"snapshot":1,"clusterId":"c","index":5,"term":2,"servers":[0],"x":1}'],
  ])("P7: whose header has %s is refused", (_, header) => {
    const line = Buffer.from(encodeSectionLine(header));
    line.write("[[", 0);
    expect(decode(fileOf([line])).damage).toMatchObject({ kind: "corrupt", offset: 0 });
  });
});
