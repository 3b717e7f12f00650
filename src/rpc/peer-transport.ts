import { unreachable } from "../base/assert.ts";
import { RaftKvError } from "../base/errors.ts";
import type { PeerReply, PeerRequest, SnapshotChunk } from "../node/peer-message.ts";
import type { Transport } from "../node/transport.ts";
import type { Configuration, Member } from "../raft/configuration.ts";
import type { ServerId } from "../raft/entry.ts";
import {
  appendEntriesReplyFromWire,
  appendEntriesToWire,
  requestVoteReplyFromWire,
  requestVoteToWire,
} from "./codec.ts";
import { readIndexReplyFromWire, timeoutNowReplyFromWire, timeoutNowToWire } from "./configuration-codec.ts";
import { RpcClient } from "./rpc-client.ts";
import { chunkReplyFromWire, chunkToWire } from "./snapshot-codec.ts";

/** Long enough for a full batch on a busy machine; then the leader tries again from what it knows. */
const APPEND_ENTRIES_TIMEOUT_MS = 1000;
/** A leader is sure of itself within a round trip, or is none soon; readers wait for one answer at a time. */
const READ_INDEX_TIMEOUT_MS = 500;
/** A transfer slower than a chunk in this time is given up, so none holds the leader's log back for ever. */
const CHUNK_TIMEOUT_MS = 5000;
/** With the last chunk the receiver reads, checks and installs the whole snapshot before it answers. */
const LAST_CHUNK_TIMEOUT_MS = 60_000;

/** Connections of their own, so that no heartbeat, vote or reader waits behind entries, or those behind a chunk. */
interface Peer {
  readonly urgent: RpcClient<"KeyValueStore">;
  readonly entries: RpcClient<"KeyValueStore">;
  readonly chunks: RpcClient<"KeyValueStore">;
}

/** Raft's requests over gRPC: unary calls, every one with a deadline. It sends to nobody before `setPeers`. */
export class PeerTransport implements Transport {
  readonly #clusterId: string;
  readonly #addressOf: (member: Member) => string;
  /** A vote that comes later is of no use, and a leader that hands over goes on by itself then. */
  readonly #electionTimeoutMs: number;
  readonly #peers = new Map<ServerId, Peer>();

  /**
   * `addressOf` tells where to reach a member, "host:port". `electionTimeoutMs` is the longest: who allows more,
   * for slow disks or links, waits longer for every answer.
   */
  constructor(clusterId: string, addressOf: (member: Member) => string, electionTimeoutMs: number) {
    this.#clusterId = clusterId;
    this.#addressOf = addressOf;
    this.#electionTimeoutMs = electionTimeoutMs;
  }

  setPeers(peers: Configuration): void {
    const addresses = new Map(peers.map((member) => [member.id, this.#addressOf(member)]));
    for (const [id, peer] of this.#peers) {
      if (peer.urgent.address !== addresses.get(id)) this.#disconnect(id, peer);
    }
    for (const [id, address] of addresses) {
      if (!this.#peers.has(id)) this.#peers.set(id, connect(address));
    }
  }

  send(to: ServerId, request: PeerRequest, settle: (reply: PeerReply | null) => void): void {
    const peer = this.#peers.get(to);
    if (peer === undefined) {
      setImmediate(() => settle(null));
      return;
    }
    switch (request.kind) {
      case "requestVote": {
        const args = requestVoteToWire(request, this.#clusterId);
        peer.urgent.send("RequestVote", args, this.#electionTimeoutMs, (outcome) =>
          settle(readable(requestVoteReplyFromWire, outcome)),
        );
        return;
      }
      case "appendEntries": {
        const args = appendEntriesToWire(request, this.#clusterId);
        const connection = request.entries.length === 0 ? peer.urgent : peer.entries;
        connection.send("AppendEntries", args, this.#atLeast(APPEND_ENTRIES_TIMEOUT_MS), (outcome) =>
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
      case "timeoutNow": {
        const args = timeoutNowToWire(request, this.#clusterId);
        peer.urgent.send("TimeoutNow", args, this.#electionTimeoutMs, (outcome) =>
          settle(readable(timeoutNowReplyFromWire, outcome)),
        );
        return;
      }
      case "readIndex": {
        const args = { clusterId: this.#clusterId };
        peer.urgent.send("ReadIndex", args, this.#atLeast(READ_INDEX_TIMEOUT_MS), (outcome) =>
          settle(readable(readIndexReplyFromWire, outcome)),
        );
        return;
      }
      default:
        unreachable(request);
    }
  }

  close(): void {
    for (const [id, peer] of this.#peers) this.#disconnect(id, peer);
  }

  #atLeast(timeoutMs: number): number {
    return Math.max(timeoutMs, this.#electionTimeoutMs);
  }

  /** Calls under way still end, each by its deadline. */
  #disconnect(id: ServerId, { urgent, entries, chunks }: Peer): void {
    this.#peers.delete(id);
    for (const connection of [urgent, entries, chunks]) connection.close();
  }
}

function connect(address: string): Peer {
  return {
    urgent: new RpcClient("KeyValueStore", address, "bursts"),
    entries: new RpcClient("KeyValueStore", address, "bursts"),
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
