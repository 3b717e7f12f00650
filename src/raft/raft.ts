/**
 * The consensus core: one server's side of Raft, without I/O, clock or chance.
 *
 * Inputs are the methods below; none of them does anything but change state. After feeding all waiting
 * inputs the driver takes one batch (see batch.ts for what it must do with it, and in which order).
 *
 *   peers, clients, ticks, "persisted" ---> Raft ---> Batch: requests, replies, writes, committed entries
 *
 * Sources: Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm (Extended
 * Version)", cited as "Raft"; Ongaro, "Consensus: Bridging Theory and Practice", as "dissertation".
 */
import { assert, unreachable } from "../base/assert.ts";
import type { Batch, RpcId } from "./batch.ts";
import { announceCandidacy, handleRequestVote, handleRequestVoteReply, tickElection } from "./election.ts";
import type { Entry, LogIndex, Payload, ServerId, Term } from "./entry.ts";
import { handleAppendEntries } from "./following.ts";
import type { HardState } from "./hard-state.ts";
import {
  advanceCommitIndex,
  handleAppendEntriesLost,
  handleAppendEntriesReply,
  replicate,
  sendHeartbeats,
  tickLeader,
} from "./leadership.ts";
import type { Reply, Request } from "./message.ts";
import { checkOptions, type RaftOptions } from "./options.ts";
import type { Role } from "./role.ts";
import { RaftState } from "./state.ts";

/** What became of a proposal. Accepted is not committed: it is when it comes back in `committed`. */
export type ProposeResult =
  | { readonly kind: "accepted"; readonly index: LogIndex; readonly term: Term }
  | { readonly kind: "notLeader"; readonly leaderId: ServerId | null };

/** What the outside may know of a server's state at one moment. */
export interface RaftStatus {
  readonly id: ServerId;
  readonly role: Role<unknown>["kind"];
  readonly currentTerm: Term;
  readonly votedFor: ServerId | null;
  readonly leaderId: ServerId | null;
  readonly commitIndex: LogIndex;
  readonly lastLogIndex: LogIndex;
  readonly durableIndex: LogIndex;
  /** A leader's no-op of its own term; null for everyone else. Once applied, the leader is up to date. */
  readonly noopIndex: LogIndex | null;
}

export class Raft<C> {
  readonly #state: RaftState<C>;
  /** Committed entries up to here have been handed out. */
  #handedOut: LogIndex = 0;

  /** A server that starts, with what recovery found. */
  constructor(options: RaftOptions, hardState: HardState, entries: readonly Entry<C>[]) {
    checkOptions(options);
    this.#state = new RaftState(options, hardState, entries);
  }

  /** One tick of time has passed. */
  tick(): void {
    const state = this.#state;
    state.nowTick += 1;
    if (state.role.kind === "leader") tickLeader(state, state.role);
    else tickElection(state);
  }

  /**
   * The process stood still for many ticks, which are not counted: they say nothing of the others. But the
   * others have missed a leader's heartbeats, so these are sent at once.
   */
  stalled(): void {
    if (this.#state.role.kind === "leader") sendHeartbeats(this.#state, this.#state.role);
  }

  /** A peer asks; the answer comes in some later batch under the same `rpc`. */
  handleRequest(rpc: RpcId, request: Request<C>): void {
    switch (request.kind) {
      case "requestVote":
        return handleRequestVote(this.#state, rpc, request);
      case "appendEntries":
        return handleAppendEntries(this.#state, rpc, request);
      default:
        return unreachable(request);
    }
  }

  /** `from` answered `request`, which must be the very object that a batch gave. */
  handleReply(from: ServerId, request: Request<C>, reply: Reply): void {
    if (request.kind === "requestVote" && reply.kind === "requestVoteReply") {
      handleRequestVoteReply(this.#state, from, request, reply);
    } else {
      assert(
        request.kind === "appendEntries" && reply.kind === "appendEntriesReply",
        "a reply of another kind",
      );
      handleAppendEntriesReply(this.#state, from, request, reply);
    }
  }

  /** No answer to `request` will come. Every request is answered or lost, sooner or later. */
  handleLost(to: ServerId, request: Request<C>): void {
    if (request.kind === "appendEntries") handleAppendEntriesLost(this.#state, to, request);
  }

  /** Appends a command to the leader's log. */
  propose(command: Payload<C> & { readonly kind: "command" }): ProposeResult {
    const state = this.#state;
    if (state.role.kind !== "leader") return { kind: "notLeader", leaderId: state.leaderId };
    state.append([command]);
    return { kind: "accepted", index: state.log.lastIndex, term: state.currentTerm };
  }

  /** All groups up to `sequence` are durable. */
  persisted(sequence: number): void {
    this.#state.durability.persisted(sequence);
    this.#state.releaseReplies();
    announceCandidacy(this.#state);
    advanceCommitIndex(this.#state);
  }

  takeBatch(): Batch<C> {
    const state = this.#state;
    if (state.role.kind === "leader") replicate(state, state.role);
    const { requests, replies, events } = state;
    state.requests = [];
    state.replies = [];
    state.events = [];
    return { requests, replies, events, persist: state.durability.take(), committed: this.#takeCommitted() };
  }

  #takeCommitted(): readonly Entry<C>[] {
    const { log, commitIndex, options } = this.#state;
    const count = Math.min(commitIndex - this.#handedOut, options.maxCommittedPerBatch);
    if (count === 0) return [];
    const entries = log.slice(this.#handedOut + 1, count, Infinity);
    this.#handedOut += count;
    return entries;
  }

  /** Whether committed entries are left that the last batch had no room for. */
  get hasMoreCommitted(): boolean {
    return this.#handedOut < this.#state.commitIndex;
  }

  /** Terms and payloads of the log, for checks; never for decisions outside the core. */
  entryAt(index: LogIndex): Entry<C> {
    return this.#state.log.entryAt(index);
  }

  status(): RaftStatus {
    const { id, role, currentTerm, votedFor, leaderId, commitIndex, log, durability } = this.#state;
    return {
      id,
      role: role.kind,
      currentTerm,
      votedFor,
      leaderId,
      commitIndex,
      lastLogIndex: log.lastIndex,
      durableIndex: durability.durableIndex,
      noopIndex: role.kind === "leader" ? role.noopIndex : null,
    };
  }
}
