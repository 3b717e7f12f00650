import type { Clock } from "../node/clock.ts";

/** About 25 days: what the event loop takes for longer ends at once. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/** The machine's monotonic clock and the event loop's timers. */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  setTimer(delayMs, action) {
    const timer = setTimeout(action, Math.min(delayMs, MAX_DELAY_MS));
    return { cancel: () => clearTimeout(timer) };
  },
  defer(action) {
    setImmediate(action);
  },
};
