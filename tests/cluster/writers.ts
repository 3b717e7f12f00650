import type { Ledger, PutOutcome } from "./ledger.ts";
import type { PutRoute } from "./put-route.ts";

export interface WriterOptions {
  readonly clients: number;
  /** Taken by the clients in turn. */
  readonly routes: readonly [PutRoute, ...PutRoute[]];
  /** How many keys they share. */
  readonly keys: number;
  /** How long the next value is to be, in bytes. */
  readonly valueBytes: () => number;
  /** Between a client's answer and its next write, in milliseconds. */
  readonly pauseMs: number;
}

/** After an answer that says that nothing was done: there is no leader, or no room. */
const REFUSED_PAUSE_MS = 10;

/** Clients that write without pause until they are stopped, each one write at a time, each key by one of them. */
export class Writers {
  readonly #ledger: Ledger;
  readonly #options: WriterOptions;
  readonly #clients: readonly Promise<void>[];
  /** Keys that nobody is writing, the longest unused first. */
  readonly #free: string[];
  #keys: number;
  #requests = 0;
  #stopped = false;

  constructor(ledger: Ledger, options: WriterOptions) {
    this.#ledger = ledger;
    this.#options = options;
    this.#keys = options.keys;
    this.#free = Array.from({ length: options.keys }, (_, key) => `key-${key}`);
    this.#clients = Array.from({ length: options.clients }, (_, client) => this.#run(client));
  }

  /** Resolves when what was under way has been answered. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#clients);
  }

  async #run(client: number): Promise<void> {
    const { routes, valueBytes, pauseMs } = this.#options;
    const route = routes[client % routes.length] ?? routes[0];
    while (!this.#stopped) {
      const key = this.#free.shift() ?? this.#newKey();
      const write = this.#ledger.begin(key, valueBytes());
      this.#requests += 1;
      const outcome = await route(write, client + 1, this.#requests);
      this.#ledger.settle(write, outcome);
      // An unknown write may take effect at any later time: what is written after it would not be the last.
      this.#free.push(outcome === "unknown" ? this.#newKey() : key);
      await this.#pause(outcome, pauseMs);
    }
  }

  async #pause(outcome: PutOutcome, pauseMs: number): Promise<void> {
    const waitMs = outcome === "acknowledged" ? pauseMs : Math.max(pauseMs, REFUSED_PAUSE_MS);
    if (waitMs > 0) await Bun.sleep(waitMs);
  }

  #newKey(): string {
    this.#keys += 1;
    return `key-${this.#keys - 1}`;
  }
}
