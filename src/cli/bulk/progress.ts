/** How far an import or an export has got: a live line on stderr on a terminal, nothing elsewhere. */

const EVERY_MS = 200;
/** The speed that is shown is that of the last so many milliseconds. */
const RECENT_MS = 2000;
const ERASE_LINE = "\r\u001B[K";
const BAR_CHARACTERS = 24;

export interface Extent {
  /** Keys with their values. */
  readonly entries: number;
  /** Of the file or the snapshot. */
  readonly bytes: number;
  /** null: nobody knows how much there is. */
  readonly totalBytes: number | null;
}

export class BulkProgress {
  readonly #isShown = process.stderr.isTTY;
  readonly #timer: ReturnType<typeof setInterval>;
  #extent: Extent = { entries: 0, bytes: 0, totalBytes: null };
  /** How many entries there were when, of late, oldest first. */
  #recent: { readonly atMs: number; readonly entries: number }[] = [];

  constructor() {
    this.#timer = setInterval(() => this.#show(), EVERY_MS);
  }

  note(extent: Extent): void {
    this.#extent = extent;
  }

  /** A line that stays. */
  say(line: string): void {
    if (this.#isShown) process.stderr.write(`${ERASE_LINE}${line}\n`);
  }

  /** Takes the live line away. */
  end(): void {
    clearInterval(this.#timer);
    if (this.#isShown) process.stderr.write(ERASE_LINE);
  }

  #show(): void {
    if (!this.#isShown) return;
    const nowMs = performance.now();
    const { entries, bytes, totalBytes } = this.#extent;
    this.#recent = [
      ...this.#recent.filter(({ atMs, entries: then }) => nowMs - atMs < RECENT_MS && then <= entries),
      { atMs: nowMs, entries },
    ];
    const [oldest] = this.#recent;
    const perMs = oldest === undefined ? 0 : (entries - oldest.entries) / Math.max(1, nowMs - oldest.atMs);
    const share = totalBytes === null ? null : bytes / Math.max(1, totalBytes);
    process.stderr.write(`${ERASE_LINE}${progressLine(entries, perMs * 1000, share)}`);
  }
}

/** `share` of the whole, 0 to 1; null: it is not known. */
export function progressLine(entries: number, perSecond: number, share: number | null): string {
  const extent = `${counted(entries)}, ${whole(perSecond)} /s`;
  if (share === null) return extent;
  const done = Math.min(1, Math.max(0, share));
  const bar = "#".repeat(Math.floor(done * BAR_CHARACTERS)).padEnd(BAR_CHARACTERS, "-");
  return `[${bar}] ${String(Math.floor(done * 100)).padStart(3)} %  ${extent}`;
}

/** "1 entry", "12,345 entries". */
export function counted(entries: number): string {
  return `${whole(entries)} ${entries === 1 ? "entry" : "entries"}`;
}

function whole(number: number): string {
  return Math.round(number).toLocaleString("en");
}
