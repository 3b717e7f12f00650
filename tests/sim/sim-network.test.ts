import { expect, test } from "bun:test";
import { FaultCounter } from "../../src/sim/fault-counter.ts";
import { Random } from "../../src/sim/random.ts";
import { SimNetwork } from "../../src/sim/sim-network.ts";
import type { NetworkFaults } from "../../src/sim/swarm.ts";
import { Timeline } from "../../src/sim/timeline.ts";

const QUIET: NetworkFaults = {
  latencyMinUs: 10,
  latencyMaxUs: 1000,
  loss: 0,
  duplication: 0,
  delay: 0,
  delayMaxUs: 50_000,
};

function network(trouble: Partial<NetworkFaults> = {}) {
  const timeline = new Timeline();
  const faults = new FaultCounter();
  const network = new SimNetwork(
    {
      timeline,
      random: new Random(1),
      faults,
      endpoint: () => null,
      onMessage: () => {},
      onReply: () => {},
    },
    { ...QUIET, ...trouble },
  );
  /** How many of `count` messages from 0 to 1 arrive. */
  const arrivals = (count: number): number => {
    let arrived = 0;
    for (let i = 0; i < count; i += 1) network.carry(0, 1, null, () => (arrived += 1));
    for (let action = timeline.next(); action !== null; action = timeline.next()) action();
    return arrived;
  };
  return { network, faults, arrivals, timeline };
}

test("a cut is one-way, stops what is under way, and heals", () => {
  const { network: cut, arrivals } = network();
  cut.cut(0, 1);
  expect([cut.reaches(0, 1), cut.reaches(1, 0)]).toEqual([false, true]);
  expect(arrivals(5)).toBe(0);
  cut.heal();
  expect(arrivals(5)).toBe(5);
});

test("loss and duplication happen as often as they are said to, and are counted", () => {
  const lossy = network({ loss: 0.3 });
  const lost = 1000 - lossy.arrivals(1000);
  expect(lost).toBe(lossy.faults.of("messageLost"));
  expect(Math.abs(lost - 300)).toBeLessThan(60);
  const doubling = network({ duplication: 0.5 });
  expect(doubling.arrivals(1000)).toBe(1000 + doubling.faults.of("messageDuplicated"));
  expect(doubling.faults.of("messageDuplicated")).toBeGreaterThan(400);
});

test("a delayed message arrives behind others that were sent after it", () => {
  const { network: delaying, timeline } = network({ delay: 0.5 });
  const order: number[] = [];
  for (let i = 0; i < 20; i += 1) delaying.carry(0, 1, null, () => order.push(i));
  for (let action = timeline.next(); action !== null; action = timeline.next()) action();
  expect(order).toHaveLength(20);
  expect(order).not.toEqual(order.toSorted((a, b) => a - b));
});
