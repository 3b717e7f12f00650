import { RaftKvError } from "../base/errors.ts";
import type { Logger } from "../observability/logger.ts";
import { MAX_MEMBERS, memberOf, type Configuration } from "../raft/configuration.ts";
import type { ServerId } from "../raft/entry.ts";
import { RpcClient } from "../rpc/rpc-client.ts";
import type { ServerStatus } from "../rpc/wire.ts";
import type { FileSystem } from "../storage/file-system.ts";
import { readIdentities } from "../storage/state-file.ts";
import type { Identity } from "../storage/store.ts";
import { newCluster, withAddresses, type Cluster } from "./cluster.ts";
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
 * The cluster that is there without a record of it: that of the state files, which know whom it was created
 * with, or else the one whose servers answer at the addresses of `active`. null: there is none. What has become
 * of it since, its leader tells. Rejects with RaftKvError "failedPrecondition" when the state files are not of
 * one cluster, and when one of them cannot be read, as readIdentities.
 */
export async function findRecordless(around: Surroundings): Promise<Cluster | null> {
  const identities = await readIdentities(around.fs, around.stateDirectory);
  return clusterOf(identities, around) ?? (await findServing(around));
}

function clusterOf(
  identities: readonly Identity[],
  { stateDirectory, addressOf }: Surroundings,
): Cluster | null {
  const [first] = identities;
  if (first === undefined) return null;
  const { clusterId } = first;
  if (identities.some((other) => other.clusterId !== clusterId)) {
    const advice = "restore cluster.json, or remove the files that do not belong";
    throw new RaftKvError(
      "failedPrecondition",
      `${stateDirectory}: the server_<i>.json files are of different clusters: ${advice}`,
    );
  }
  const known = latestCreation(identities);
  const added = identities.filter(({ serverId }) => memberOf(known, serverId) === null);
  const members = [...known, ...added.map(({ serverId: id }) => ({ id, address: "", voter: true }))];
  return { clusterId, members: withAddresses(members, addressOf).toSorted((a, b) => a.id - b.id) };
}

/**
 * The cluster as the last of them was told when it was created. One that was added later was told nothing; one that
 * was made anew was told who belonged to the cluster by then, which may be others than those who founded it.
 */
function latestCreation(identities: readonly Identity[]): Configuration {
  const [latest] = identities
    .filter(({ members }) => members.length > 0)
    .toSorted((a, b) => (b.membersFrom ?? 0) - (a.membersFrom ?? 0));
  return latest?.members ?? [];
}

/**
 * The cluster whose servers answer at the addresses of `active`: null when none does, or when they are of
 * different clusters. Who belongs to it is what the one says who knows most.
 */
async function findServing({ active, addressOf, logger }: Surroundings): Promise<Cluster | null> {
  const answers = await Promise.all(active.map((id) => askStatus(id, addressOf(id))));
  const servers = answers.filter((status) => status !== null);
  const [first] = servers;
  if (first === undefined) return null;
  const clusterIds = new Set(servers.map(({ clusterId }) => clusterId));
  const members = latestMembers(servers);
  // Servers of an older version know no members: those up to the highest id that answers or is said to lead.
  const size = 1 + Math.max(...servers.flatMap(({ id, leaderId }) => [id, leaderId ?? 0]));
  const cluster =
    members.length > 0
      ? { clusterId: first.clusterId, members }
      : newCluster(first.clusterId, size, addressOf);
  if (clusterIds.size === 1 && cluster.members.length <= MAX_MEMBERS) return cluster;
  logger.warn("the servers that answer are no cluster: none is taken over", { clusterIds: [...clusterIds] });
  return null;
}

/** As the one says who has the latest configuration of those that answered; none: nobody has one. */
function latestMembers(servers: readonly ServerStatus[]): Configuration {
  const [latest] = servers.toSorted(
    (a, b) => b.configurationIndex - a.configurationIndex || b.members.length - a.members.length,
  );
  return latest?.members ?? [];
}

async function askStatus(id: ServerId, address: string): Promise<ServerStatus | null> {
  const client = new RpcClient("KeyValueStore", address);
  const status = await client.call("Status", {}, STATUS_TIMEOUT_MS).catch(() => null);
  client.close();
  return status?.id === id && status.clusterId !== "" ? status : null;
}
