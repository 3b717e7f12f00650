import { expect, test } from "bun:test";
import { drainMicrotasks } from "bun:jsc";
import { FaultCounter } from "../../src/sim/fault-counter.ts";
import { cutShort, flipBit, type Damage } from "../../src/sim/file-damage.ts";
import { Random } from "../../src/sim/random.ts";
import { SimDisk } from "../../src/sim/sim-disk.ts";

const DIRECTORY = "raft_state/server_0";
const SEALED = "log-0000000000000001.jsonl";
const NEXT = "log-0000000000000008.jsonl";

test.each([
  ["a segment is cut short", cutShort],
  ["a bit is flipped", flipBit],
] as [string, Damage][])(
  "P7: when %s, no power loss takes back the segment that shows where it should end",
  async (_what, damage) => {
    let damaged = 0;
    for (let seed = 1; seed <= 20; seed += 1) {
      const trouble = { latencyMinUs: 50, latencyMaxUs: 100, fsyncError: 0, slow: 0, slowMaxUs: 100 };
      const random = new Random(seed);
      const disk = new SimDisk(random, trouble, new FaultCounter(), () => {});
      await disk.files.makeDirectory("raft_state");
      await disk.files.makeDirectory(DIRECTORY);
      await disk.files.writeFile(`${DIRECTORY}/${SEALED}`, new Uint8Array(700).fill(49));
      await disk.files.syncFile(`${DIRECTORY}/${SEALED}`);
      for (const each of [DIRECTORY, "raft_state", ""]) await disk.files.syncDirectory(each);
      await disk.files.writeFile(`${DIRECTORY}/${NEXT}`, new Uint8Array(0));
      const what = damage({ disk, serverId: 0, random });
      drainMicrotasks();
      disk.powerLost();
      const names = await disk.files.listDirectory(DIRECTORY);
      if (what?.includes(SEALED) !== true) continue;
      damaged += 1;
      expect(names).toEqual([SEALED, NEXT]);
    }
    expect(damaged).toBeGreaterThan(0);
  },
);
