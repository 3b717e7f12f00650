const EVERY_MS = 200;
const ERASE_LINE = "\r\u001B[K";
const MEBIBYTE = 1024 * 1024;

/** How far a transfer has got, as a live line on stderr; nothing where that is no terminal. */
export class SnapshotProgress {
  readonly #isShown = process.stderr.isTTY;
  #lastMs = Number.NEGATIVE_INFINITY;

  /** `doneBytes` of `totalBytes`; shown now and then. */
  show(doneBytes: number, totalBytes: number): void {
    const nowMs = performance.now();
    if (!this.#isShown || nowMs - this.#lastMs < EVERY_MS) return;
    this.#lastMs = nowMs;
    process.stderr.write(`${ERASE_LINE}${inMebibytes(doneBytes)} of ${inMebibytes(totalBytes)} MiB`);
  }

  /** A line that stays. */
  say(line: string): void {
    if (this.#isShown) process.stderr.write(`${ERASE_LINE}${line}\n`);
  }

  /** Takes the live line away. */
  end(): void {
    if (this.#isShown) process.stderr.write(ERASE_LINE);
  }
}

function inMebibytes(bytes: number): string {
  return (bytes / MEBIBYTE).toFixed(1);
}
