import { expect, test } from "bun:test";
import { crc32 } from "node:zlib";
import * as fc from "fast-check";

import { KvStateMachine } from "../../src/kv/state-machine.ts";
import { MemoryDisk } from "../../src/storage/memory-file-system.ts";
import { inspectSnapshotFile, readSnapshotFile } from "../../src/storage/snapshot-reader.ts";
import { createSnapshotWriter } from "../../src/storage/snapshot-writer.ts";
import { onBothFileSystems } from "./both-file-systems.ts";
import { refusal } from "./sample-log.ts";
import { HEADER, sampleMachine, snapshotBytes, writeSnapshot } from "./sample-snapshot.ts";

/** A machine with so many keys that its snapshot is read in several pieces and synced in between. */
function largeMachine(): KvStateMachine {
  const machine = new KvStateMachine(8);
  for (let n = 1; n <= 20_000; n += 1) {
    const value = `${n}`.padEnd(300, "é");
    machine.apply(n, { kind: "put", key: `key ${n}`, value, request: null, routed: null });
  }
  return machine;
}

onBothFileSystems((fresh) => {
  test("S5, I1: a snapshot reads back as what was written, and its info is that of the file", async () => {
    const { fs, directory } = await fresh();
    const path = `${directory}/snapshot`;
    const machine = sampleMachine();
    const info = await writeSnapshot(fs, path, machine);
    const bytes = (await fs.readFile(path)) ?? new Uint8Array();
    expect(info).toEqual({
      position: HEADER.position,
      totalBytes: bytes.length,
      checksum: crc32(bytes).toString(16).padStart(8, "0"),
    });
    const { header, content } = await readSnapshotFile(fs, path);
    expect(header).toEqual(HEADER);
    expect([content.info, content.configuration]).toEqual([info, HEADER.configuration]);
    const copy = new KvStateMachine();
    copy.restore(content.state);
    expect(copy.digest()).toBe(machine.digest());
    expect([...copy.entries()]).toEqual([...machine.entries()]);
  });

  test("S5: a snapshot of many pieces reads back as what was written", async () => {
    const { fs, directory } = await fresh();
    const machine = largeMachine();
    const header = { ...HEADER, position: { index: machine.appliedIndex, term: 3 } };
    const info = await writeSnapshot(fs, `${directory}/snapshot`, machine, header);
    expect(info.totalBytes).toBeGreaterThan(8 * 1024 * 1024);
    const { content } = await readSnapshotFile(fs, `${directory}/snapshot`);
    expect(content.info).toEqual(info);
    expect(content.state.appliedIndex).toBe(20_000);
    const copy = new KvStateMachine();
    copy.restore(content.state);
    expect(copy.digest()).toBe(machine.digest());
  });

  test("S1, P7: what an earlier attempt left is not part of the next one, and abandoning leaves nothing", async () => {
    const { fs, directory } = await fresh();
    const path = `${directory}/snapshot.tmp`;
    await fs.writeFile(path, Buffer.from("a left-over"));
    await writeSnapshot(fs, path);
    const half = await createSnapshotWriter(fs, path, HEADER);
    await half.append('{"retryCapacity":4}');
    expect((await refusal(readSnapshotFile(fs, path))).code).toBe("corruption");
    await half.abandon();
    await half.abandon();
    expect(await fs.listDirectory(directory)).toEqual([]);
    const whole = await createSnapshotWriter(fs, path, HEADER);
    await whole.append('{"retryCapacity":4}');
    await whole.finish();
    await whole.abandon();
    expect(await fs.listDirectory(directory)).toEqual([]);
  });

  test("S5, P4: damage is told with path, offset and what it is, and the file stays as it is", async () => {
    const { fs, directory } = await fresh();
    const path = `${directory}/snapshot`;
    const bytes = await snapshotBytes();
    const secondLine = bytes.indexOf("\n") + 1;
    bytes[secondLine + 20] = 0;
    await fs.writeFile(path, bytes);
    const error = await refusal(readSnapshotFile(fs, path));
    expect(error.code).toBe("corruption");
    expect(error.message).toStartWith(`${path}: byte ${secondLine}: this line is not what was written. `);
    expect(await inspectSnapshotFile(fs, path)).toEqual({
      kind: "damaged",
      header: HEADER,
      totalBytes: bytes.length,
      damage: { kind: "corrupt", offset: secondLine, what: "this line is not what was written" },
    });
    const left = await fs.readFile(path);
    expect(left !== null && bytes.equals(left)).toBeTrue();
  });

  test("P7, P10: no file, an empty one, a directory and a newer version's are each refused in their own way", async () => {
    const { fs, directory } = await fresh();
    const path = `${directory}/snapshot`;
    expect(await inspectSnapshotFile(fs, path)).toBeNull();
    expect(await refusal(readSnapshotFile(fs, path))).toMatchObject({
      code: "failedPrecondition",
      message: `${path}: there is no such file`,
    });
    await fs.writeFile(path, new Uint8Array());
    expect((await refusal(readSnapshotFile(fs, path))).message).toContain("byte 0: the file is empty");
    const newer = '{"snapshot":9}';
    const checksum = crc32(newer).toString(16).padStart(8, "0");
    await fs.writeFile(path, Buffer.from(`[["${checksum}",${newer}]\n]\n`));
    expect(await refusal(readSnapshotFile(fs, path))).toMatchObject({
      code: "failedPrecondition",
      message: `${path}: has format 9; this version of raftkv reads snapshots of format 1`,
    });
    expect((await refusal(readSnapshotFile(fs, directory))).code).toBe("io");
  });
});

