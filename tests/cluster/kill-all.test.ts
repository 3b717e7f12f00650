import { expect, setDefaultTimeout, test } from "bun:test";
import { Random } from "../../src/sim/random.ts";
import { crashPoints } from "./crash-points.ts";
import { killAll } from "./kill-all.ts";

setDefaultTimeout(90_000);

test("P1, P8, S2: kill -9 of every server under load, with snapshots all the time, loses nothing acknowledged", async () => {
  const { rounds, acknowledged, complaints } = await killAll(4, new Random(1));
  expect(complaints).toEqual([]);
  expect(rounds).toBe(4);
  expect(acknowledged).toBeGreaterThan(4);
});

test("P1, S1, S2: a lone server killed while it snapshots and compacts has everything it acknowledged", async () => {
  const { rounds, after, complaints } = await crashPoints(6, new Random(2));
  expect(complaints).toEqual([]);
  expect(after.log + after.snapshot + after.temporary).toBe(rounds);
});
