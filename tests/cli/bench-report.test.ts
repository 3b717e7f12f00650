import { expect, test } from "bun:test";
import { LeaderHistory } from "../../src/cli/bench/election-watch.ts";
import { Measurement } from "../../src/cli/bench/measurement.ts";
import { progressLine, together } from "../../src/cli/bench/progress.ts";
import { milliseconds, reportText } from "../../src/cli/bench/report.ts";
import { resultJson, type BenchResult } from "../../src/cli/bench/result.ts";
import type { BenchSettings } from "../../src/cli/bench/settings.ts";
import type { Operation } from "../../src/cli/bench/workload.ts";
import { serverStatus } from "./fake-server.ts";

const PUT: Operation = { kind: "put", key: Buffer.from("bench/1"), value: Buffer.from("v") };
const GET: Operation = { kind: "get", key: Buffer.from("bench/1") };

const SETTINGS: BenchSettings = {
  target: { kind: "frontend", address: "127.0.0.1:8001" },
  workload: "mixed",
  reads: 0.5,
  consistency: "linearizable",
  keys: 10_000,
  valueBytes: 256,
  seed: 1,
  clients: 64,
  connections: 1,
  jobs: 1,
  ratePerSecond: 100,
  warmUpMs: 2000,
  end: { kind: "duration", durationMs: 10_000 },
  timeoutMs: 5000,
};

/** 90 puts of 1.9 ms, 10 gets of 20 ms of which one found nothing, and five errors of two kinds; 64 calls under way. */
function measured(): Measurement {
  const measurement = new Measurement();
  for (let i = 0; i < 90; i += 1) measurement.ended(PUT, { kind: "answered", found: false }, 1.9);
  for (let i = 0; i < 10; i += 1) measurement.ended(GET, { kind: "answered", found: i > 0 }, 20);
  for (const error of ["grpc:DEADLINE_EXCEEDED", "OVERLOADED", "OVERLOADED", "OVERLOADED", "OVERLOADED"]) {
    const message = `${error} in words\nat length`;
    measurement.ended(PUT, { kind: "failed", error, message, leaderId: null }, 5000);
  }
  measurement.sent(3);
  measurement.unsent(7, 12.5);
  measurement.giveUp({ calls: 64, longestMs: 4500 });
  return measurement;
}

function resultOf(parts: Partial<BenchResult> = {}): BenchResult {
  const leaders = new LeaderHistory();
  leaders.note(-2.2, [serverStatus({ id: 0, term: 4 }), serverStatus({ role: "follower", term: 4 })]);
  leaders.note(-1.2, [serverStatus({ role: "candidate", term: 5 })]);
  leaders.note(2, []);
  leaders.note(3, [serverStatus({ id: 2, term: 5 })]);
  leaders.note(4, [serverStatus({ id: 0, term: 4 })]);
  const measurement = measured();
  const numbers = { measuredMs: 10_000, answeredMeanwhile: 80, generatorCpuShare: 0.34 };
  return { settings: SETTINGS, interrupted: false, measurement, leaders, ...numbers, ...parts };
}

test("the report tells the settings, every number, and the distribution", () => {
  expect(reportText(resultOf()).split("\n")).toEqual([
    "50 % linearizable gets, the rest puts, through the frontend at 127.0.0.1:8001, open loop, 100 /s",
    "64 clients over 1 connection from 1 process; 10,000 keys, values of 256 bytes; 10 s after 2 s of warm-up; up to 5 s a call; seed 1",
    "",
    "throughput   8 /s: 80 operations in 10.0 s",
    "schedule     asked 100 /s, achieved 8 /s, at most 12.5 ms behind; 7 were due and never sent",
    "found        90 % of the keys that were read",
    "errors       5, 4.76 %",
    "             4 × OVERLOADED: OVERLOADED in words",
    "             1 × grpc:DEADLINE_EXCEEDED: grpc:DEADLINE_EXCEEDED in words",
    "unanswered   64 calls under way, the longest for 4,500 ms",
    "elections    1; server 0 led in term 4",
    "             nobody led in term 5, seen in the warm-up",
    "             server 2 led in term 5, seen after 3.0 s",
    "generator    34 % of a core in its busiest process",
    "",
    "latency         count        mean         p50         p90         p99       p99.9         max",
    "all               100     3.71 ms     1.90 ms     1.90 ms     20.0 ms     20.0 ms     20.0 ms",
    "puts               90     1.90 ms     1.90 ms     1.90 ms     1.90 ms     1.90 ms     1.90 ms",
    "gets               10     20.0 ms     20.0 ms     20.0 ms     20.0 ms     20.0 ms     20.0 ms",
    "",
    "up to  2 ms  90  ########################################",
    "up to  5 ms   0",
    "up to 10 ms   0",
    "up to 20 ms  10  #####",
  ]);
});

test("a run without an answer, cut short, of a closed loop at servers: no latencies, no schedule", () => {
  const seeds = [
    { id: 0, address: "a:1" },
    { id: null, address: "b:2" },
  ];
  const text = reportText(
    resultOf({
      settings: {
        ...SETTINGS,
        workload: "put",
        target: { kind: "servers", seeds },
        ratePerSecond: null,
        clients: 1,
        jobs: 2,
        connections: 2,
        end: { kind: "count", operations: 1 },
      },
      interrupted: true,
      measuredMs: 0,
      answeredMeanwhile: 0,
      measurement: new Measurement(),
      leaders: new LeaderHistory(),
      generatorCpuShare: 0.97,
    }),
  );
  expect(text.split("\n")).toEqual([
    "puts, at the servers of 0=a:1, b:2, closed loop",
    "1 client over 2 connections to each server from 2 processes; 10,000 keys, values of 256 bytes; 1 operation after 2 s of warm-up; up to 5 s a call; seed 1",
    "",
    "interrupted: this is what was measured until then",
    "throughput   0 /s: 0 operations in 0.0 s",
    "errors       none",
    "elections    unknown: nobody said who leads",
    "generator    97 % of a core in its busiest process: it may be the limit, try more --jobs",
  ]);
});

