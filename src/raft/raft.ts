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
import type { PersistentState } from "./persistent-state.ts";
import type { Role } from "./role.ts";
import type { SnapshotPosition } from "./snapshot-position.ts";
import {
  compact,
  handleInstallSnapshot,
  handleInstallSnapshotLost,
  handleInstallSnapshotReply,
} from "./snapshotting.ts";
import { RaftState } from "./state.ts";

/** What became of a proposal. Accepted is not committed: it is when it comes back in `committed`. */
export type ProposeResult =
  | { readonly kind: "accepted"; readonly index: LogIndex; readonly term: Term }
  | { readonly kind: "notLeader"; readonly leaderId: ServerId | null }
  /** It leads, and there is no room for anything more on its disk. */
  | { readonly kind: "diskFull" };

/** What the outside may know of a server's state at one moment. */
export interface RaftStatus {
  readonly id: ServerId;
  readonly role: Role<unknown>["kind"];
  readonly currentTerm: Term;
  readonly votedFor: ServerId | null;
  readonly leaderId: ServerId | null;
  readonly commitIndex: LogIndex;
  /** The first entry that the log holds, or the one that comes next; below it everything is in the snapshot. */
  readonly firstLogIndex: LogIndex;
  readonly lastLogIndex: LogIndex;
  readonly durableIndex: LogIndex;
  /** A leader's no-op of its own term; null for everyone else. Once applied, the leader is up to date. */
  readonly noopIndex: LogIndex | null;
  /** Of the newest snapshot, which may not have its name yet; 0: there is none. */
  readonly snapshotIndex: LogIndex;
  readonly diskFull: boolean;
  /** It was made anew and has no say in elections, or would have none after a crash (HardState). */
  readonly abstains: boolean;
}

export class Raft<C> {
  readonly #state: RaftState<C>;
  /** Committed entries up to here have been handed out, or are in a snapshot that has been. */
  #handedOut: LogIndex;

  /** A server that starts, with what recovery found. Its state machine is what the snapshot holds. */
  constructor(options: RaftOptions, recovered: PersistentState<C>) {
    checkOptions(options);
    this.#state = new RaftState(options, recovered);
    this.#handedOut = recovered.snapshot.index;
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
      case "installSnapshot":
        return handleInstallSnapshot(this.#state, rpc, request);
      default:
        return unreachable(request);
    }
  }

  /** `from` answered `request`, which must be the very object that a batch gave. */
  handleReply(from: ServerId, request: Request<C>, reply: Reply): void {
    if (request.kind === "requestVote" && reply.kind === "requestVoteReply") {
      handleRequestVoteReply(this.#state, from, request, reply);
    } else if (request.kind === "appendEntries" && reply.kind === "appendEntriesReply") {
      handleAppendEntriesReply(this.#state, from, request, reply);
    } else {
      const matching = request.kind === "installSnapshot" && reply.kind === "installSnapshotReply";
      assert(matching, "a reply of another kind");
      handleInstallSnapshotReply(this.#state, from, request, reply);
    }
  }

  /** No answer to `request` will come. Every request is answered or lost, sooner or later. */
  handleLost(to: ServerId, request: Request<C>): void {
    if (request.kind === "appendEntries") handleAppendEntriesLost(this.#state, to, request);
    else if (request.kind === "installSnapshot") handleInstallSnapshotLost(this.#state, to, request);
  }

  /** Appends a command to the leader's log. */
  propose(command: Payload<C> & { readonly kind: "command" }): ProposeResult {
    const state = this.#state;
    if (state.role.kind !== "leader") return { kind: "notLeader", leaderId: state.leaderId };
    if (state.diskFull) return { kind: "diskFull" };
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

  /**
   * A snapshot of the state after the entry at `snapshot`, which has been applied, is complete and durable under
   * a temporary name. The log forgets entries up to `through` (<= snapshot.index; what may go has gone when that is
   * less than it forgot before), and a write "compact" gives the snapshot its name. False when one as new is known
   * already: then nothing comes of it, and it is to be abandoned.
   */
  compact(snapshot: SnapshotPosition, through: LogIndex): boolean {
    assert(snapshot.index <= this.#handedOut, `a snapshot at ${snapshot.index}, which has not been applied`);
    return compact(this.#state, snapshot, through);
  }

  /**
   * Whether writes wait for room on the disk. Until there is room this server takes no proposals, refuses at once
   * what it cannot save, lets others stand for election first, and as a leader makes way for others that have room.
   */
  setDiskFull(full: boolean): void {
    this.#state.diskFull = full;
    this.#state.releaseReplies();
  }

  takeBatch(): Batch<C> {
    const state = this.#state;
    if (state.role.kind === "leader") replicate(state, state.role);
    state.endAbstention();
    const { requests, replies, events, toInstall: install } = state;
    state.requests = [];
    state.replies = [];
    state.events = [];
    state.toInstall = null;
    if (install !== null) this.#handedOut = install.index;
    const persist = state.durability.take();
    return { requests, replies, events, persist, install, committed: this.#takeCommitted() };
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

  /** 0 at index 0; null where it is not known: below what the log still knows, and past its end. */
  termAt(index: LogIndex): Term | null {
    return this.#state.log.termAt(index);
  }

  /** An entry of the log, firstLogIndex to lastLogIndex, for checks; never for decisions outside the core. */
  entryAt(index: LogIndex): Entry<C> {
    return this.#state.log.entryAt(index);
  }

  status(): RaftStatus {
    const { id, role, currentTerm, votedFor, leaderId, commitIndex, log, durability } = this.#state;
    const { snapshot, diskFull, votesForGood } = this.#state;
    return {
      id,
      role: role.kind,
      currentTerm,
      votedFor,
      leaderId,
      commitIndex,
      firstLogIndex: log.base.index + 1,
      lastLogIndex: log.lastIndex,
      durableIndex: durability.durableIndex,
      noopIndex: role.kind === "leader" ? role.noopIndex : null,
      snapshotIndex: snapshot.index,
      diskFull,
      abstains: !votesForGood,
    };
  }
}
