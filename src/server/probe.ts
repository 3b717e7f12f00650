import type { ServerId } from "../raft/entry.ts";
import { RaftKvError } from "../base/errors.ts";
import { RpcClient } from "../rpc/rpc-client.ts";
import type { ServerStatus } from "../rpc/wire.ts";

/** What a server at an address turned out to be. */
export type Probe =
  | { readonly kind: "answered"; readonly status: ServerStatus }
  /** Another one answered, or one of another cluster. `who` says which, for people. */
  | { readonly kind: "other"; readonly who: string }
  | { readonly kind: "silent"; readonly error: RaftKvError };

/** Asks at `address`, for at most `timeoutMs`, for server `id` of the cluster. */
export async function probe(
  address: string,
  id: ServerId,
  clusterId: string,
  timeoutMs: number,
): Promise<Probe> {
  const status = await askStatus(address, timeoutMs);
  if (status instanceof RaftKvError) return { kind: "silent", error: status };
  if (status.id === id && status.clusterId === clusterId) return { kind: "answered", status };
  const cluster = status.clusterId === "" ? "a cluster that is not there yet" : `cluster ${status.clusterId}`;
  return { kind: "other", who: `server ${status.id} of ${cluster}` };
}

/** What the server at `address` says of itself, whichever it is; or why there is no answer. */
export async function askStatus(address: string, timeoutMs: number): Promise<ServerStatus | RaftKvError> {
  const client = new RpcClient("KeyValueStore", address);
  try {
    return await client.call("Status", {}, timeoutMs);
  } catch (error) {
    if (error instanceof RaftKvError) return error;
    throw error;
  } finally {
    client.close();
  }
}
