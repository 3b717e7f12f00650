import { defined } from "../base/assert.ts";
import type { Member } from "../raft/configuration.ts";
import type { ServerId } from "../raft/entry.ts";
import { RpcClient } from "../rpc/rpc-client.ts";
import type { ServerStatus } from "../rpc/wire.ts";
import type { Cluster } from "./cluster.ts";

export type ServerClient = RpcClient<"KeyValueStore">;

/** What a server said of itself; null: nothing in time, or it is another cluster's. */
export interface Answer {
  readonly id: ServerId;
  readonly status: ServerStatus | null;
}

/** The connections to the servers of one cluster. */
export class ServerClients {
  readonly #clusterId: string;
  readonly #clients = new Map<ServerId, ServerClient>();

  constructor({ clusterId, members }: Cluster) {
    this.#clusterId = clusterId;
    this.connect(members);
  }

  /** Whom there is a connection to. */
  get ids(): readonly ServerId[] {
    return [...this.#clients.keys()];
  }

  /** These servers and no others from now on. What is under way to another one still gets its answer. */
  connect(servers: readonly Pick<Member, "id" | "address">[]): void {
    const addresses = new Map(servers.map(({ id, address }) => [id, address]));
    for (const [id, client] of this.#clients) {
      if (addresses.get(id) === client.address) continue;
      client.close();
      this.#clients.delete(id);
    }
    for (const [id, address] of addresses) {
      if (!this.#clients.has(id)) this.#clients.set(id, new RpcClient("KeyValueStore", address));
    }
  }

  /** null: that server is none of them any more. */
  find(id: ServerId): ServerClient | null {
    return this.#clients.get(id) ?? null;
  }

  /** Of a server that is one of them. */
  client(id: ServerId): ServerClient {
    return defined(this.#clients.get(id), `no connection to server ${id}`);
  }

  /** What a server says of itself; null when it says nothing in time, is another cluster's, or none of these. */
  async status(id: ServerId, timeoutMs: number): Promise<ServerStatus | null> {
    const status = await this.find(id)
      ?.call("Status", {}, timeoutMs)
      .catch(() => null);
    return status !== null && status !== undefined && this.isOurs(id, status) ? status : null;
  }

  /** The same of every server. */
  statuses(timeoutMs: number): Promise<readonly Answer[]> {
    return Promise.all(this.ids.map(async (id) => ({ id, status: await this.status(id, timeoutMs) })));
  }

  /** Whether server `id` of this cluster says that. Another cluster's may listen where ours is expected. */
  isOurs(id: ServerId, status: ServerStatus): boolean {
    return status.id === id && status.clusterId === this.#clusterId;
  }

  /** Calls that are under way get their answers. */
  close(): void {
    for (const client of this.#clients.values()) client.close();
  }
}
