/**
 * The connections to the servers of the cluster that calls are routed to, and what is known of its leader.
 *
 * Leaders are found by asking every server at the same time what it is, over and over while anybody
 * wants to know: 10 ms after the first round, then less often, down to every 100 ms. A server that does
 * not answer is not asked again until its time is up, and holds nobody else up. Only a server's word
 * about itself counts, and of two that say they lead the one with the higher term; what a server says of
 * another may be long out of date.
 *
 * Every answer also says who belongs to the cluster: see followed-configuration.ts.
 */
import { RaftKvError } from "../base/errors.ts";
import type { ServerId, Term } from "../raft/entry.ts";
import type { ServerStatus } from "../rpc/wire.ts";
import type { Cluster } from "./cluster.ts";
import { FollowedConfiguration, type Addresses } from "./followed-configuration.ts";
import { ServerClients, type Answer, type Connection, type ServerClient } from "./server-clients.ts";
import { remainingMs, type Deadline } from "./waiting.ts";

/** A leadership: one server, one term. */
export interface Leader {
  readonly id: ServerId;
  readonly term: Term;
}

export interface ClusterLinkOptions {
  readonly cluster: Cluster;
  /** Where servers are reached, whatever the cluster says. */
  readonly addresses?: Addresses;
  /** The leader says that others belong to the cluster than before. */
  readonly onFollow?: (cluster: Cluster) => void;
}

const ASK_TIMEOUT_MS = 500;
const FIRST_PAUSE_MS = 10;
const MAX_PAUSE_MS = 100;

interface Watcher {
  readonly unwanted: Leader | null;
  readonly wake: () => void;
}

export class ClusterLink {
  readonly #onFollow: (cluster: Cluster) => void;
  readonly #configuration: FollowedConfiguration;
  readonly #clients: ServerClients;
  #leader: Leader | null = null;
  /** The highest term that any server claimed to lead in: claims of lower terms are out of date. */
  #highestTerm: Term = 0;
  readonly #watchers = new Set<Watcher>();
  /** Who was asked and has not answered. */
  readonly #asked = new Set<ServerClient>();
  #nextRound: ReturnType<typeof setTimeout> | null = null;
  #pauseMs = FIRST_PAUSE_MS;
  #closed = false;

  constructor({ cluster, addresses = new Map(), onFollow = () => {} }: ClusterLinkOptions) {
    this.#onFollow = onFollow;
    this.#configuration = new FollowedConfiguration(cluster, addresses);
    this.#clients = new ServerClients(this.#configuration.cluster);
  }

  /** As its leader last described it. */
  get cluster(): Cluster {
    return this.#configuration.cluster;
  }

  /** Whether the cluster is gone, or going. */
  get closed(): boolean {
    return this.#closed;
  }

  /** null: the server does not belong to the cluster any more. */
  client(id: ServerId): ServerClient | null {
    return this.#clients.find(id);
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
    const status = await this.#clients.status(id, timeoutMs);
    if (status !== null) this.#heard(id, status);
    return status;
  }

  /** The same of every server of the cluster. Where one may be otherwise it is asked as well, and only listened to. */
  async statuses(timeoutMs: number): Promise<readonly Answer[]> {
    const elsewhere = this.#clients.connections.filter(({ id, client }) => this.client(id) !== client);
    for (const connection of elsewhere) this.#ask(connection);
    return Promise.all(
      this.#clients.ids.map(async (id) => ({ id, status: await this.status(id, timeoutMs) })),
    );
  }

  /** Ends the search and wakes whoever waits. Calls that are under way get their answers. */
  close(): void {
    this.#closed = true;
    if (this.#nextRound !== null) clearTimeout(this.#nextRound);
    for (const watcher of this.#watchers) this.#wake(watcher);
    this.#clients.close();
  }

  #search(): void {
    if (this.#nextRound !== null) clearTimeout(this.#nextRound);
    this.#pauseMs = FIRST_PAUSE_MS;
    this.#round();
  }

  #round(): void {
    this.#nextRound = null;
    if (this.#closed || this.#watchers.size === 0) return;
    for (const connection of this.#clients.connections) this.#ask(connection);
    this.#nextRound = setTimeout(() => this.#round(), this.#pauseMs);
    this.#pauseMs = Math.min(MAX_PAUSE_MS, this.#pauseMs * 2);
  }

  #ask({ id, client }: Connection): void {
    if (this.#asked.has(client)) return;
    this.#asked.add(client);
    client.send("Status", {}, ASK_TIMEOUT_MS, (answer) => {
      this.#asked.delete(client);
      if (!(answer instanceof RaftKvError) && this.#clients.isOurs(id, answer)) this.#heard(id, answer);
    });
  }

  #heard(id: ServerId, status: ServerStatus): void {
    if (this.#closed) return;
    this.#follow(status);
    const { role, term } = status;
    if (role !== "leader" || term < this.#highestTerm || this.client(id) === null) return;
    const leader = { id, term };
    this.#highestTerm = term;
    this.#leader = leader;
    for (const watcher of this.#watchers) {
      if (!isSame(watcher.unwanted, leader)) this.#wake(watcher);
    }
  }

  #follow(status: ServerStatus): void {
    const changed = this.#configuration.heard(status);
    if (changed === "nothing") return;
    this.#clients.connect(this.#configuration.servers);
    // One that is being removed leads on for a moment, until the cluster can do without it.
    if (this.#leader !== null && this.client(this.#leader.id) === null) this.#leader = null;
    if (changed === "cluster") this.#onFollow(this.cluster);
  }

  #wake(watcher: Watcher): void {
    if (this.#watchers.delete(watcher)) watcher.wake();
  }
}

function isSame(left: Leader | null, right: Leader): boolean {
  return left !== null && left.id === right.id && left.term === right.term;
}
