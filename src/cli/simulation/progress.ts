/** What a campaign says on stderr while it runs: a live line on a terminal, a line now and then elsewhere. */
import type { SeedReport } from "../../sim/tally.ts";

const TERMINAL_EVERY_MS = 200;
const OTHER_EVERY_MS = 10_000;
/** Of failing seeds, so many are named as they are found. */
const MAX_NAMED = 10;
const ERASE_LINE = "\r\u001B[K";

export class Progress {
  readonly #seeds: number;
  readonly #isTerminal = process.stderr.isTTY;
  readonly #startedMs = performance.now();
  readonly #timer: ReturnType<typeof setInterval>;
  #done = 0;
  #failed = 0;

  /** `seeds`: how many there are to run. */
  constructor(seeds: number) {
    this.#seeds = seeds;
    this.#timer = setInterval(() => this.#show(), this.#isTerminal ? TERMINAL_EVERY_MS : OTHER_EVERY_MS);
  }

  get seconds(): number {
    return (performance.now() - this.#startedMs) / 1000;
  }

  add({ seed, violation }: SeedReport): void {
    this.#done += 1;
    if (violation === null) return;
    this.#failed += 1;
    if (this.#failed <= MAX_NAMED) this.say(`seed ${seed} violates ${violation.property}`);
  }

  /** A line that stays. */
  say(line: string): void {
    process.stderr.write(`${this.#isTerminal ? ERASE_LINE : ""}${line}\n`);
  }

  /** Takes the live line away. */
  end(): void {
    clearInterval(this.#timer);
    if (this.#isTerminal) process.stderr.write(ERASE_LINE);
  }

  #show(): void {
    const perSecond = (this.#done / this.seconds).toFixed(1);
    const violations = `${this.#failed} violation${this.#failed === 1 ? "" : "s"}`;
    const line = `${this.#done} of ${this.#seeds} seeds, ${perSecond} a second, ${violations}`;
    process.stderr.write(this.#isTerminal ? `${ERASE_LINE}${line}` : `${line}\n`);
  }
}
