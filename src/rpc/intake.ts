import type { PacedConnection } from "./paced-connection.ts";

/**
 * How long what clients send may be read in one turn of the event loop, in milliseconds. A leader is missed after an
 * election timeout, 150 ms or more, in which its timers, its disk and its followers have to get many turns.
 */
const MAX_TURN_MS = 5;
/** What one connection may give before it is another one's turn, in bytes: some dozens of small calls. */
const SLICE_BYTES = 16 * 1024;

/**
 * Deals out a server's time for reading among its connections. However many clients send however much at once, a
 * turn of the event loop reads only for MAX_TURN_MS, a slice of each connection in turn; what is left stays where it
 * is until the next turn, and the sender is held up by TCP. The servers' and frontends' own connections go first.
 */
export class Intake {
  /** Those that have something, in the order of their turns. */
  #ready: PacedConnection[] = [];
  /** On the clock of `performance.now()`; null: nothing has been read in this turn. */
  #turnEndsAtMs: number | null = null;

  /** The connection, which was not ready, has something to give. */
  arrived(connection: PacedConnection): void {
    if (connection.isOurs) {
      while (connection.give(SLICE_BYTES));
      return;
    }
    this.#ready.push(connection);
    if (this.#ready.length === 1) this.#read();
  }

  /** What it still has must not wait for others any more. */
  preferred(connection: PacedConnection): void {
    if (!this.#ready.includes(connection)) return;
    this.gone(connection);
    this.arrived(connection);
  }

  gone(connection: PacedConnection): void {
    this.#ready = this.#ready.filter((other) => other !== connection);
  }

  #read(): void {
    const endsAtMs = this.#turn();
    while (performance.now() < endsAtMs) {
      const [connection] = this.#ready;
      if (connection === undefined) return;
      const hasMore = connection.give(SLICE_BYTES);
      // It may have ended meanwhile.
      if (this.#ready[0] !== connection) continue;
      this.#ready.shift();
      if (hasMore) this.#ready.push(connection);
    }
  }

  #turn(): number {
    if (this.#turnEndsAtMs === null) {
      this.#turnEndsAtMs = performance.now() + MAX_TURN_MS;
      setImmediate(() => {
        this.#turnEndsAtMs = null;
        if (this.#ready.length > 0) this.#read();
      });
    }
    return this.#turnEndsAtMs;
  }
}
