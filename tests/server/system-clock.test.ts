import { expect, test } from "bun:test";
import { pause } from "../../src/server/pause.ts";
import { systemClock } from "../../src/server/system-clock.ts";

test("a timer that is set for longer than a month does not end at once", async () => {
  let ended = false;
  const timer = systemClock.setTimer(2 ** 31, () => {
    ended = true;
  });
  await pause(systemClock, 50);
  timer.cancel();
  expect(ended).toBe(false);
});
