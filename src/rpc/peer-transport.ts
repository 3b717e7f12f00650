import { RaftKvError } from "../base/errors.ts";
import type { Command } from "../kv/command.ts";
import type { Transport } from "../node/transport.ts";
import type { ServerId } from "../raft/entry.ts";
import type { Reply, Request } from "../raft/message.ts";
import {
  appendEntriesReplyFromWire,
  appendEntriesToWire,
  requestVoteReplyFromWire,
  requestVoteToWire,
} from "./codec.ts";
import { RpcClient } from "./rpc-client.ts";

/** A vote that comes later than an election timeout is of no use. */
const REQUEST_VOTE_TIMEOUT_MS = 300;
/** Long enough for a full batch on a busy machine; then the leader tries again from what it knows. */
const APPEND_ENTRIES_TIMEOUT_MS = 1000;

/** Raft's requests over gRPC: one connection to each peer, unary calls, every one with a deadline. */
export class PeerTransport implements Transport {
  readonly #clusterId: string;
  readonly #peers: ReadonlyMap<ServerId, RpcClient<"KeyValueStore">>;

  constructor(clusterId: string, addresses: ReadonlyMap<ServerId, string>) {
    this.#clusterId = clusterId;
    this.#peers = new Map(
      [...addresses].map(([id, address]) => [id, new RpcClient("KeyValueStore", address)]),
    );
  }

  send(to: ServerId, request: Request<Command>, settle: (reply: Reply | null) => void): void {
    const peer = this.#peers.get(to);
    if (peer === undefined) {
      settle(null);
    } else if (request.kind === "requestVote") {
      const args = requestVoteToWire(request, this.#clusterId);
      peer.send("RequestVote", args, REQUEST_VOTE_TIMEOUT_MS, (outcome) =>
        settle(outcome instanceof RaftKvError ? null : readable(requestVoteReplyFromWire, outcome)),
      );
    } else {
      const args = appendEntriesToWire(request, this.#clusterId);
      peer.send("AppendEntries", args, APPEND_ENTRIES_TIMEOUT_MS, (outcome) =>
        settle(outcome instanceof RaftKvError ? null : readable(appendEntriesReplyFromWire, outcome)),
      );
    }
  }

  close(): void {
    for (const peer of this.#peers.values()) peer.close();
  }
}

/** A reply that makes no sense is as good as none. */
function readable<W, R>(decode: (wire: W) => R, wire: W): R | null {
  try {
    return decode(wire);
  } catch (error) {
    if (error instanceof RaftKvError) return null;
    throw error;
  }
}
