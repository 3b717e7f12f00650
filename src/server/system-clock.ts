import type { Clock } from "../node/clock.ts";

/** The machine's monotonic clock and the event loop's timers. */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  setTimer(delayMs, action) {
    const timer = setTimeout(action, delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
  defer(action) {
    setImmediate(action);
  },
};
