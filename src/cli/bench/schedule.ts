/**
 * When operations are due. In a closed loop a client's next one is due when the one before is answered: whoever
 * is slow is asked less, and what would have waited meanwhile is never measured ("coordinated omission", Gil
 * Tene). In an open loop the times are fixed beforehand, and latency counts from them.
 */

export interface Schedule {
  readonly kind: "closed" | "open";
  /** When operation `k` (0, 1, …) is due, on the caller's clock; null: as soon as a client is free. */
  dueMs(k: number): number | null;
  /** How many operations are due before `timeMs`; null: that is not decided beforehand. */
  dueBefore(timeMs: number): number | null;
}

export interface OpenLoop {
  readonly startMs: number;
  /** Of all processes together. */
  readonly ratePerSecond: number;
  /** This process has every operation number `process`, `process + processes`, … of the run. */
  readonly process: number;
  readonly processes: number;
}

export const CLOSED_LOOP: Schedule = { kind: "closed", dueMs: () => null, dueBefore: () => null };

/** Operation k of the whole run is due at startMs + k / rate. */
export function openLoop({ startMs, ratePerSecond, process, processes }: OpenLoop): Schedule {
  const perMs = ratePerSecond / 1000;
  return {
    kind: "open",
    dueMs: (k) => startMs + (process + k * processes) / perMs,
    dueBefore: (timeMs) => Math.max(0, Math.ceil(((timeMs - startMs) * perMs - process) / processes)),
  };
}
