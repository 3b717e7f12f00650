/** How long a test waits for a condition that should come true soon, on a machine busy with other work. */
const DEADLINE_MS = 15_000;
const POLL_MS = 10;

/**
 * Waits until `probe` gives a value that is neither null, undefined nor false, and returns it. What the
 * probe throws counts as "not yet". Rejects after the deadline, with the last reason.
 */
export async function waitFor<T>(
  what: string,
  probe: () => Promise<T> | T,
  deadlineMs = DEADLINE_MS,
): Promise<NonNullable<Exclude<T, false>>> {
  const giveUpAt = performance.now() + deadlineMs;
  let last: unknown = "it stayed false";
  while (performance.now() < giveUpAt) {
    try {
      const value = await probe();
      if (value !== null && value !== undefined && value !== false)
        return value as NonNullable<Exclude<T, false>>;
    } catch (error) {
      last = error;
    }
    await Bun.sleep(POLL_MS);
  }
  throw new Error(`waited ${deadlineMs} ms for: ${what} (${String(last)})`);
}
