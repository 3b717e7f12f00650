/**
 * How long what clients send may be read in one turn of the event loop, in milliseconds. A leader is missed after an
 * election timeout, 150 ms or more, in which its timers, its disk and its followers have to get many turns.
 */
const MAX_TURN_MS = 5;
/** What one connection may give before it is another one's turn, in bytes: some dozens of small calls. */
const SLICE_BYTES = 16 * 1024;

/** A connection as Intake sees it. */
export interface Source {
  /** It is another server's or a frontend's, whose calls do not wait behind those of clients. */
  readonly isOurs: boolean;
  /** Gives its reader at most `maxBytes`. Whether there is more to give now. */
  give(maxBytes: number): boolean;
}

/**
 * Deals out a server's time for reading among its connections. However many clients send however much at once, a
 * turn of the event loop reads only for MAX_TURN_MS, a slice of each connection in turn; what is left stays where it
 * is until the next turn, and the sender is held up by TCP. The servers' and frontends' own connections go first.
 */
export class Intake {
  /** Those that have something, in the order of their turns. Who gives stays in it meanwhile. */
  readonly #ready = new Set<Source>();
  /** On the clock of `performance.now()`; null: nothing has been read in this turn. */
  #turnEndsAtMs: number | null = null;

  /** The connection, which was not ready, has something to give. */
  arrived(source: Source): void {
    if (source.isOurs) {
      while (source.give(SLICE_BYTES));
      return;
    }
    this.#ready.add(source);
    if (this.#ready.size === 1) this.#read();
  }

  /** What it still has must not wait for others any more. */
  preferred(source: Source): void {
    // It may be giving now, and its reader is not to get more before it has read that.
    setImmediate(() => {
      if (this.#ready.delete(source)) this.arrived(source);
    });
  }

  gone(source: Source): void {
    this.#ready.delete(source);
  }

  #read(): void {
    const endsAtMs = this.#turn();
    while (performance.now() < endsAtMs) {
      const [source] = this.#ready;
      if (source === undefined) return;
      const hasMore = source.give(SLICE_BYTES);
      // It may have ended meanwhile.
      if (this.#ready.delete(source) && hasMore) this.#ready.add(source);
    }
  }

  #turn(): number {
    if (this.#turnEndsAtMs === null) {
      this.#turnEndsAtMs = performance.now() + MAX_TURN_MS;
      setImmediate(() => {
        this.#turnEndsAtMs = null;
        if (this.#ready.size > 0) this.#read();
      });
    }
    return this.#turnEndsAtMs;
  }
}
