import { expect, test } from "bun:test";
import { drainMicrotasks } from "bun:jsc";
import { RaftKvError } from "../../src/base/errors.ts";
import { FaultCounter } from "../../src/sim/fault-counter.ts";
import { momentOfOperation } from "../../src/sim/moment.ts";
import { Random } from "../../src/sim/random.ts";
import { SimDisk } from "../../src/sim/sim-disk.ts";
import { SimProcess } from "../../src/sim/sim-process.ts";
import { Timeline } from "../../src/sim/timeline.ts";

function machine() {
  const timeline = new Timeline();
  const faults = new FaultCounter();
  const calm = { latencyMinUs: 50, latencyMaxUs: 100, fsyncError: 0, slow: 0, slowMaxUs: 100 };
  const disk = new SimDisk(new Random(1), calm, faults, () => {});
  const files = disk.mount(new SimProcess(timeline, 1, () => {}));
  /** What the operation came to, once all that is due has happened. */
  const outcome = async <T>(operation: Promise<T>): Promise<T | string> => {
    const settled = operation.catch((error: unknown) => (error instanceof RaftKvError ? error.code : "?"));
    for (let action = timeline.next(); action !== null; action = timeline.next()) {
      action();
      drainMicrotasks();
    }
    return settled;
  };
  return { disk, faults, files, outcome };
}

test("P6: a full disk refuses writes until there is room; each time that it is filled counts once", async () => {
  const { disk, faults, files, outcome } = machine();
  disk.fill(3);
  const write = (): Promise<unknown> => outcome(files.writeFile("f", new Uint8Array(5)));
  expect([await write(), await write(), faults.of("diskFull")]).toEqual(["diskFull", "diskFull", 1]);
  disk.makeRoom();
  expect([await write(), faults.of("diskFull")]).toEqual([undefined, 1]);
  disk.fill(0);
  expect([await outcome(files.openAppend("g")), faults.of("diskFull")]).toEqual(["diskFull", 2]);
});

test("P6: a disk that others refill stays full, whatever is removed from it", async () => {
  const { disk, files, outcome } = machine();
  for (const name of ["f", "g"]) await outcome(files.writeFile(name, new Uint8Array(5)));
  disk.fill(0);
  await outcome(files.removeFile("f"));
  disk.refill();
  expect(await outcome(files.writeFile("h", new Uint8Array(1)))).toBe("diskFull");
});

test("P6: files are damaged on a full disk as on any other", async () => {
  const { disk, files, outcome } = machine();
  await outcome(files.writeFile("f", new Uint8Array(5)));
  disk.fill(-1);
  disk.tamper(() => {
    void disk.files.writeFile("f", new Uint8Array(4));
    drainMicrotasks();
  });
  expect((await disk.files.readFile("f"))?.length).toBe(4);
  expect(await outcome(files.writeFile("g", new Uint8Array(5)))).toBe("diskFull");
});

test("P9: a disk that is replaced holds nothing", async () => {
  const { disk, files, outcome } = machine();
  await outcome(files.writeFile("f", new Uint8Array(5)));
  expect(await disk.files.readFile("f")).not.toBeNull();
  disk.replace();
  expect(await disk.files.readFile("f")).toBeNull();
  expect(await outcome(files.readFile("f"))).toBe("io");
});

test("S1: each step of a snapshot is a moment to die of its own", () => {
  const [taken, received, log] = [
    "snapshot-5.json.tmp",
    "snapshot-5.json.part",
    "log-0000000000000001.jsonl",
  ].map((name) => `raft_state/server_0/${name}`);
  expect(momentOfOperation({ name: "append.sync", path: taken ?? "" })).toBe("snapshot append.sync");
  expect(momentOfOperation({ name: "rename", path: received ?? "" })).toBe("received rename");
  expect(momentOfOperation({ name: "removeFile", path: log ?? "" })).toBe("removeFile");
  expect(momentOfOperation({ name: "append.sync", path: log ?? "" })).toBeNull();
});
