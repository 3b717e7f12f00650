import { RaftKvError } from "../base/errors.ts";
import type { RpcId } from "../raft/batch.ts";
import type { Reply } from "../raft/message.ts";

/** Requests that wait for the core's answer, most of them for this server's disk. */
export class PendingRpcs {
  readonly #resolveById = new Map<RpcId, (reply: Reply) => void>();
  readonly #maxCount: number;
  #next: RpcId = 1;

  constructor(maxCount: number) {
    this.#maxCount = maxCount;
  }

  /** Gives `feed` the id to answer under. */
  ask(feed: (rpc: RpcId) => void): Promise<Reply> {
    return new Promise((resolve) => {
      const rpc = this.#next;
      this.#next += 1;
      this.#resolveById.set(rpc, resolve);
      feed(rpc);
    });
  }

  /** As `ask`, but rejects with RaftKvError "overloaded" when too many wait already. */
  askBounded(feed: (rpc: RpcId) => void): Promise<Reply> {
    if (this.#resolveById.size < this.#maxCount) return this.ask(feed);
    return Promise.reject(new RaftKvError("overloaded", "too many requests wait for this server's disk"));
  }

  answer(rpc: RpcId, reply: Reply): void {
    this.#resolveById.get(rpc)?.(reply);
    this.#resolveById.delete(rpc);
  }
}
