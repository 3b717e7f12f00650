import type { Logger } from "../observability/logger.ts";
import type { ServerId } from "../raft/entry.ts";
import { RpcClient } from "../rpc/rpc-client.ts";
import type { ServerStatus } from "../rpc/wire.ts";
import { MAX_SERVERS, type Cluster } from "./cluster.ts";
import { STATUS_TIMEOUT_MS } from "./readiness.ts";

/**
 * The cluster whose servers answer at the addresses of `ids`: null when none does, or when they are of
 * different clusters. Its size is what they tell: up to the highest id that answers or is said to lead.
 */
export async function findServing(
  ids: readonly ServerId[],
  addressOf: (id: ServerId) => string,
  logger: Logger,
): Promise<Cluster | null> {
  const answers = await Promise.all(ids.map((id) => askStatus(id, addressOf(id))));
  const servers = answers.filter((status) => status !== null);
  const [first] = servers;
  if (first === undefined) return null;
  const clusterIds = new Set(servers.map(({ clusterId }) => clusterId));
  const size = 1 + Math.max(...servers.flatMap(({ id, leaderId }) => [id, leaderId ?? 0]));
  if (clusterIds.size === 1 && size <= MAX_SERVERS) return { clusterId: first.clusterId, servers: size };
  logger.warn("the servers that answer are no cluster: none is taken over", { clusterIds: [...clusterIds] });
  return null;
}

async function askStatus(id: ServerId, address: string): Promise<ServerStatus | null> {
  const client = new RpcClient("KeyValueStore", address);
  const status = await client.call("Status", {}, STATUS_TIMEOUT_MS).catch(() => null);
  client.close();
  return status?.id === id && status.clusterId !== "" ? status : null;
}
