import { expect, test } from "bun:test";
import { Scheduling } from "../../src/server/scheduling.ts";
import { schedulingSwitch, type SchedulingPolicy } from "../../src/server/scheduling-policy.ts";
import { VirtualClock } from "../node/virtual-clock.ts";

/** A server that has so much to do, and what was set for it. */
function server() {
  const clock = new VirtualClock();
  const set: SchedulingPolicy[] = [];
  let [calls, together, entries] = [0, 0, 0];
  const switches = { work: true };
  const scheduling = new Scheduling(
    clock,
    () => ({ calls, together, entries }),
    (policy) => {
      if (switches.work) set.push(policy);
      return switches.work;
    },
  );
  /** For two seconds: so many calls in each tenth, so many of them at a time, each bringing so many entries. */
  const run = async (perTenth: number, atATime: number, entriesEach: number): Promise<void> => {
    for (let tenth = 0; tenth < 20; tenth += 1) {
      calls += perTenth;
      together += perTenth * atATime;
      entries += perTenth * entriesEach;
      await clock.advance(100);
    }
  };
  return { set, run, scheduling, switches };
}

test("for one client, however fast it is, a server stays as it is", async () => {
  const { set, run } = server();
  await run(0, 0, 0);
  await run(30, 1, 1);
  await run(3000, 1, 1);
  await run(3000, 1, 0);
  expect(set).toEqual([]);
});

test("a leader that many clients call is batch, until there are few again", async () => {
  const { set, run } = server();
  await run(100, 64, 1);
  expect(set).toEqual(["batch"]);
  await run(100, 2.5, 1);
  expect(set).toEqual(["batch"]);
  await run(100, 1, 1);
  expect(set).toEqual(["batch", "normal"]);
  await run(100, 2.5, 1);
  expect(set).toEqual(["batch", "normal"]);
  await run(100, 4, 1);
  expect(set).toEqual(["batch", "normal", "batch"]);
  await run(1, 1, 0);
  expect(set).toEqual(["batch", "normal", "batch", "normal"]);
});

test("a follower that gets the entries of many clients with each call is batch", async () => {
  const { set, run } = server();
  await run(20, 1, 8);
  expect(set).toEqual(["batch"]);
});

test("a server that is flooded does not let callers go first", async () => {
  const { set, run } = server();
  await run(100, 64, 1);
  await run(1000, 2000, 1);
  expect(set).toEqual(["batch", "normal"]);
});

test("of a few calls in a second nothing is concluded", async () => {
  const { set, run } = server();
  await run(5, 64, 8);
  expect(set).toEqual([]);
});

test("what could not be set is tried again", async () => {
  const { set, run, switches } = server();
  switches.work = false;
  await run(100, 64, 1);
  expect(set).toEqual([]);
  switches.work = true;
  await run(100, 64, 1);
  expect(set).toEqual(["batch"]);
});

test("after stop nothing is set", async () => {
  const { set, run, scheduling } = server();
  scheduling.stop();
  await run(100, 64, 1);
  expect(set).toEqual([]);
});

const MODULE = JSON.stringify(require.resolve("../../src/server/scheduling-policy.ts"));

/** Sets one policy after the other, and tells what all threads of the process have then. */
const PROGRAM = `
  const { readdirSync, readFileSync } = require("node:fs");
  const { schedulingSwitch } = require(${MODULE});
  // The policy is the 41st field of stat, the third the first after the name.
  const policyOf = (thread) =>
    Number(readFileSync(\`/proc/self/task/\${thread}/stat\`, "utf8").split(") ").at(-1).split(" ")[38]);
  const policies = () => [...new Set(readdirSync("/proc/self/task").map(policyOf))];
  const set = schedulingSwitch();
  const told = [policies()];
  for (const policy of ["batch", "normal", "batch"]) {
    Bun.gc(true);
    if (!set(policy)) throw new Error("not set");
    told.push(policies());
  }
  console.log(JSON.stringify({ told, again: schedulingSwitch() === null }));
`;

/** A process that may have 64 files open, and has. */
const WITHOUT_FILES = `
  const { openSync } = require("node:fs");
  const { schedulingSwitch } = require(${MODULE});
  const set = schedulingSwitch();
  try {
    for (;;) openSync("/dev/null");
  } catch {}
  console.log(set("batch"));
`;

/** A process whose system calls are judged by a filter, which allows them all: one instruction that says so. */
const FILTERED = `
  const { dlopen, ptr } = require("bun:ffi");
  const { schedulingSwitch } = require(${MODULE});
  const { prctl } = dlopen("libc.so.6", { prctl: { args: ["i32", "u64", "u64", "u64", "u64"], returns: "i32" } }).symbols;
  const [NO_NEW_PRIVILEGES, SECCOMP, FILTER, RETURN, ALLOW] = [38, 22, 2, 0x06n, 0x7fff0000n];
  const before = schedulingSwitch() === null;
  const filter = new BigUint64Array([RETURN | (ALLOW << 32n)]);
  const program = new BigUint64Array([1n, BigInt(ptr(filter))]);
  const set = [prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0), prctl(SECCOMP, FILTER, ptr(program), 0, 0)];
  console.log(JSON.stringify({ before, set, after: schedulingSwitch() === null }));
`;

test.skipIf(schedulingSwitch() === null)("under a filter of system calls nothing is set", async () => {
  const child = Bun.spawn([process.execPath, "-e", FILTERED], { stdout: "pipe", stderr: "inherit" });
  expect(JSON.parse(await child.stdout.text())).toEqual({ before: false, set: [0, 0], after: true });
});

test.skipIf(schedulingSwitch() === null)(
  "all threads of the process get the policy, and one that somebody chose for it is left alone",
  async () => {
    const child = Bun.spawn([process.execPath, "-e", PROGRAM], { stdout: "pipe", stderr: "inherit" });
    expect(JSON.parse(await child.stdout.text())).toEqual({ told: [[0], [3], [0], [3]], again: true });
    expect(await child.exited).toBe(0);
  },
);

test.skipIf(schedulingSwitch() === null)(
  "I4: a process that can open no file goes on as it was",
  async () => {
    const words = ["sh", "-c", 'ulimit -n 64; exec "$0" -e "$1"', process.execPath, WITHOUT_FILES];
    const child = Bun.spawn(words, { stdout: "pipe", stderr: "pipe" });
    expect([await child.stdout.text(), await child.stderr.text()]).toEqual(["false\n", ""]);
  },
);
