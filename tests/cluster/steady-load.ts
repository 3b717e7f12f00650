import { availableParallelism, loadavg } from "node:os";
import { decodeText, encodeText } from "../../src/rpc/text.ts";
import type { Deployment } from "./deployment.ts";
import { waitFor } from "./waiting.ts";

/** What each client waits for an answer: what a planned change of the cluster must leave room for. */
const CALL_TIMEOUT_MS = 2000;
/** The same on a machine with far more work than processors, where a process may get no time for seconds. */
const BUSY_TIMEOUT_MS = 10_000;
const BUSY_LOAD = 2;

/**
 * Clients that write and read through the frontend without pause until they are stopped, each a key of its own:
 * so that what a client reads must be what it wrote last. Every call is expected to be served.
 */
export class SteadyLoad {
  /** What was not as it must be, one line each. */
  readonly failures: string[] = [];
  readonly #deployment: Deployment;
  readonly #stop = new AbortController();
  readonly #clients: readonly Promise<void>[];
  /** The last value of each key that was acknowledged. */
  readonly #last = new Map<string, string>();
  #served = 0;

  constructor(deployment: Deployment, clients = 8) {
    this.#deployment = deployment;
    this.#clients = Array.from({ length: clients }, (_, client) => this.#run(client));
  }

  get served(): number {
    return this.#served;
  }

  /** Waits until so many more calls were served. */
  async more(calls: number): Promise<void> {
    const goal = this.#served + calls;
    await waitFor(`${calls} more calls`, () => this.#served >= goal || this.failures.length > 0);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#clients);
  }

  /** After stop: waits until each of the servers holds what was written last. */
  async checkOn(ids: readonly number[]): Promise<void> {
    for (const [key, value] of this.#last) {
      for (const id of ids) {
        await waitFor(`server ${id} has ${key}`, async () => {
          return (await this.#deployment.getOn(id, key)) === value;
        });
      }
    }
  }

  async #run(client: number): Promise<void> {
    const key = `client-${client}`;
    for (let i = 0; !this.#stop.signal.aborted; i += 1) {
      const value = `${i}`;
      await this.#call(`put ${value}`, key, async () => {
        // Until it is acknowledged, nobody knows what is there.
        this.#last.delete(key);
        await this.#deployment.put(key, value, callTimeoutMs());
        this.#last.set(key, value);
        return null;
      });
      await this.#call(`get ${value}`, key, async () => {
        const request = { key: encodeText(key) };
        const reply = await this.#deployment.frontend.call("Get", request, callTimeoutMs());
        if (reply.error !== "") return reply.error;
        const read = decodeText(reply.value);
        const last = this.#last.get(key) ?? read;
        return read === last ? null : `read ${read}, and ${last} was acknowledged`;
      });
    }
  }

  async #call(what: string, key: string, run: () => Promise<string | null>): Promise<void> {
    const failure = await run().catch((error: unknown) => String(error));
    if (failure === null) this.#served += 1;
    else this.failures.push(`${key}, ${what}: ${failure}`);
  }
}

function callTimeoutMs(): number {
  const [load = 0] = loadavg();
  return load > BUSY_LOAD * availableParallelism() ? BUSY_TIMEOUT_MS : CALL_TIMEOUT_MS;
}
