import { describe, expect, test } from "bun:test";
import { Ticker } from "../../src/node/ticker.ts";
import { VirtualClock } from "./virtual-clock.ts";

const TICK_MS = 10;

function started(): { clock: VirtualClock; ticks: () => number; stalls: () => number; ticker: Ticker } {
  const clock = new VirtualClock();
  let [ticks, stalls] = [0, 0];
  const ticker = new Ticker(
    clock,
    TICK_MS,
    () => (ticks += 1),
    () => (stalls += 1),
  );
  ticker.start();
  return { clock, ticker, ticks: () => ticks, stalls: () => stalls };
}

describe("ticks", () => {
  test("time that passes is counted, tick by tick", async () => {
    const { clock, ticks } = started();
    await clock.advance(1000);
    expect(ticks()).toBe(100);
  });

  test("a timer that is a little late makes up for it", async () => {
    const { clock, ticks } = started();
    clock.stall(25);
    await clock.advance(5);
    expect(ticks()).toBe(3);
  });

  test("E11: after a stall no time has passed until the sockets have been read", async () => {
    const { clock, ticks } = started();
    clock.stall(10_000);
    await clock.advance(TICK_MS - 1);
    expect(ticks()).toBe(0);
    await clock.advance(TICK_MS);
    expect(ticks()).toBe(1);
  });

  test("I3: a stall is told as soon as it is over, so that overdue heartbeats need not wait", async () => {
    const { clock, stalls } = started();
    clock.stall(100);
    await clock.advance(0);
    expect(stalls()).toBe(1);
  });

  test("a process that stalls at every timer still ticks", async () => {
    const { clock, ticks } = started();
    for (let i = 0; i < 20; i += 1) {
      clock.stall(100);
      await clock.advance(0);
    }
    expect(ticks()).toBe(10);
  });

  test("L5: a stopped ticker does not tick any more", async () => {
    const { clock, ticker, ticks } = started();
    ticker.stop();
    await clock.advance(1000);
    expect(ticks()).toBe(0);
  });
});
