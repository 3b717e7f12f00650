/**
 * Makes a server anew whose disk was lost or is not to be trusted, in a cluster that goes on (P9).
 *
 * It has forgotten whom it voted for, and entries that it helped to commit. An empty server under its id
 * could vote once more in the same term, or elect a leader that lacks those entries. So:
 *   1. take the server's own port     (the old process is gone, and none starts beside us)
 *   2. ask every other server for its currentTerm; all of them must answer and vote; M is the highest
 *   3. create the files with currentTerm = M + 1, votedFor = itself, abstainsThrough = M
 *
 * A candidate saves its term before it asks for votes, so the lost server neither gave nor got a vote of
 * another in a term after M. The one made anew gives none either, until it holds a committed entry of such a
 * term (HardState). So the leader of such a term is elected by others alone. They are a majority, so that one
 * of them has any entry that was ever committed; the leader then has them all (Raft §5.4.1), and gives them
 * back. In term M + 1 it refuses the leader of today, who steps down: such a leader comes soon.
 *
 * One at a time: were another server still to get back what it had forgotten, a majority could be left of
 * servers that have forgotten. Two of three that abstain could not even elect a leader to get it from.
 *
 * The last of step 3 is to create the state file, which is atomic. Before it no server starts; a log without
 * entries may be left, which is in the way of doing all of this again until `raftkv replace` sets it aside.
 * After it the server is started with what is on disk, as any other.
 */
import { RaftKvError } from "../base/errors.ts";
import type { ServerId, Term } from "../raft/entry.ts";
import { hardStateAfterLoss } from "../raft/hard-state.ts";
import { RpcClient } from "../rpc/rpc-client.ts";
import { RpcServer } from "../rpc/rpc-server.ts";
import type { FileSystem } from "../storage/file-system.ts";
import { createServerStore } from "../storage/server-store.ts";
import type { Identity } from "../storage/store.ts";

export interface RejoinOptions {
  readonly fs: FileSystem;
  readonly stateDirectory: string;
  readonly identity: Identity;
  /** A server's "host:port". */
  readonly addressOf: (id: ServerId) => string;
  /** Where the server is to listen. */
  readonly hosts: readonly string[];
  readonly port: number;
}

/** With fewer servers no majority is sure to be left without the lost one. */
const MIN_SERVERS = 3;
const ANSWER_TIMEOUT_MS = 5000;

/**
 * Resolves when the server's files are there, durably. Rejects with RaftKvError: "failedPrecondition"
 * when the cluster is too small, another server does not answer, abstains or is not of the cluster, or
 * the server has files; "io" when its port is taken or a file cannot be written; "diskFull".
 */
export async function rejoin(options: RejoinOptions): Promise<void> {
  const { fs, stateDirectory, identity, addressOf, hosts, port } = options;
  const { serverId, servers } = identity;
  if (servers.length < MIN_SERVERS) {
    throw refusal(identity, `in a cluster of ${servers.length} nobody else is sure to have what it had`);
  }
  const claim = new RpcServer();
  await claim.listen(hosts, port);
  try {
    const others = servers.filter((id) => id !== serverId);
    const terms = await Promise.all(others.map((id) => askTerm(identity, id, addressOf(id))));
    const hardState = hardStateAfterLoss(Math.max(...terms), serverId);
    await createServerStore(fs, stateDirectory, identity, { hardState });
  } finally {
    await claim.close();
  }
}

async function askTerm(identity: Identity, id: ServerId, address: string): Promise<Term> {
  const client = new RpcClient("KeyValueStore", address);
  try {
    const status = await client.call("Status", {}, ANSWER_TIMEOUT_MS);
    if (status.id !== id || status.clusterId !== identity.clusterId) {
      const who = `server ${status.id} of cluster ${status.clusterId}`;
      throw refusal(
        identity,
        `at ${address} there is ${who}, not server ${id} of cluster ${identity.clusterId}`,
      );
    }
    if (!status.abstains) return status.term;
    throw refusal(identity, `server ${id} was replaced and has not caught up yet: wait, then try again`);
  } catch (error) {
    if (!(error instanceof RaftKvError) || error.code === "failedPrecondition") throw error;
    throw refusal(
      identity,
      `server ${id} at ${address} does not answer; every other server must: start it`,
      error,
    );
  } finally {
    client.close();
  }
}

function refusal({ serverId }: Identity, why: string, cause?: unknown): RaftKvError {
  return new RaftKvError("failedPrecondition", `server ${serverId} cannot rejoin: ${why}`, { cause });
}
