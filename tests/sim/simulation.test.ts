import { expect, setDefaultTimeout, test } from "bun:test";
import { raftkv } from "../cli/raftkv-process.ts";

setDefaultTimeout(1_200_000);

test("250 seeds: no property is violated under any fault, and every fault happens", async () => {
  const { exitCode, stdout, stderr } = await raftkv(["simulate", "--seeds", "250"]);
  expect(`${stdout}${stderr}`).toContain("seeds 1 to 250: every property held");
  expect(exitCode).toBe(0);
});
