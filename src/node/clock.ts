/** Time as the driver sees it. The simulator has its own. */
export interface Clock {
  /** Milliseconds from an arbitrary start; it never goes back. */
  nowMs(): number;
  /** Calls `action` once, `delayMs` from now or later. */
  setTimer(delayMs: number, action: () => void): Timer;
  /** Calls `action` when what is ready now has been read: the next turn of the event loop. */
  defer(action: () => void): void;
}

export interface Timer {
  cancel(): void;
}
