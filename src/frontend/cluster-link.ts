/**
 * The connections to the servers of one cluster, and what is known of its leader.
 *
 * Leaders are found by asking every server at the same time what it is, over and over while anybody
 * wants to know: 10 ms after the first round, then less often, down to every 100 ms. A server that does
 * not answer is not asked again until its time is up, and holds nobody else up. Only a server's word
 * about itself counts, and of two that say they lead the one with the higher term; what a server says of
 * another may be long out of date.
 */
import { defined } from "../base/assert.ts";
import { RaftKvError } from "../base/errors.ts";
import type { ServerId, Term } from "../raft/entry.ts";
import { RpcClient } from "../rpc/rpc-client.ts";
import type { ServerStatus } from "../rpc/wire.ts";
import type { Cluster } from "./cluster.ts";
import { remainingMs, type Deadline } from "./waiting.ts";

/** A leadership: one server, one term. */
export interface Leader {
  readonly id: ServerId;
  readonly term: Term;
}

export type ServerClient = RpcClient<"KeyValueStore">;

const ASK_TIMEOUT_MS = 500;
const FIRST_PAUSE_MS = 10;
const MAX_PAUSE_MS = 100;

interface Watcher {
  readonly unwanted: Leader | null;
  readonly wake: () => void;
}

export class ClusterLink {
  readonly cluster: Cluster;
  readonly #clients: readonly ServerClient[];
  #leader: Leader | null = null;
  /** The highest term that any server claimed to lead in: claims of lower terms are out of date. */
  #highestTerm: Term = 0;
  readonly #watchers = new Set<Watcher>();
  /** Who was asked and has not answered. */
  readonly #asked = new Set<ServerId>();
  #nextRound: ReturnType<typeof setTimeout> | null = null;
  #pauseMs = FIRST_PAUSE_MS;
  #closed = false;

  /** `addressOf` gives a server's "host:port". */
  constructor(cluster: Cluster, addressOf: (id: ServerId) => string) {
    this.cluster = cluster;
    const ids = Array.from({ length: cluster.servers }, (_, id) => id);
    this.#clients = ids.map((id) => new RpcClient("KeyValueStore", addressOf(id)));
  }

  /** Whether the cluster is gone, or going. */
  get closed(): boolean {
    return this.#closed;
  }

  client(id: ServerId): ServerClient {
    return defined(this.#clients[id], `no server ${id} in the cluster`);
  }

  /** The leader as soon as one is known; null when none is in time, or the link is closed. */
  waitForLeader(deadline: Deadline): Promise<Leader | null> {
    if (this.#leader !== null || this.#closed) return Promise.resolve(this.#closed ? null : this.#leader);
    return new Promise((resolve) => {
      const settle = (): void => {
        clearTimeout(timer);
        unwatch();
        resolve(this.#closed ? null : this.#leader);
      };
      const timer = setTimeout(settle, remainingMs(deadline));
      const unwatch = this.watch(null, settle);
    });
  }

  /**
   * Looks for a leader, and calls `wake` once, later, when there is one other than `unwanted` or the link
   * is closed. Returns what ends the watch.
   */
  watch(unwanted: Leader | null, wake: () => void): () => void {
    if (this.#closed) {
      queueMicrotask(wake);
      return () => {};
    }
    const watcher = { unwanted, wake };
    const isFirst = this.#watchers.size === 0;
    this.#watchers.add(watcher);
    if (isFirst) this.#search();
    return () => {
      this.#watchers.delete(watcher);
    };
  }

  /** That leader did not serve a call: it is looked for anew. */
  lost(leader: Leader): void {
    if (isSame(this.#leader, leader)) this.#leader = null;
  }

  /** What a server says of itself; null when it says nothing in time, or is another cluster's. */
  async status(id: ServerId, timeoutMs: number): Promise<ServerStatus | null> {
    const status = await this.client(id)
      .call("Status", {}, timeoutMs)
      .catch(() => null);
    return status !== null && this.#isMember(id, status) ? status : null;
  }

  /** The same of every server, by id. */
  statuses(timeoutMs: number): Promise<readonly (ServerStatus | null)[]> {
    return Promise.all(this.#clients.map((_, id) => this.status(id, timeoutMs)));
  }

  /** Ends the search and wakes whoever waits. Calls that are under way get their answers. */
  close(): void {
    this.#closed = true;
    if (this.#nextRound !== null) clearTimeout(this.#nextRound);
    for (const watcher of this.#watchers) this.#wake(watcher);
    for (const client of this.#clients) client.close();
  }

  #search(): void {
    if (this.#nextRound !== null) clearTimeout(this.#nextRound);
    this.#pauseMs = FIRST_PAUSE_MS;
    this.#round();
  }

  #round(): void {
    this.#nextRound = null;
    if (this.#closed || this.#watchers.size === 0) return;
    for (const id of this.#clients.keys()) this.#ask(id);
    this.#nextRound = setTimeout(() => this.#round(), this.#pauseMs);
    this.#pauseMs = Math.min(MAX_PAUSE_MS, this.#pauseMs * 2);
  }

  #ask(id: ServerId): void {
    if (this.#asked.has(id)) return;
    this.#asked.add(id);
    this.client(id).send("Status", {}, ASK_TIMEOUT_MS, (answer) => {
      this.#asked.delete(id);
      if (!(answer instanceof RaftKvError) && this.#isMember(id, answer)) this.#heard(id, answer);
    });
  }

  #heard(id: ServerId, { role, term }: ServerStatus): void {
    if (this.#closed || role !== "leader" || term < this.#highestTerm) return;
    const leader = { id, term };
    this.#highestTerm = term;
    this.#leader = leader;
    for (const watcher of this.#watchers) {
      if (!isSame(watcher.unwanted, leader)) this.#wake(watcher);
    }
  }

  #wake(watcher: Watcher): void {
    if (this.#watchers.delete(watcher)) watcher.wake();
  }

  /** Another cluster's server may listen where ours is expected. */
  #isMember(id: ServerId, status: ServerStatus): boolean {
    return status.id === id && status.clusterId === this.cluster.clusterId;
  }
}

function isSame(left: Leader | null, right: Leader): boolean {
  return left !== null && left.id === right.id && left.term === right.term;
}
