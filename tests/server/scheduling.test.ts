import { expect, test } from "bun:test";
import { Scheduling } from "../../src/server/scheduling.ts";
import { schedulingSwitch, type SchedulingPolicy } from "../../src/server/scheduling-policy.ts";
import { VirtualClock } from "../node/virtual-clock.ts";

/** A server that has so much to do, and what was set for it. */
function server() {
  const clock = new VirtualClock();
  const set: SchedulingPolicy[] = [];
  let work = 0;
  const scheduling = new Scheduling(
    clock,
    () => work,
    (policy) => set.push(policy),
  );
  /** Has it do so much for two seconds. */
  const run = async (perSecond: number): Promise<void> => {
    for (let tenth = 0; tenth < 20; tenth += 1) {
      work += perSecond / 10;
      await clock.advance(100);
    }
  };
  return { set, run, scheduling };
}

test("a server that has little to do stays as it is", async () => {
  const { set, run } = server();
  await run(0);
  await run(600);
  expect(set).toEqual([]);
});

test("a server that has much to do is batch, until it has little to do again", async () => {
  const { set, run } = server();
  await run(4000);
  expect(set).toEqual(["batch"]);
  await run(800);
  expect(set).toEqual(["batch"]);
  await run(200);
  expect(set).toEqual(["batch", "normal"]);
  await run(800);
  expect(set).toEqual(["batch", "normal"]);
  await run(1600);
  expect(set).toEqual(["batch", "normal", "batch"]);
});

test("what came while the process stood still does not count as much for a moment", async () => {
  const clock = new VirtualClock();
  const set: SchedulingPolicy[] = [];
  let work = 0;
  const scheduling = new Scheduling(
    clock,
    () => work,
    (policy) => set.push(policy),
  );
  clock.stall(10_000);
  work += 500;
  await clock.advance(250);
  expect(set).toEqual([]);
  scheduling.stop();
});

test("after stop nothing is set", async () => {
  const { set, run, scheduling } = server();
  scheduling.stop();
  await run(4000);
  expect(set).toEqual([]);
});

/** Sets what the words say, one after the other, and tells what all threads of the process are then. */
const PROGRAM = `
  const { readdirSync, readFileSync } = require("node:fs");
  const { schedulingSwitch } = require(${JSON.stringify(require.resolve("../../src/server/scheduling-policy.ts"))});
  // The policy is the 41st field of stat, the third the first after the name.
  const policyOf = (thread) =>
    Number(readFileSync(\`/proc/self/task/\${thread}/stat\`, "utf8").split(") ").at(-1).split(" ")[38]);
  const policies = () => [...new Set(readdirSync("/proc/self/task").map(policyOf))];
  const set = schedulingSwitch();
  const told = [policies()];
  for (const policy of ["batch", "normal", "batch"]) {
    set(policy);
    told.push(policies());
  }
  console.log(JSON.stringify({ told, again: schedulingSwitch() === null }));
`;

test.skipIf(process.platform !== "linux" || schedulingSwitch() === null)(
  "all threads of the process get the policy, and one that somebody chose for it is left alone",
  async () => {
    const child = Bun.spawn([process.execPath, "-e", PROGRAM], { stdout: "pipe", stderr: "inherit" });
    expect(JSON.parse(await child.stdout.text())).toEqual({ told: [[0], [3], [0], [3]], again: true });
    expect(await child.exited).toBe(0);
  },
);
