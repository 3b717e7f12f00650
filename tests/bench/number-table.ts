/** One number: what was asked of it and what it is. */
export interface NumberRow {
  readonly what: string;
  readonly asked: string;
  readonly measured: string;
  readonly holds: boolean;
}

/** Prints numbers as they are measured, and all of them at the end. */
export class NumberTable {
  readonly #rows: NumberRow[] = [];

  get holds(): boolean {
    return this.#rows.every(({ holds }) => holds);
  }

  add(row: NumberRow): void {
    this.#rows.push(row);
    const { what, asked, measured, holds } = row;
    process.stdout.write(`${holds ? "ok  " : "MISS"}  ${what}: asked ${asked}, measured ${measured}\n`);
  }

  /** A time that is to be at most `limitMs`. */
  addTime(what: string, tookMs: number, limitMs: number): void {
    const asked = `≤ ${limitMs / 1000} s`;
    this.add({ what, asked, measured: formatMs(tookMs), holds: tookMs <= limitMs });
  }

  print(): void {
    const width = Math.max(0, ...this.#rows.map(({ what }) => what.length));
    for (const { what, asked, measured, holds } of this.#rows) {
      const line = `${what.padEnd(width)}  ${asked.padEnd(24)}  ${measured}`;
      process.stdout.write(`${line}${holds ? "" : "  (missed)"}\n`);
    }
  }
}

export function formatMs(value: number): string {
  return value < 10 ? `${value.toFixed(2)} ms` : `${Math.round(value)} ms`;
}
