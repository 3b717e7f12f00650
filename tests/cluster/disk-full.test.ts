import { expect, setDefaultTimeout, test } from "bun:test";
import { Random } from "../../src/sim/random.ts";
import { fillDisks } from "./disk-full.ts";
import { CAN_MOUNT } from "./small-disk.ts";

setDefaultTimeout(90_000);

test.skipIf(!CAN_MOUNT)(
  "P6: with full disks nothing is acknowledged, reads go on and no process ends; with room, so do writes (needs root on Linux)",
  async () => {
    const { rounds, complaints } = await fillDisks(2, new Random(4), ["followersFirst", "together"]);
    expect(complaints).toEqual([]);
    expect(rounds).toBe(2);
  },
);
