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

/** A server, and one address at which it is, or may be. */
export interface Connection {
  readonly id: ServerId;
  readonly client: ServerClient;
}

/** The connections to the servers of one cluster. Calls go to a server where it was named first. */
export class ServerClients {
  readonly #clusterId: string;
  #connections: readonly Connection[] = [];

  constructor({ clusterId, members }: Cluster) {
    this.#clusterId = clusterId;
    this.connect(members);
  }

  /** All of them: one for each address of each server. */
  get connections(): readonly Connection[] {
    return this.#connections;
  }

  /** Whom there is a connection to. */
  get ids(): readonly ServerId[] {
    return [...new Set(this.#connections.map(({ id }) => id))];
  }

  /**
   * These servers and no others from now on; the same one may be named with several addresses. What is under way
   * to another one still gets its answer.
   */
  connect(servers: readonly Pick<Member, "id" | "address">[]): void {
    const before = this.#connections;
    this.#connections = servers.map(({ id, address }) => {
      const same = before.find((other) => other.id === id && other.client.address === address);
      return same ?? { id, client: new RpcClient("KeyValueStore", address, "many") };
    });
    const kept = new Set(this.#connections);
    for (const connection of before) if (!kept.has(connection)) connection.client.close();
  }

  /** null: that server is none of them any more. */
  find(id: ServerId): ServerClient | null {
    return this.#connections.find((connection) => connection.id === id)?.client ?? null;
  }

  /** Of a server that is one of them. */
  client(id: ServerId): ServerClient {
    return defined(this.find(id), `no connection to server ${id}`);
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
    for (const { client } of this.#connections) client.close();
  }
}
