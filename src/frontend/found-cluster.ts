import { RaftKvError } from "../base/errors.ts";
import type { Logger } from "../observability/logger.ts";
import type { ServerId } from "../raft/entry.ts";
import { RpcClient } from "../rpc/rpc-client.ts";
import type { ServerStatus } from "../rpc/wire.ts";
import type { FileSystem } from "../storage/file-system.ts";
import { readIdentities } from "../storage/state-file.ts";
import type { Identity } from "../storage/store.ts";
import { MAX_SERVERS, type Cluster } from "./cluster.ts";
import { STATUS_TIMEOUT_MS } from "./readiness.ts";

interface Surroundings {
  readonly fs: FileSystem;
  readonly stateDirectory: string;
  readonly active: readonly ServerId[];
  /** A server's "host:port". */
  readonly addressOf: (id: ServerId) => string;
  readonly logger: Logger;
}

/**
 * The cluster that is there without a record of it: that of the state files, which know how many servers
 * it has, or else the one whose servers answer at the addresses of `active`. null: there is none.
 * Rejects with RaftKvError "failedPrecondition" when the state files are not of one cluster, and when one
 * of them cannot be read, as readIdentities.
 */
export async function findRecordless(around: Surroundings): Promise<Cluster | null> {
  const identities = await readIdentities(around.fs, around.stateDirectory);
  return clusterOf(identities, around.stateDirectory) ?? (await findServing(around));
}

function clusterOf(identities: readonly Identity[], stateDirectory: string): Cluster | null {
  const [first, ...others] = identities;
  if (first === undefined) return null;
  const { clusterId, servers } = first;
  const agree = others.every(
    (other) => other.clusterId === clusterId && String(other.servers) === String(servers),
  );
  const isOurs = servers.length <= MAX_SERVERS && servers.every((id, at) => id === at);
  if (agree && isOurs) return { clusterId, servers: servers.length };
  const what = agree ? "no cluster that a frontend can supervise" : "different clusters";
  const advice = "restore cluster.json, or remove the files that do not belong";
  throw new RaftKvError(
    "failedPrecondition",
    `${stateDirectory}: the server_<i>.json files are of ${what}: ${advice}`,
  );
}

/**
 * The cluster whose servers answer at the addresses of `active`: null when none does, or when they are of
 * different clusters. Its size is what they tell: up to the highest id that answers or is said to lead.
 */
async function findServing({ active, addressOf, logger }: Surroundings): Promise<Cluster | null> {
  const answers = await Promise.all(active.map((id) => askStatus(id, addressOf(id))));
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
