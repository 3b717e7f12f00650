/** How a frontend that was pointed at servers finds their cluster. */
import { RaftKvError } from "../base/errors.ts";
import type { Logger } from "../observability/logger.ts";
import type { ServerId } from "../raft/entry.ts";
import { RpcClient } from "../rpc/rpc-client.ts";
import type { ServerStatus } from "../rpc/wire.ts";
import type { Cluster } from "./cluster.ts";
import type { Addresses } from "./followed-configuration.ts";

/** Where a server of the cluster is said to be. */
export interface Seed {
  /** null: any server of the cluster. */
  readonly id: ServerId | null;
  /** "host:port". */
  readonly address: string;
}

const ASK_TIMEOUT_MS = 1000;
/** Between rounds in which nobody answered. */
const PAUSE_MS = 100;

/** The addresses that count more than those that the cluster gives: of the seeds that name their server. */
export function seedAddresses(seeds: readonly Seed[]): Addresses {
  return new Map(seeds.flatMap(({ id, address }) => (id === null ? [] : [[id, address] as const])));
}

/**
 * Asks the servers at the seeds, over and over, until one tells of its cluster; null when `signal` is aborted
 * before. Servers of different clusters are an error of whoever named them: it is logged, and the search goes on.
 */
export async function findCluster(
  seeds: readonly Seed[],
  logger: Logger,
  signal: AbortSignal,
): Promise<Cluster | null> {
  const clients = seeds.map(({ id, address }) => ({ id, client: new RpcClient("KeyValueStore", address) }));
  let complaint: string | null = null;
  try {
    while (!signal.aborted) {
      const answers = await Promise.all(clients.map(({ id, client }) => ask(id, client)));
      const told = answers.flatMap((answer) => (answer instanceof RaftKvError ? [] : [answer]));
      const refusal = answers.find((answer) => answer instanceof RaftKvError);
      const clusterIds = new Set(told.map(({ clusterId }) => clusterId));
      const [latest] = told.toSorted(
        (a, b) => b.term - a.term || b.configurationIndex - a.configurationIndex,
      );
      if (latest !== undefined && clusterIds.size === 1) {
        return { clusterId: latest.clusterId, members: latest.members };
      }
      const what =
        clusterIds.size > 1
          ? `the servers are of different clusters: ${[...clusterIds].join(", ")}`
          : (refusal?.message ?? "no server answers");
      if (what !== complaint) logger.warn("no cluster found yet", { what });
      complaint = what;
      await Bun.sleep(PAUSE_MS);
    }
    return null;
  } finally {
    for (const { client } of clients) client.close();
  }
}

/** The error says why it does not count. */
async function ask(
  id: ServerId | null,
  client: RpcClient<"KeyValueStore">,
): Promise<ServerStatus | RaftKvError> {
  let status: ServerStatus;
  try {
    status = await client.call("Status", {}, ASK_TIMEOUT_MS);
  } catch (error) {
    if (error instanceof RaftKvError) return error;
    throw error;
  }
  if (id !== null && status.id !== id) {
    return new RaftKvError(
      "failedPrecondition",
      `at ${client.address} there is server ${status.id}, not ${id}`,
    );
  }
  if (status.members.length > 0) return status;
  return new RaftKvError("unavailable", `server ${status.id} at ${client.address} belongs to no cluster yet`);
}
