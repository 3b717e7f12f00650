import { describe, expect, test } from "bun:test";
import {
  formatSummaries,
  judge,
  median,
  summarise,
  type ContenderName,
  type Round,
  type WorkloadName,
} from "./comparison.ts";
import { percentile } from "./load.ts";

const SECONDS = 10;

function round(
  workload: WorkloadName,
  contender: ContenderName,
  perSecond: number,
  more: Partial<Round> = {},
): Round {
  return {
    workload,
    contender,
    seconds: SECONDS,
    operations: perSecond * SECONDS,
    errors: 0,
    firstError: null,
    perSecond,
    p50Ms: 5,
    p99Ms: 10,
    rssMegabytes: [100, 90, 80],
    cpuSeconds: [2, 1, 1],
    clientCpuSeconds: 2,
    idleCpuSeconds: 0.1,
    othersShare: 0,
    ...more,
  };
}

/** What falls short. */
function misses(...rounds: readonly Round[]): readonly string[] {
  return judge(summarise(rounds)).flatMap(({ what, holds }) => (holds ? [] : [what]));
}

describe("percentiles and medians", () => {
  test("a percentile is the value below which that share of the values lies", () => {
    const values = Array.from({ length: 100 }, (_, at) => 99 - at);
    expect([0, 0.5, 0.99, 1].map((p) => percentile(values, p))).toEqual([0, 50, 99, 99]);
    expect(percentile([7], 0.99)).toBe(7);
    expect(percentile([], 0.5)).toBeNaN();
  });

  test("a median is the middle value, or the mean of the middle two", () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(median([9])).toBe(9);
    expect(median([])).toBeNaN();
  });
});

describe("a summary of rounds", () => {
  test("has the medians of the speeds and latencies, and all errors and the most memory of any round", () => {
    const [summary, ...others] = summarise([
      round("put-64", "raftkv", 1000, { p99Ms: 30, errors: 1, rssMegabytes: [10, 20, 30] }),
      round("put-64", "raftkv", 3000, { p99Ms: 10, errors: 2, rssMegabytes: [10, 200, 30] }),
      round("put-64", "raftkv", 2000, { p99Ms: 20, othersShare: 0.5 }),
    ]);
    expect(others).toEqual([]);
    expect(summary).toMatchObject({
      perSecond: 2000,
      p99Ms: 20,
      errors: 3,
      rssMegabytes: 200,
      othersShare: 0.5,
    });
  });

  test("tells what an operation costs the servers and the client", () => {
    const [summary] = summarise([round("put-64", "etcd", 1000)]);
    expect(summary).toMatchObject({ serverMicroseconds: 400, clientMicroseconds: 200 });
  });

  test("keeps loads and contenders apart", () => {
    const rounds = [round("put-64", "etcd", 1), round("put-64", "raftkv", 2), round("get-64", "etcd", 3)];
    expect(summarise(rounds).map(({ perSecond }) => perSecond)).toEqual([1, 2, 3]);
    expect(formatSummaries(summarise(rounds)).split("\n")).toHaveLength(1 + rounds.length + 1);
  });
});

describe("the verdict", () => {
  test("asks for twice etcd's puts at 64 and 256 clients, with a p99 no worse", () => {
    for (const workload of ["put-64", "put-256"] as const) {
      const etcd = round(workload, "etcd", 1000);
      expect(misses(etcd, round(workload, "raftkv", 2000))).toEqual([]);
      expect(misses(etcd, round(workload, "raftkv", 1999))).toHaveLength(1);
      expect(misses(etcd, round(workload, "raftkv", 2000, { p99Ms: 10.1 }))).toHaveLength(1);
    }
  });

  test("asks for one client no slower, and one and a half times etcd's gets, whatever their p99", () => {
    for (const [workload, times] of [
      ["put-1", 1],
      ["get-64", 1.5],
      ["get-256", 1.5],
    ] as const) {
      const etcd = round(workload, "etcd", 1000);
      expect(misses(etcd, round(workload, "raftkv", 1000 * times, { p99Ms: 99 }))).toEqual([]);
      expect(misses(etcd, round(workload, "raftkv", 1000 * times - 1))).toHaveLength(1);
    }
  });

  test("does not ask for anything through the frontend but memory and that calls are served", () => {
    const rounds = [round("put-64", "etcd", 1000), round("put-64", "raftkv", 2000)];
    expect(misses(...rounds, round("put-64", "frontend", 1))).toEqual([]);
    expect(misses(...rounds, round("put-64", "frontend", 1, { rssMegabytes: [251] }))).toHaveLength(1);
    expect(misses(...rounds, round("put-64", "frontend", 1, { errors: 1 }))).toHaveLength(1);
  });

  test("does not mind how much memory etcd takes", () => {
    expect(
      misses(round("put-64", "etcd", 1000, { rssMegabytes: [900] }), round("put-64", "raftkv", 2000)),
    ).toEqual([]);
  });

  test("is no verdict on a machine that does something else, or with calls that failed", () => {
    const etcd = round("put-64", "etcd", 1000);
    expect(misses(etcd, round("put-64", "raftkv", 2000, { othersShare: 0.11 }))).toHaveLength(1);
    expect(misses({ ...etcd, errors: 1 }, round("put-64", "raftkv", 2000))).toHaveLength(1);
  });
});
