import { expect, setDefaultTimeout, test } from "bun:test";
import { freePorts } from "./free-ports.ts";

setDefaultTimeout(60_000);

/** So many of a range of 19,000 that, taken blindly, some would be the same. */
const TIMES = 300;
const COUNT = 4;

const PROGRAM = `
  const { freePorts } = require(${JSON.stringify(require.resolve("./free-ports.ts"))});
  const firsts = [];
  for (let n = 0; n < ${TIMES}; n += 1) firsts.push(await freePorts(${COUNT}));
  console.log(JSON.stringify(firsts));
  process.exit(0);
`;

test("nobody is given ports that somebody else was given, in this process or another", async () => {
  const firsts: number[] = [];
  for (let n = 0; n < TIMES; n += 1) firsts.push(await freePorts(COUNT));
  const other = Bun.spawn([process.execPath, "-e", PROGRAM], { stdout: "pipe", stderr: "inherit" });
  firsts.push(...(JSON.parse(await other.stdout.text()) as number[]));
  expect(firsts).toHaveLength(2 * TIMES);
  const ports = firsts.flatMap((first) => Array.from({ length: COUNT }, (_, i) => first + i));
  expect(new Set(ports).size).toBe(ports.length);
});
