/** What is sent when: schedules, the loop that follows them, and the operations, all on a clock of the test's own. */
import { expect, test } from "bun:test";
import type { CallOutcome } from "../../src/cli/bench/call-outcome.ts";
import { KeyWriter } from "../../src/cli/bench/key-writer.ts";
import { LeaderRoute } from "../../src/cli/bench/leader-route.ts";
import { LoadLoop, type LoadPhase } from "../../src/cli/bench/load-loop.ts";
import { Measurement } from "../../src/cli/bench/measurement.ts";
import { CLOSED_LOOP, openLoop } from "../../src/cli/bench/schedule.ts";
import { parseBenchSettings } from "../../src/cli/bench/settings.ts";
import { Workload, type WorkloadOptions } from "../../src/cli/bench/workload.ts";
import { ANSWERED, FakeLoadWorld } from "./fake-load-world.ts";

const MIXED: WorkloadOptions = { kind: "mixed", reads: 0.8, keys: 50, valueBytes: 16, seed: 7, stream: 0 };

/** The first operations of such a workload. */
function draw(options: WorkloadOptions) {
  const workload = new Workload(options);
  return Array.from({ length: 100 }, () => workload.next());
}

function failed(error: string, leaderId: number | null = null): CallOutcome {
  return { kind: "failed", error, message: "in words", leaderId };
}

/** An open loop of one process from 0 on. */
function atRate(ratePerSecond: number) {
  return openLoop({ startMs: 0, ratePerSecond, process: 0, processes: 1 });
}

/** Puts by so many clients, to be run; what becomes of them is in `measurement`. */
function loadOf(world: FakeLoadWorld, clients: number, phase: Partial<LoadPhase>) {
  const loop = new LoadLoop(world, clients);
  return { loop, ...runOn(loop, phase) };
}

function runOn(loop: LoadLoop, phase: Partial<LoadPhase>) {
  const measurement = new Measurement();
  const workload = new Workload({ ...MIXED, kind: "put" });
  const ended = loop.run({
    schedule: CLOSED_LOOP,
    untilMs: Infinity,
    operations: Infinity,
    next: () => workload.next(),
    observer: measurement,
    ...phase,
  });
  return { ended, measurement };
}

/** Answers after a millisecond, but what is sent within the stall only when that is over. */
function stalling(fromMs: number, untilMs: number) {
  return (sentMs: number) => (sentMs >= fromMs && sentMs < untilMs ? untilMs : sentMs) + 1;
}

test("an open loop is due at start + k / rate, divided among processes, whatever happens", () => {
  const whole = openLoop({ startMs: 500, ratePerSecond: 100, process: 0, processes: 1 });
  expect([0, 1, 2, 100].map((k) => whole.dueMs(k))).toEqual([500, 510, 520, 1500]);
  const parts = [0, 1, 2].map((process) =>
    openLoop({ startMs: 500, ratePerSecond: 100, process, processes: 3 }),
  );
  const all = parts.flatMap((part) => [0, 1].map((k) => part.dueMs(k) ?? NaN));
  expect(all.toSorted((a, b) => a - b)).toEqual([500, 510, 520, 530, 540, 550]);
  expect(parts.map((part) => part.dueBefore(535))).toEqual([2, 1, 1]);
  expect(whole.dueBefore(400)).toBe(0);
});

test("a stall of 1 s at 100 a second shows as 100 late operations, up to 1 s late: none is left out", () => {
  const world = new FakeLoadWorld(stalling(1000, 2000));
  const { measurement } = loadOf(world, 500, { schedule: atRate(100), untilMs: 4000 });
  world.advanceTo(5000);
  expect(measurement.answered).toBe(400);
  const late = measurement.puts.toRecord().buckets.filter(({ upToUs }) => upToUs > 1500);
  expect(late.reduce((sum, { count }) => sum + count, 0)).toBe(100);
  expect(measurement.puts.maxUs).toBe(1_001_000);
  // A quarter of all are late, evenly between 0 and 1 s: every eighth by half a second or more.
  expect(measurement.puts.percentileUs(0.875)).toBeGreaterThan(490_000);
  expect(measurement.longestLagMs).toBeLessThan(1);
});

test("with too few clients, what is due waits in line and its waiting counts", () => {
  const world = new FakeLoadWorld(stalling(1000, 2000));
  const { measurement } = loadOf(world, 1, { schedule: atRate(100), untilMs: 4000 });
  world.advanceTo(5000);
  expect(measurement.answered).toBe(400);
  const late = measurement.puts.toRecord().buckets.filter(({ upToUs }) => upToUs > 1500);
  expect(late.reduce((sum, { count }) => sum + count, 0)).toBeGreaterThanOrEqual(100);
  expect(measurement.puts.maxUs).toBe(1_001_000);
  expect(measurement.longestLagMs).toBeGreaterThan(980);
});

