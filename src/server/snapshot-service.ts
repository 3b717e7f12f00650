/** What others may ask of a server's snapshots: a leader to install its own, a client to read it out. */
import { describeError, RaftKvError } from "../base/errors.ts";
import type { Node } from "../node/node.ts";
import { MAX_CHUNK_BYTES } from "../node/peer-message.ts";
import type { Handlers } from "../rpc/rpc-server.ts";
import { counter, invalid } from "../rpc/counter.ts";
import {
  chunkFromWire,
  chunkReplyToWire,
  snapshotInfoFromWire,
  snapshotInfoToWire,
} from "../rpc/snapshot-codec.ts";
import type { SnapshotReply } from "../rpc/wire.ts";
import type { OpenSnapshots } from "./open-snapshots.ts";
import { notLeader, otherLeader } from "./refusal.ts";

export function snapshotHandlers(
  node: Node,
  snapshots: OpenSnapshots,
  checkCluster: (clusterId: string) => void,
): Pick<Handlers<"KeyValueStore">, "InstallSnapshot" | "TakeSnapshot" | "ReadSnapshot"> {
  return {
    InstallSnapshot: async (args) => {
      checkCluster(args.clusterId);
      const reply = await node.handleRequest(chunkFromWire(args));
      if (reply.kind !== "snapshotChunkReply")
        throw new TypeError(`InstallSnapshot answered by ${reply.kind}`);
      return chunkReplyToWire(reply);
    },

    TakeSnapshot: async () => takeSnapshot(node, snapshots),

    ReadSnapshot: async (args) => {
      const info = snapshotInfoFromWire(args);
      const offset = counter("offset", args.offset);
      if (offset > info.totalBytes)
        throw invalid(`offset is ${offset}; the snapshot has ${info.totalBytes} bytes`);
      return { data: await snapshots.read(info, offset, MAX_CHUNK_BYTES) };
    },
  };
}

/** Of the leader, and of everything that was acknowledged before the call. */
async function takeSnapshot(node: Node, snapshots: OpenSnapshots): Promise<Partial<SnapshotReply>> {
  const { role, leaderId } = node.status();
  if (role !== "leader") return notLeader(leaderId);
  try {
    await node.takeSnapshot();
    const source = await node.openSnapshot();
    if (source === null) return { error: "the snapshot is gone; retry", code: "UNAVAILABLE" };
    snapshots.add(source);
    return snapshotInfoToWire(source.info);
  } catch (error) {
    if (!(error instanceof RaftKvError)) throw error;
    if (error.code === "notLeader") return notLeader(otherLeader(node));
    return { error: describeError(error), code: "UNAVAILABLE" };
  }
}
