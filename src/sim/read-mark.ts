/** What clients write to when they read: see sim-client.ts. No client puts to it. */
export const READ_MARK_KEY = "mark";
