import type { Deployment } from "./deployment.ts";
import type { Ledger } from "./ledger.ts";
import type { PutRoute } from "./put-route.ts";
import { waitFor } from "./waiting.ts";

/** A write that was acknowledged: everything acknowledged before it stands before it in the log. */
interface Barrier {
  readonly key: string;
  readonly number: number;
}

const BARRIER_BYTES = 16;
const READS_AT_ONCE = 64;

/** Looks for what was acknowledged, on one server after the other; one look at a time. */
export class Auditor {
  readonly #deployment: Deployment;
  readonly #ledger: Ledger;
  readonly #route: PutRoute;
  #barriers = 0;
  #attempts = 0;

  constructor(deployment: Deployment, ledger: Ledger, route: PutRoute) {
    this.#deployment = deployment;
    this.#ledger = ledger;
    this.#route = route;
  }

  /** Writes until a write is acknowledged. */
  async writeBarrier(): Promise<Barrier> {
    return waitFor("a write is acknowledged", async () => {
      const write = this.#ledger.begin(`barrier-${this.#barriers}`, BARRIER_BYTES);
      this.#attempts += 1;
      const outcome = await this.#route(write, 0, this.#attempts);
      this.#ledger.settle(write, outcome);
      // As with any key: after a write that may take effect later, none is known to be the last.
      if (outcome === "unknown") this.#barriers += 1;
      return outcome === "acknowledged" ? write : null;
    });
  }

  /**
   * Waits until each of the servers has applied everything that was acknowledged before the call, and reads
   * every key on each: what is not there is complained of in the ledger.
   */
  async check(ids: readonly number[]): Promise<void> {
    const floors = this.#ledger.floors();
    const barrier = await this.writeBarrier();
    await Promise.all(
      ids.map(async (id) => {
        await waitFor(`server ${id} has applied everything acknowledged`, () =>
          this.#hasReached(id, barrier),
        );
        await this.#readAll(id, floors);
      }),
    );
  }

  async #hasReached(id: number, { key, number }: Barrier): Promise<boolean> {
    const value = await this.#deployment.getOn(id, key);
    return this.#ledger.observe(key, value, 0, `server ${id}`) >= number;
  }

  async #readAll(id: number, floors: ReadonlyMap<string, number>): Promise<void> {
    const left = floors.entries();
    const read = async (): Promise<void> => {
      for (const [key, floor] of left) {
        const value = await this.#deployment.getOn(id, key);
        this.#ledger.observe(key, value, floor, `server ${id}, caught up`);
      }
    };
    await Promise.all(Array.from({ length: READS_AT_ONCE }, read));
  }
}
