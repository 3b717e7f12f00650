/** Where a saved snapshot comes from: the leader of a running cluster, found through a frontend. */
import { RaftKvError } from "../base/errors.ts";
import type { ServerId } from "../raft/entry.ts";
import { RpcClient } from "../rpc/rpc-client.ts";
import { snapshotInfoFromWire, snapshotInfoToWire } from "../rpc/snapshot-codec.ts";
import type { SnapshotInfo } from "../storage/store.ts";
import { askFrontEnd, errorCodeOf } from "./frontend-client.ts";
import { leaderOf } from "./status.ts";

/** How often a cluster without a leader is asked again. */
const POLL_MS = 200;

export interface Leader {
  readonly id: ServerId;
  readonly address: string;
}

/**
 * The cluster's leader; waits up to `timeoutMs` for there to be one, or for `signal`. Rejects with RaftKvError:
 * "noCluster"; "unavailable" when nobody leads; as askFrontEnd when there is no frontend to ask.
 */
export async function findLeader(
  options: { readonly address: string; readonly timeout: string },
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Leader> {
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    const cluster = await askFrontEnd(options, (client, callMs) => client.call("Status", {}, callMs));
    if (cluster.clusterId === "") {
      throw new RaftKvError("noCluster", 'no cluster: start one with "raftkv start 3"');
    }
    const leaderId = leaderOf(cluster);
    const member = cluster.members.find(({ id }) => id === leaderId);
    if (member !== undefined) return { id: member.id, address: member.address };
    if (performance.now() > deadlineMs || signal.aborted) {
      throw new RaftKvError(
        "unavailable",
        'no server leads: see "raftkv status", and start the missing ones',
      );
    }
    await Bun.sleep(POLL_MS);
  }
}

/** A snapshot that a leader has taken for us. Everything rejects with RaftKvError as RpcClient does. */
export class SnapshotSource {
  readonly info: SnapshotInfo;
  readonly #client: RpcClient<"KeyValueStore">;
  readonly #timeoutMs: number;

  private constructor(client: RpcClient<"KeyValueStore">, info: SnapshotInfo, timeoutMs: number) {
    this.#client = client;
    this.info = info;
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Has the leader take a snapshot, which holds every write acknowledged before. `timeoutMs` is for each call.
   * Rejects also with "notLeader", "unavailable" and whatever else the server says.
   */
  static async open({ address }: Leader, timeoutMs: number): Promise<SnapshotSource> {
    const client = new RpcClient("KeyValueStore", address);
    try {
      const reply = await client.call("TakeSnapshot", {}, timeoutMs);
      if (reply.code !== "OK") throw new RaftKvError(errorCodeOf(reply.code), `${address}: ${reply.error}`);
      return new SnapshotSource(client, snapshotInfoFromWire(reply), timeoutMs);
    } catch (error) {
      client.close();
      throw error;
    }
  }

  /** The file's bytes from `offset` on, at least one: `offset` is below info.totalBytes. */
  async read(offset: number): Promise<Uint8Array> {
    const request = { ...snapshotInfoToWire(this.info), offset };
    const { data } = await this.#client.call("ReadSnapshot", request, this.#timeoutMs);
    if (data.length > 0 && offset + data.length <= this.info.totalBytes) return data;
    throw new RaftKvError(
      "corruption",
      `${this.#client.address}: sent ${data.length} bytes at byte ${offset}`,
    );
  }

  close(): void {
    this.#client.close();
  }
}