test("S5: a file whose lines are all whole, but not the state that they should be, is refused", async () => {
  const fs = new MemoryDisk().mount();
  for (const [sections, what] of [
    [[], "the state is not complete"],
    [['{"retryCapacity":4}', '{"data":["a","1","a","2"]}'], "a key that is there twice"],
    [['{"data":["a","1"]}'], 'a section "data" out of order'],
  ] as const) {
    const writer = await createSnapshotWriter(fs, "/snapshot", HEADER);
    for (const section of sections) await writer.append(section);
    await writer.finish();
    expect((await refusal(readSnapshotFile(fs, "/snapshot"))).message).toContain(what);
  }
});

test("S5: no byte changed, cut, repeated or moved leaves a snapshot that reads back as another state", async () => {
  const good = await snapshotBytes();
  const disk = new MemoryDisk();
  const fs = disk.mount();
  const place = fc.nat({ max: good.length });
  await fc.assert(
    fc.asyncProperty(
      place,
      place,
      place,
      fc.constantFrom("cut", "repeat", "move"),
      async (a, b, c, change) => {
        const [from, to] = [Math.min(a, b), Math.max(a, b)];
        const range = good.subarray(from, to);
        const rest = Buffer.concat([good.subarray(0, from), good.subarray(to)]);
        const at = Math.min(c, rest.length);
        const parts = {
          cut: [rest],
          repeat: [good.subarray(0, c), range, good.subarray(c)],
          move: [rest.subarray(0, at), range, rest.subarray(at)],
        };
        const changed = Buffer.concat(parts[change]);
        fc.pre(!changed.equals(good));
        await fs.writeFile("/snapshot", changed);
        expect((await refusal(readSnapshotFile(fs, "/snapshot"))).code).toBe("corruption");
      },
    ),
    { numRuns: 300 },
  );
});

test("P6: a full disk stops a snapshot wherever it is, and abandoning it gives the room back", async () => {
  const size = (await snapshotBytes()).length;
  for (let capacityBytes = 0; capacityBytes < size; capacityBytes += 1) {
    const disk = new MemoryDisk();
    disk.capacityBytes = capacityBytes;
    const fs = disk.mount();
    const error = await refusal(writeSnapshot(fs, "/snapshot"));
    expect(error.code).toBe("diskFull");
    disk.capacityBytes = size;
    await writeSnapshot(fs, "/snapshot");
    expect(disk.usedBytes).toBe(size);
  }
  const disk = new MemoryDisk();
  disk.capacityBytes = 20;
  const fs = disk.mount();
  expect((await refusal(createSnapshotWriter(fs, "/snapshot", HEADER))).code).toBe("diskFull");
  expect(disk.usedBytes).toBe(0);
});

test("P2, S2: a finished snapshot's bytes survive a power loss, an unfinished one's file is never taken for whole", async () => {
  const bytes = await snapshotBytes();
  for (const finished of [false, true]) {
    for (const keep of [false, true]) {
      const disk = new MemoryDisk();
      const fs = disk.mount();
      const machine = sampleMachine();
      const writer = await createSnapshotWriter(fs, "/snapshot.tmp", HEADER);
      await fs.syncDirectory("/");
      for (const section of machine.freeze().sections()) await writer.append(section);
      if (finished) await writer.finish();
      disk.crash(() => keep);
      const next = disk.mount();
      const left = await next.readFile("/snapshot.tmp");
      if (finished) expect(left !== null && bytes.equals(left)).toBeTrue();
      else expect((await refusal(readSnapshotFile(next, "/snapshot.tmp"))).code).toBe("corruption");
    }
  }
});

test("P5: a sync that fails while a snapshot is written is an io error, also when it says that the disk is full", async () => {
  const fs = new MemoryDisk().mount(({ name }) =>
    name === "append.sync" ? { kind: "refuse", message: "ENOSPC: no space left on device" } : null,
  );
  expect((await refusal(writeSnapshot(fs, "/snapshot"))).code).toBe("io");
});
