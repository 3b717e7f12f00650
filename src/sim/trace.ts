/**
 * What happened in a run, as a hash of all of it and as the last events in words. Events are kept as they
 * are and put into words only if somebody asks, because there are tens of thousands in every run.
 */
export interface TraceEvent {
  readonly atUs: number;
  /** Who it happened to: "server 1", "client 0", "network". */
  readonly who: string;
  readonly what: string;
  /** Shown as JSON; it must not change afterwards. */
  readonly detail?: unknown;
}

const KEPT_EVENTS = 4000;

export class Trace {
  readonly #kept: TraceEvent[] = [];
  readonly #onEvent: ((event: TraceEvent) => void) | null;
  #count = 0;
  #high = 0x811c9dc5;
  #low = 0x9e3779b9;

  /** `onEvent` sees every event as it happens. */
  constructor(onEvent: ((event: TraceEvent) => void) | null) {
    this.#onEvent = onEvent;
  }

  add(event: TraceEvent): void {
    this.#count += 1;
    this.mix(event.atUs);
    for (let i = 0; i < event.what.length; i += 1) this.mix(event.what.charCodeAt(i));
    this.#kept[this.#count % KEPT_EVENTS] = event;
    this.#onEvent?.(event);
  }

  /** Takes a number into the hash: any that differs makes another hash. */
  mix(value: number): void {
    const whole = Math.floor(value);
    this.#high = Math.imul(this.#high ^ (whole & 0xffffffff), 0x01000193) >>> 0;
    this.#low = Math.imul((this.#low << 5) ^ (this.#low >>> 27) ^ whole ^ this.#high, 0x85ebca6b) >>> 0;
  }

  get hash(): string {
    return [this.#high, this.#low].map((half) => half.toString(16).padStart(8, "0")).join("");
  }

  /** The last `count` events, oldest first; no more than are kept. */
  last(count: number): readonly TraceEvent[] {
    const first = Math.max(1, this.#count - Math.min(count, KEPT_EVENTS) + 1);
    const numbers = Array.from({ length: this.#count - first + 1 }, (_, i) => first + i);
    return numbers.flatMap((number) => this.#kept[number % KEPT_EVENTS] ?? []);
  }
}

/** One line: seconds, who, what. */
export function formatEvent({ atUs, who, what, detail }: TraceEvent): string {
  const seconds = (atUs / 1_000_000).toFixed(6).padStart(11);
  return `${seconds}  ${who.padEnd(9)} ${what}${detail === undefined ? "" : ` ${describe(detail)}`}`;
}

const MAX_DETAIL_CHARACTERS = 300;

function describe(detail: unknown): string {
  const text = JSON.stringify(detail, (_, value: unknown) =>
    Array.isArray(value) && value.length > 8 ? `[${value.length}]` : value,
  );
  return text.length > MAX_DETAIL_CHARACTERS ? `${text.slice(0, MAX_DETAIL_CHARACTERS)}…` : text;
}