test("the same stall in a closed loop is one late operation a client", () => {
  const world = new FakeLoadWorld(stalling(1000, 2000));
  const { measurement } = loadOf(world, 2, { untilMs: 4000 });
  world.advanceTo(5000);
  const late = measurement.puts.toRecord().buckets.filter(({ upToUs }) => upToUs > 1500);
  expect(late.reduce((sum, { count }) => sum + count, 0)).toBe(2);
  expect(measurement.answered).toBe(6000);
});

test("more than can be served: what was due and never sent is told, with how long it waited", () => {
  const world = new FakeLoadWorld((sentMs) => sentMs + 100);
  const { measurement } = loadOf(world, 1, { schedule: atRate(100), untilMs: 995 });
  world.advanceTo(2000);
  expect(measurement.answered).toBe(10);
  expect(measurement.unsentCount).toBe(90);
  expect(measurement.longestLagMs).toBe(895);
});

test("what was due before the end is sent when a client is free just then", () => {
  const world = new FakeLoadWorld((sentMs) => sentMs + 100);
  const { measurement } = loadOf(world, 1, { schedule: atRate(20), untilMs: 200 });
  world.advanceTo(1000);
  expect(world.sentAtMs).toEqual([0, 100, 200]);
  expect(measurement.unsentCount).toBe(1);
});

test("what is answered while a phase lasts is counted whenever it was sent, and nothing that comes later", async () => {
  const world = new FakeLoadWorld((sentMs) => sentMs + 1000);
  const warmUp = loadOf(world, 64, { untilMs: 1500 });
  world.advanceTo(1501);
  expect(await warmUp.ended).toBe(64);
  const measured = runOn(warmUp.loop, { untilMs: 3500 });
  world.advanceTo(5000);
  expect(await measured.ended).toBe(128);
  expect([warmUp.measurement.answered, measured.measurement.answered]).toEqual([128, 128]);
});

test("calls that nobody answers are known, and how long the first of them has lasted", () => {
  const world = new FakeLoadWorld(stalling(500, Infinity));
  const { loop, measurement } = loadOf(world, 64, {});
  expect(loop.underWay).toEqual({ calls: 64, longestMs: 0 });
  world.advanceTo(5000);
  loop.stop();
  expect(loop.underWay).toEqual({ calls: 64, longestMs: 4500 });
  expect([measurement.answered, measurement.failed]).toEqual([64 * 500, 0]);
});

test("never more calls are under way than there are clients, and the last of them is waited for", async () => {
  const world = new FakeLoadWorld((sentMs) => sentMs + 10);
  const { loop, ended, measurement } = loadOf(world, 3, { operations: 7 });
  world.advanceTo(5);
  expect(world.sentAtMs).toEqual([0, 0, 0]);
  world.advanceTo(21);
  await ended;
  expect(world.sentAtMs).toEqual([0, 0, 0, 10, 10, 10, 20]);
  expect(measurement.answered).toBe(6);
  const idle = loop.idle();
  world.advanceTo(30);
  await idle;
  expect(measurement.answered).toBe(7);
});

test("a client that was refused waits a moment before its next call, in a closed loop", () => {
  const refused = failed("OVERLOADED");
  const closed = new FakeLoadWorld(
    (sentMs) => sentMs + 1,
    () => refused,
  );
  loadOf(closed, 1, { untilMs: 100 });
  closed.advanceTo(100);
  expect(closed.sentAtMs.slice(0, 3)).toEqual([0, 11, 22]);
  const open = new FakeLoadWorld(
    (sentMs) => sentMs + 1,
    () => refused,
  );
  const { measurement } = loadOf(open, 1, { schedule: atRate(200), untilMs: 100 });
  open.advanceTo(100);
  expect(open.sentAtMs).toHaveLength(20);
  expect(measurement.errors).toEqual([{ error: "OVERLOADED", count: 20, example: "in words" }]);
});

test("stopped, nothing more is sent", async () => {
  const world = new FakeLoadWorld((sentMs) => sentMs + 10);
  const { loop, ended } = loadOf(world, 2, {});
  world.advanceTo(15);
  loop.stop();
  await ended;
  world.advanceTo(100);
  expect(world.sentAtMs).toEqual([0, 0, 10, 10]);
});

