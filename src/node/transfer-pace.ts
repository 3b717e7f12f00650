/** Spreads bytes over time: all transfers of a server together keep to one rate (S6). */
export class TransferPace {
  readonly #bytesPerMs: number;
  #freeAtMs = 0;

  constructor(bytesPerSecond: number) {
    this.#bytesPerMs = bytesPerSecond / 1000;
  }

  /** Takes the next free place for `bytes`; returns how many milliseconds from `nowMs` it begins. */
  reserve(nowMs: number, bytes: number): number {
    const startMs = Math.max(nowMs, this.#freeAtMs);
    this.#freeAtMs = startMs + bytes / this.#bytesPerMs;
    return startMs - nowMs;
  }
}
