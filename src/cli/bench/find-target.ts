/** Whom the calls of a run go to: asked before there is any load. */
import { status, type ServiceError } from "@grpc/grpc-js";
import { RaftKvError } from "../../base/errors.ts";
import type { Seed } from "../../frontend/seed-search.ts";
import { RpcClient } from "../../rpc/rpc-client.ts";
import type { ServerStatus } from "../../rpc/wire.ts";
import { askStatus } from "../status.ts";
import { sightingOf } from "./election-watch.ts";
import type { BenchSettings } from "./settings.ts";
import type { ServerAddress, TargetAddress } from "./target.ts";

/**
 * Rejects with RaftKvError, its message made for people, when there is no cluster to be measured: as askStatus;
 * "unavailable" when no server answers, "failedPrecondition" when those that do are not what was said.
 */
export async function findTarget({
  target,
  timeoutMs,
}: Pick<BenchSettings, "target" | "timeoutMs">): Promise<TargetAddress> {
  if (target.kind === "servers") return findServers(target.seeds, timeoutMs);
  await askStatus({ address: target.address, timeout: String(timeoutMs / 1000) });
  return target;
}

/** A server that answered, and where. */
interface Found {
  readonly address: string;
  readonly server: ServerStatus;
}

/** The servers at the seeds, and those that they name. */
async function findServers(seeds: readonly Seed[], timeoutMs: number): Promise<TargetAddress> {
  const answers = await Promise.all(seeds.map((seed) => ask(seed, timeoutMs)));
  const found = answers.flatMap((answer) => (answer instanceof RaftKvError ? [] : [answer]));
  const refusal = answers.find((answer) => answer instanceof RaftKvError);
  const told = found.map(({ server }) => server);
  const [latest] = told.toSorted((a, b) => b.configurationIndex - a.configurationIndex);
  if (latest === undefined) throw refusal ?? new RaftKvError("unavailable", "no server answers");
  if (refusal !== undefined && refusal.code !== "unavailable") throw refusal;
  if (told.some(({ clusterId }) => clusterId !== latest.clusterId)) {
    throw new RaftKvError("failedPrecondition", "the servers are of different clusters: name those of one");
  }
  const { leaderId } = sightingOf(told);
  return { kind: "servers", servers: addressesOf(latest, seeds, found), leaderId };
}

/** What was said counts more than what the cluster says: it is how the servers are reached from here. */
function addressesOf(
  { members }: ServerStatus,
  seeds: readonly Seed[],
  found: readonly Found[],
): readonly ServerAddress[] {
  const addresses = new Map(members.map(({ id, address }) => [id, address]));
  for (const { id, address } of seeds) if (id !== null) addresses.set(id, address);
  for (const { address, server } of found) addresses.set(server.id, address);
  return Array.from(addresses, ([id, address]) => ({ id, address }));
}

async function ask({ id, address }: Seed, timeoutMs: number): Promise<Found | RaftKvError> {
  const client = new RpcClient("KeyValueStore", address);
  try {
    const server = await client.call("Status", {}, timeoutMs);
    if (id === null || server.id === id) return { address, server };
    return new RaftKvError("failedPrecondition", `at ${address} is server ${server.id}, not server ${id}`);
  } catch (error) {
    if (!(error instanceof RaftKvError)) throw error;
    if ((error.cause as Partial<ServiceError> | undefined)?.code === status.UNIMPLEMENTED) {
      const what = `${address} is not a server: give a frontend's address with --address`;
      return new RaftKvError("failedPrecondition", what);
    }
    return new RaftKvError("unavailable", `no server answers at ${address}`);
  } finally {
    client.close();
  }
}