/** Writes `keys` keys by two clients in `world`, letting time pass until that is done; when it was, and the error. */
async function writeKeys(world: FakeLoadWorld, keys: number) {
  const workload = new Workload(MIXED);
  let key = -1;
  const nextPut = () => workload.put((key += 1));
  const writer = new KeyWriter({ loop: new LoadLoop(world, 2), nowMs: () => world.nowMs(), keys, nextPut });
  const error = writer.write().then(
    () => null,
    (reason: unknown) => reason,
  );
  const ended = error.then(() => "ended");
  while ((await Promise.race([ended, Bun.sleep(0)])) === undefined && world.nowMs() < 60_000) {
    world.advanceTo(world.nowMs() + 1);
  }
  return { writer, error: await error, endedMs: world.nowMs(), keysTaken: key + 1 };
}

test("keys that are to be read are written, each until it is", async () => {
  const world = new FakeLoadWorld(
    (sentMs) => sentMs + 1,
    (sentMs) => (sentMs < 5 ? failed("NOT_LEADER") : ANSWERED),
  );
  const { writer, error, keysTaken } = await writeKeys(world, 20);
  expect(error).toBeNull();
  expect([writer.answered, writer.failed, keysTaken]).toEqual([20, 2, 20]);
});

test("keys that cannot be written for ten seconds end the run with one clear line", async () => {
  const world = new FakeLoadWorld(
    (sentMs) => sentMs + 100,
    () => failed("UNAVAILABLE"),
  );
  const { error, endedMs } = await writeKeys(world, 20);
  expect(String(error)).toContain("the keys to be read cannot be written: UNAVAILABLE: in words");
  expect(endedMs).toBeGreaterThanOrEqual(10_000);
  expect(endedMs).toBeLessThan(11_000);
});

test("stopped, keys are not waited for that nobody answers", async () => {
  const world = new FakeLoadWorld(() => Infinity);
  const workload = new Workload(MIXED);
  const nextPut = () => workload.put(0);
  const loop = new LoadLoop(world, 2);
  const writer = new KeyWriter({ loop, nowMs: () => world.nowMs(), keys: 2, nextPut });
  const written = writer.write();
  await Bun.sleep(0);
  writer.stop();
  await written;
  expect(loop.underWay.calls).toBe(2);
});

test("by default no connection carries more clients than a server takes calls of one", () => {
  const args = {
    workload: "put",
    keys: "1",
    "value-size": "1",
    "warm-up": "0",
    seed: "1",
    timeout: "5",
  } as const;
  const connectionsOf = (clients: number, jobs: number) =>
    parseBenchSettings({ ...args, clients: String(clients), jobs: String(jobs) }).connections;
  expect(connectionsOf(64, 4)).toBe(4);
  expect(connectionsOf(1024, 4)).toBe(4);
  expect(connectionsOf(1000, 3)).toBe(6);
  expect(connectionsOf(257, 256)).toBe(256);
});

test("the same seed draws the same operations, another process others", () => {
  expect(draw(MIXED)).toEqual(draw(MIXED));
  expect(draw(MIXED)).not.toEqual(draw({ ...MIXED, stream: 1 }));
});

test("a mixed workload has its share of gets; keys and values are many, values of the size asked for", () => {
  const workload = new Workload(MIXED);
  const operations = Array.from({ length: 5000 }, () => workload.next());
  const gets = operations.filter(({ kind }) => kind === "get").length;
  expect(gets / operations.length).toBeCloseTo(0.8, 1);
  expect(new Set(operations.map(({ key }) => key.toString())).size).toBe(50);
  const values = operations.flatMap((operation) =>
    operation.kind === "put" ? [operation.value.toString()] : [],
  );
  expect(new Set(values.map(({ length }) => length))).toEqual(new Set([16]));
  expect(new Set(values).size).toBeGreaterThan(values.length * 0.9);
});

test("the leader is followed: to whom an answer names, or else to the next server", () => {
  const route = new LeaderRoute([0, 1, 2], null);
  expect(route.current).toBe(0);
  route.note(0, failed("NOT_LEADER", 2));
  expect(route.current).toBe(2);
  route.note(0, failed("NOT_LEADER", 1));
  expect(route.current).toBe(2);
  route.note(2, failed("OVERLOADED"));
  route.note(2, { kind: "answered", found: false });
  expect(route.current).toBe(2);
  route.note(2, failed("grpc:UNAVAILABLE"));
  expect(route.current).toBe(0);
  route.note(0, failed("NOT_LEADER", 9));
  expect(route.current).toBe(1);
});
