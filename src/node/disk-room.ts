import type { RaftKvError } from "../base/errors.ts";
import type { Clock, Timer } from "./clock.ts";

const FIRST_RETRY_MS = 100;
const MAX_RETRY_MS = 1000;

/**
 * Whether there is room on the disk, as the server's writes find it (P6). The store waits here when there
 * is none; the driver watches, and says when a write has got through.
 */
export class DiskRoom {
  readonly #clock: Clock;
  #watcher: (full: boolean, why: string) => void = () => {};
  #full = false;
  #retryMs = FIRST_RETRY_MS;
  #waiting: { readonly timer: Timer; readonly retry: () => void; readonly giveUp: () => void } | null = null;
  #closed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get full(): boolean {
    return this.#full;
  }

  /** `watcher` hears of every change from now on. */
  watch(watcher: (full: boolean, why: string) => void): void {
    this.#watcher = watcher;
  }

  /**
   * For the store: a write was refused with `error` ("diskFull"). Resolves when it is time to try it again,
   * rejects with `error` when the server stops. One caller at a time.
   */
  whenFull(error: RaftKvError): Promise<void> {
    if (this.#closed) return Promise.reject(error);
    this.#change(true, error.message);
    const delayMs = this.#retryMs;
    this.#retryMs = Math.min(2 * delayMs, MAX_RETRY_MS);
    return new Promise((resolve, reject) => {
      const retry = (): void => {
        this.#waiting = null;
        resolve();
      };
      this.#waiting = { timer: this.#clock.setTimer(delayMs, retry), retry, giveUp: () => reject(error) };
    });
  }

  /** An election waits, for which there is a reserve: whoever waits for room tries again at once. */
  retryNow(): void {
    this.#waiting?.timer.cancel();
    this.#waiting?.retry();
  }

  /** A write has got through. */
  written(): void {
    this.#retryMs = FIRST_RETRY_MS;
    this.#change(false, "");
  }

  /** Nobody waits any more. */
  close(): void {
    this.#closed = true;
    this.#waiting?.timer.cancel();
    this.#waiting?.giveUp();
    this.#waiting = null;
  }

  #change(full: boolean, why: string): void {
    if (this.#full === full) return;
    this.#full = full;
    this.#watcher(full, why);
  }
}
