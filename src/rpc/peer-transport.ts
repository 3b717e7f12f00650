import { unreachable } from "../base/assert.ts";
import { RaftKvError } from "../base/errors.ts";
import type { PeerReply, PeerRequest, SnapshotChunk } from "../node/peer-message.ts";
import type { Transport } from "../node/transport.ts";
import type { ServerId } from "../raft/entry.ts";
import {
  appendEntriesReplyFromWire,
  appendEntriesToWire,
  requestVoteReplyFromWire,
  requestVoteToWire,
} from "./codec.ts";
import { RpcClient } from "./rpc-client.ts";
import { chunkReplyFromWire, chunkToWire } from "./snapshot-codec.ts";

/** A vote that comes later than an election timeout is of no use. */
const REQUEST_VOTE_TIMEOUT_MS = 300;
/** Long enough for a full batch on a busy machine; then the leader tries again from what it knows. */
const APPEND_ENTRIES_TIMEOUT_MS = 1000;
/** A transfer slower than a chunk in this time is given up, so none holds the leader's log back for ever. */
const CHUNK_TIMEOUT_MS = 5000;
/** With the last chunk the receiver reads, checks and installs the whole snapshot before it answers. */
const LAST_CHUNK_TIMEOUT_MS = 60_000;

interface Peer {
  readonly messages: RpcClient<"KeyValueStore">;
  /** A connection of its own, so that no heartbeat waits behind a chunk. */
  readonly chunks: RpcClient<"KeyValueStore">;
}

/** Raft's requests over gRPC: unary calls, every one with a deadline. */
export class PeerTransport implements Transport {
  readonly #clusterId: string;
  readonly #peers: ReadonlyMap<ServerId, Peer>;

  constructor(clusterId: string, addresses: ReadonlyMap<ServerId, string>) {
    this.#clusterId = clusterId;
    this.#peers = new Map([...addresses].map(([id, address]) => [id, connect(address)]));
  }

  send(to: ServerId, request: PeerRequest, settle: (reply: PeerReply | null) => void): void {
    const peer = this.#peers.get(to);
    if (peer === undefined) {
      settle(null);
      return;
    }
    switch (request.kind) {
      case "requestVote": {
        const args = requestVoteToWire(request, this.#clusterId);
        peer.messages.send("RequestVote", args, REQUEST_VOTE_TIMEOUT_MS, (outcome) =>
          settle(readable(requestVoteReplyFromWire, outcome)),
        );
        return;
      }
      case "appendEntries": {
        const args = appendEntriesToWire(request, this.#clusterId);
        peer.messages.send("AppendEntries", args, APPEND_ENTRIES_TIMEOUT_MS, (outcome) =>
          settle(readable(appendEntriesReplyFromWire, outcome)),
        );
        return;
      }
      case "snapshotChunk": {
        const args = chunkToWire(request, this.#clusterId);
        peer.chunks.send("InstallSnapshot", args, chunkTimeoutMs(request), (outcome) =>
          settle(readable(chunkReplyFromWire, outcome)),
        );
        return;
      }
      default:
        unreachable(request);
    }
  }

  close(): void {
    for (const { messages, chunks } of this.#peers.values()) {
      messages.close();
      chunks.close();
    }
  }
}

function connect(address: string): Peer {
  return {
    messages: new RpcClient("KeyValueStore", address),
    chunks: new RpcClient("KeyValueStore", address),
  };
}

function chunkTimeoutMs({ offset, data, info }: SnapshotChunk): number {
  return offset + data.length === info.totalBytes ? LAST_CHUNK_TIMEOUT_MS : CHUNK_TIMEOUT_MS;
}

/** A reply that makes no sense is as good as none. */
function readable<W, R>(decode: (wire: W) => R, outcome: W | RaftKvError): R | null {
  if (outcome instanceof RaftKvError) return null;
  try {
    return decode(outcome);
  } catch (error) {
    if (error instanceof RaftKvError) return null;
    throw error;
  }
}
