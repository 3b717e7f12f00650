/** How often a condition outside this process is looked at again. */
const POLL_MS = 20;

/** The moment, on the clock of `performance.now()`, at which somebody gives up. In milliseconds. */
export type Deadline = number;

export function deadlineIn(timeoutMs: number): Deadline {
  return performance.now() + timeoutMs;
}

/** Milliseconds left; 0 when it has passed. */
export function remainingMs(deadline: Deadline): number {
  return Math.max(0, deadline - performance.now());
}

/** Whether the condition came true in time. It is looked at once at least, and whatever it throws is passed on. */
export async function waitUntil(deadline: Deadline, condition: () => Promise<boolean>): Promise<boolean> {
  for (;;) {
    if (await condition()) return true;
    if (remainingMs(deadline) === 0) return false;
    await Bun.sleep(Math.min(POLL_MS, remainingMs(deadline)));
  }
}
