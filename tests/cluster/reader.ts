import { decodeText, encodeText } from "../../src/rpc/text.ts";
import type { Deployment } from "./deployment.ts";
import type { Ledger } from "./ledger.ts";

const TIMEOUT_MS = 1000;
const PAUSE_MS = 2;
/** After a call that failed: the server is down. */
const DOWN_PAUSE_MS = 20;

/**
 * Reads one server all the time, key by key, and has the ledger judge every answer: what the server itself has
 * applied may be old, but from one start of the server to the next it never goes back; what it says as the
 * leader is not older than what was acknowledged before the question.
 */
export class Reader {
  readonly #deployment: Deployment;
  readonly #ledger: Ledger;
  readonly #id: number;
  readonly #servers: number;
  readonly #ended: Promise<void>;
  #seen = new Map<string, number>();
  #stopped = false;

  /** Of server `id`, one of 0 to `servers` - 1. */
  constructor(deployment: Deployment, ledger: Ledger, id: number, servers: number) {
    this.#deployment = deployment;
    this.#ledger = ledger;
    this.#id = id;
    this.#servers = servers;
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
      const answered = key !== null && (await this.#readLocal(key)) && (await this.#readLeader(key));
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

  async #readLeader(key: string): Promise<boolean> {
    const floor = this.#ledger.floor(key);
    try {
      const before = await this.#deployment.status(this.#id);
      if (before.role !== "leader") return true;
      const request = { arg: encodeText(key), consistency: "LEADER" } as const;
      const reply = await this.#deployment.server(this.#id).call("Get", request, TIMEOUT_MS);
      if (reply.code !== "OK" || (await this.#isDeposed(before.term))) return true;
      const value = reply.found ? decodeText(reply.value) : null;
      this.#ledger.observe(key, value, floor, `server ${this.#id}, leading`);
      return true;
    } catch {
      return false;
    }
  }

  /** Whether any server knows a later term: a leader that does not know of it yet may answer with what is old. */
  async #isDeposed(term: number): Promise<boolean> {
    const ids = Array.from({ length: this.#servers }, (_, id) => id);
    const statuses = await Promise.allSettled(ids.map((id) => this.#deployment.status(id)));
    return statuses.some((status) => status.status === "fulfilled" && status.value.term > term);
  }
}
