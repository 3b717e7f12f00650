import { describe, expect, test } from "bun:test";
import { RaftKvError } from "../../src/base/errors.ts";
import { MAX_CHUNK_BYTES, type SnapshotChunk } from "../../src/node/peer-message.ts";
import { services } from "../../src/rpc/definition.ts";
import {
  chunkFromWire,
  chunkReplyFromWire,
  chunkReplyToWire,
  chunkToWire,
  snapshotInfoFromWire,
  snapshotInfoToWire,
} from "../../src/rpc/snapshot-codec.ts";
import type { InstallSnapshotArgs, WireInstallSnapshotReply } from "../../src/rpc/wire.ts";

const chunk: SnapshotChunk = {
  kind: "snapshotChunk",
  term: 9,
  leaderId: 0,
  info: { position: { index: 812, term: 7 }, totalBytes: 1_000_000, checksum: "00c0ffee" },
  offset: 500_000,
  data: new Uint8Array([0, 1, 127, 128, 255]),
};

/** Through the very bytes that travel. */
function overTheWire(args: Partial<InstallSnapshotArgs>): InstallSnapshotArgs {
  const rpc = services.KeyValueStore["InstallSnapshot"];
  if (rpc === undefined) throw new TypeError("no InstallSnapshot");
  return rpc.requestDeserialize(rpc.requestSerialize(args)) as InstallSnapshotArgs;
}

function refusal(change: Partial<InstallSnapshotArgs>): string {
  try {
    chunkFromWire(overTheWire({ ...chunkToWire(chunk, "c"), ...change }));
  } catch (error) {
    if (error instanceof RaftKvError && error.code === "invalidArgument") return error.message;
    throw error;
  }
  return "accepted";
}

describe("a piece of a snapshot on the wire", () => {
  test("S5: arrives as it was sent, and owns its bytes", () => {
    const args = overTheWire(chunkToWire(chunk, "c"));
    const received = chunkFromWire(args);
    expect(received).toEqual(chunk);
    args.data.fill(0);
    expect(received.data).toEqual(chunk.data);
    expect(args.clusterId).toBe("c");
  });

  test("its reply arrives as it was sent", () => {
    const rpc = services.KeyValueStore["InstallSnapshot"];
    const reply = { kind: "snapshotChunkReply", term: 3, nextOffset: 77, installed: true } as const;
    const bytes = rpc?.responseSerialize(chunkReplyToWire(reply)) ?? Buffer.alloc(0);
    expect(chunkReplyFromWire(rpc?.responseDeserialize(bytes) as WireInstallSnapshotReply)).toEqual(reply);
  });

  test("I2: nonsense is refused with a clear error", () => {
    expect(refusal({})).toBe("accepted");
    expect(refusal({ term: -1 })).toMatch(/term is -1/);
    expect(refusal({ offset: -1 })).toMatch(/offset is -1/);
    expect(refusal({ offset: 2 ** 60 })).toMatch(/offset/);
    expect(refusal({ offset: 999_999 })).toMatch(/up to byte 1000004 of a snapshot of 1000000/);
    expect(refusal({ lastIncludedIndex: 0 })).toMatch(/count from 1/);
    expect(refusal({ lastIncludedTerm: 10 })).toMatch(/above the leader's own term, 9/);
    expect(refusal({ totalBytes: 0 })).toMatch(/totalBytes is 0/);
    expect(refusal({ totalBytes: 2 ** 45 })).toMatch(/totalBytes/);
    expect(refusal({ data: new Uint8Array(MAX_CHUNK_BYTES + 1) })).toMatch(/at most 262144/);
    for (const checksum of ["", "00C0FFEE", "00c0ffee0", "zzzzzzzz"]) {
      expect(refusal({ checksum })).toMatch(/checksum/);
    }
  });

  test("a call without any field is refused", () => {
    expect(() => chunkFromWire(overTheWire({}))).toThrow(/count from 1/);
  });

  test("the name of a snapshot arrives as it was sent", () => {
    expect(snapshotInfoFromWire(snapshotInfoToWire(chunk.info))).toEqual(chunk.info);
  });
});
