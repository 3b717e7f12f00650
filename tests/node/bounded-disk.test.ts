/** How much a server keeps: one server alone, with its real files on a disk in memory. */
import { describe, expect, test } from "bun:test";
import { KvStateMachine } from "../../src/kv/state-machine.ts";
import { DiskRoom } from "../../src/node/disk-room.ts";
import { compactThrough } from "../../src/node/kept-log.ts";
import { Node } from "../../src/node/node.ts";
import { initialConfiguration } from "../../src/raft/configuration.ts";
import { entryByteLength, type Entry } from "../../src/raft/entry.ts";
import { MemoryDisk } from "../../src/storage/memory-file-system.ts";
import { createServerStore, openServerStore } from "../../src/storage/server-store.ts";
import { put } from "./node-cluster.ts";
import { VirtualClock } from "./virtual-clock.ts";

const MIB = 1024 * 1024;
const SEGMENT_BYTES = 16 * MIB;
/** What an entry counts beside its command. */
const ENTRY_BYTES = entryByteLength({ index: 1, term: 1, payload: { kind: "noop" } });

interface Machine {
  readonly clock: VirtualClock;
  readonly disk: MemoryDisk;
  readonly node: Node;
}

/** With the numbers of the configuration's defaults. */
async function alone(): Promise<Machine> {
  const clock = new VirtualClock();
  const disk = new MemoryDisk();
  const fs = disk.mount();
  await createServerStore(fs, "state", {
    clusterId: "test",
    serverId: 0,
    members: initialConfiguration([0]),
  });
  const diskRoom = new DiskRoom(clock);
  const { store, recovered } = await openServerStore(fs, "state", 0, {});
  const node = new Node({
    raftOptions: {
      id: 0,
      electionTimeoutMinTicks: 15,
      electionTimeoutMaxTicks: 30,
      heartbeatTicks: 5,
      maxBatchEntries: 4096,
      maxBatchBytes: MIB,
      maxInflight: 8,
      maxCommittedPerBatch: 2048,
      randomInt: (min) => min,
    },
    tickMs: 10,
    limits: { maxPendingProposals: 1000, maxPendingBytes: 64 * MIB, maxPendingReads: 10, maxPendingRpcs: 10 },
    snapshots: {
      entries: 100_000,
      bytes: 16 * MIB,
      keepEntries: 4096,
      transferBytesPerSecond: 64 * MIB,
      chunkBytes: 256 * 1024,
    },
    clock,
    transport: { send: () => {}, setPeers: () => {}, close: () => {} },
    store,
    diskRoom,
    recovered,
    machine: new KvStateMachine(),
    onEvent: () => {},
    onFailure: (error) => {
      throw error;
    },
  });
  node.start();
  await clock.advance(400);
  return { clock, disk, node };
}

/** Puts `count` values of `valueLength`, one after the other, over so many keys. The most that the disk held. */
async function peakBytes({ clock, disk, node }: Machine, keys: number, count: number, valueLength: number) {
  let peak = 0;
  for (let i = 0; i < count; i += 1) {
    const value = String.fromCharCode(97 + (i % 26)).repeat(valueLength);
    const outcomes: string[] = [];
    void node.put(put(`k${i % keys}`, value)).then(({ kind }) => outcomes.push(kind));
    for (let ms = 0; ms < 10_000 && outcomes.length === 0; ms += 1) await clock.advance(1);
    expect(outcomes).toEqual(["done"]);
    peak = Math.max(peak, disk.usedBytes);
  }
  return peak;
}

/** Entries of 100 bytes each, but for entry 7, which has 500. */
function entryAt(index: number): Entry<null> {
  const byteLength = (index === 7 ? 500 : 100) - ENTRY_BYTES;
  return { index, term: 1, payload: { kind: "command", command: null, byteLength } };
}

/** What may go when a snapshot at entry 10 counts. */
function through(log: { wantedAfter: number; maxBytes: number; firstLogIndex?: number }): number {
  return compactThrough({ snapshotIndex: 10, firstLogIndex: 1, entryAt, ...log });
}

describe("the disk stays bounded", () => {
  // Where in a segment a snapshot ends bears on how much of the log it lets go.
  test.each([0, 4, 8, 12])(
    "S2: with values of 1 MiB and a snapshot after %d: within three times the data and two segments",
    async (first) => {
      const machine = await alone();
      await peakBytes(machine, 4, first, MIB);
      if (first > 0) void machine.node.takeSnapshot();
      const peak = await peakBytes(machine, 4, 150, MIB);
      expect(machine.node.status().firstLogIndex).toBeGreaterThan(100);
      expect(peak).toBeLessThan(3 * 4 * MIB + 2 * SEGMENT_BYTES);
    },
  );
});

describe("behind a snapshot", () => {
  test("S2: stays what is wanted, or the newest of it within so many bytes", () => {
    expect(through({ wantedAfter: 4, maxBytes: 1e6 })).toBe(4);
    expect(through({ wantedAfter: 4, maxBytes: 900 })).toBe(5);
    expect(through({ wantedAfter: 4, maxBytes: 799 })).toBe(7);
    expect(through({ wantedAfter: 4, maxBytes: 99 })).toBe(10);
  });

  test("S2: nothing stays that is not wanted, and nothing that is gone already", () => {
    expect(through({ wantedAfter: 10, maxBytes: 1e6 })).toBe(10);
    expect(through({ wantedAfter: Infinity, maxBytes: 1e6 })).toBe(10);
    expect(through({ wantedAfter: -90, maxBytes: 1e6 })).toBe(0);
    expect(through({ wantedAfter: 4, maxBytes: 1e6, firstLogIndex: 9 })).toBe(8);
  });
});