test("the JSON document has all of it, buckets too", () => {
  expect(resultJson(resultOf())).toMatchObject({
    settings: { address: "127.0.0.1:8001", clients: 64, ratePerSecond: 100, durationMs: 10_000, count: null },
    interrupted: false,
    seconds: 10,
    operations: { answered: 100, failed: 5, puts: 90, gets: 10 },
    unanswered: { calls: 64, longestMs: 4500 },
    answeredMeanwhile: 80,
    perSecond: 8,
    found: 0.9,
    latency: {
      all: { count: 100, p50Us: 1903, p99Us: 20_000, maxUs: 20_000, buckets: [{ count: 90 }, { count: 10 }] },
      puts: { count: 90 },
      gets: { count: 10, meanUs: 20_000 },
    },
    rate: { askedPerSecond: 100, achievedPerSecond: 8, longestLagMs: 12.5, unsent: 7 },
    errors: [
      { error: "OVERLOADED", count: 4 },
      { error: "grpc:DEADLINE_EXCEEDED", count: 1 },
    ],
    elections: {
      count: 1,
      leaders: [
        { atSeconds: -2.2, term: 4, leaderId: 0 },
        { atSeconds: -1.2, term: 5, leaderId: null },
        { atSeconds: 3, term: 5, leaderId: 2 },
      ],
    },
    generatorCpuShare: 0.34,
  });
});

test("where nobody said who leads, programs too are told that the elections are unknown", () => {
  expect(resultJson(resultOf({ leaders: new LeaderHistory() }))).toMatchObject({
    elections: { count: null, leaders: [] },
  });
});

test("a leader that does not answer for a moment has not lost its term", () => {
  const leader = serverStatus({ id: 1, term: 2 });
  const follower = serverStatus({ id: 0, role: "follower", term: 2 });
  const history = new LeaderHistory();
  history.note(0, [leader, follower]);
  history.note(1, [{ ...follower, leaderId: 1 }]);
  history.note(2, [follower]);
  history.note(3, [leader, follower]);
  expect(history.sightings).toEqual([{ atSeconds: 0, term: 2, leaderId: 1 }]);
  expect(history.elections).toBe(0);
});

test("a leader that was not reached itself is known by whoever follows it, in the latest term alone", () => {
  const history = new LeaderHistory();
  history.note(0, [serverStatus({ id: 0, role: "follower", term: 2, leaderId: 1 })]);
  history.note(1, [
    serverStatus({ id: 0, role: "follower", term: 2, leaderId: 1 }),
    serverStatus({ id: 2, role: "candidate", term: 3 }),
  ]);
  expect(history.sightings).toEqual([
    { atSeconds: 0, term: 2, leaderId: 1 },
    { atSeconds: 1, term: 3, leaderId: null },
  ]);
});

test("what several processes measured adds up, also over JSON", () => {
  const sum = Measurement.fromRecord(JSON.parse(JSON.stringify(measured().toRecord())));
  sum.merge(measured());
  expect([sum.answered, sum.failed, sum.foundShare, sum.unsentCount]).toEqual([200, 10, 0.9, 14]);
  expect(sum.longestLagMs).toBe(12.5);
  sum.giveUp({ calls: 1, longestMs: 9 });
  expect(sum.unanswered).toEqual({ calls: 129, longestMs: 4500 });
  expect(sum.errors.map(({ error, count }) => [error, count])).toEqual([
    ["OVERLOADED", 8],
    ["grpc:DEADLINE_EXCEEDED", 2],
  ]);
});

test("the live line says how far the slowest process is, how fast it goes, and how many errors there were", () => {
  const workers = [
    { stage: "measuring", answered: 900, failed: 2 },
    { stage: "warming up", answered: 10, failed: 1 },
    { stage: "warming up", answered: 30, failed: 0 },
  ] as const;
  expect(together(workers)).toEqual({ stage: "warming up", answered: 40, failed: 1 });
  const line = (parts: Partial<Parameters<typeof progressLine>[0]>, settings = SETTINGS) =>
    progressLine(
      { stage: "measuring", answered: 5000, failed: 0, seconds: 1.25, perSecond: 4000, ...parts },
      settings,
    );
  expect(line({})).toBe("measuring: 1.3 of 10 s, 4,000 /s");
  expect(line({ failed: 1 })).toBe("measuring: 1.3 of 10 s, 4,000 /s, 1 error");
  expect(line({ stage: "loading" })).toBe("loading: 5,000 of 10,000 keys, 4,000 /s");
  expect(line({ stage: "warming up", failed: 2 })).toBe("warming up: 1.3 of 2 s, 4,000 /s, 2 errors");
  const counting: BenchSettings = { ...SETTINGS, end: { kind: "count", operations: 20_000 } };
  expect(line({}, counting)).toBe("measuring: 5,000 of 20,000, 4,000 /s");
});

test("milliseconds have three digits", () => {
  expect([0.1234, 9.876, 12.34, 123.4, 12_345].map(milliseconds)).toEqual([
    "0.12 ms",
    "9.88 ms",
    "12.3 ms",
    "123 ms",
    "12,345 ms",
  ]);
});
