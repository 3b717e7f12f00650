import { decodeText, encodeText } from "../../src/rpc/text.ts";
import type { Deployment } from "./deployment.ts";
import type { Ledger } from "./ledger.ts";

const TIMEOUT_MS = 1000;
const PAUSE_MS = 2;
/** After a call that failed: the server is down. */
const DOWN_PAUSE_MS = 20;

/**
 * Reads one server all the time, key by key, and has the ledger judge every answer: what the server itself has
 * applied may be old, but from one start of the server to the next it never goes back; what it says linearizably,
 * leader or not, is not older than what was acknowledged before the question (L1).
 */
export class Reader {
  readonly #deployment: Deployment;
  readonly #ledger: Ledger;
  readonly #id: number;
  readonly #ended: Promise<void>;
  #seen = new Map<string, number>();
  #stopped = false;

  /** Of server `id`. */
  constructor(deployment: Deployment, ledger: Ledger, id: number) {
    this.#deployment = deployment;
    this.#ledger = ledger;
    this.#id = id;
    this.#ended = this.#run();
  }

  /** A server that starts applies again what it has; how far, it learns from the leader. */
  serverStarts(): void {
    this.#seen = new Map();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#ended;
  }

  async #run(): Promise<void> {
    for (let turn = 0; !this.#stopped; turn += 1) {
      const key = this.#ledger.keyAt(turn);
      const answered = key !== null && (await this.#readLocal(key)) && (await this.#readLinearizably(key));
      await Bun.sleep(answered ? PAUSE_MS : DOWN_PAUSE_MS);
    }
  }

  /** False when the server did not answer. */
  async #readLocal(key: string): Promise<boolean> {
    const seen = this.#seen;
    try {
      const value = await this.#deployment.getOn(this.#id, key);
      // A call that waited for a connection is answered by the process that was started meanwhile.
      const floor = seen === this.#seen ? (seen.get(key) ?? 0) : 0;
      seen.set(key, this.#ledger.observe(key, value, floor, `server ${this.#id}`));
      return true;
    } catch {
      return false;
    }
  }

  async #readLinearizably(key: string): Promise<boolean> {
    const floor = this.#ledger.floor(key);
    try {
      const request = { arg: encodeText(key), consistency: "LINEARIZABLE" } as const;
      const reply = await this.#deployment.server(this.#id).call("Get", request, TIMEOUT_MS);
      if (reply.code !== "OK") return true;
      const value = reply.found ? decodeText(reply.value) : null;
      this.#ledger.observe(key, value, floor, `server ${this.#id}, linearizably`);
      return true;
    } catch {
      return false;
    }
  }
}
