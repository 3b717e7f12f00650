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
import type { Batch, ReadId, RpcId } from "./batch.ts";
import type { Configuration, ConfigurationChange } from "./configuration.ts";
import { isHeard } from "./contact.ts";
import {
  announceCandidacy,
  handleRequestVote,
  handleRequestVoteReply,
  handleTimeoutNow,
  tickElection,
} from "./election.ts";
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
import { changeConfiguration, type ChangeResult, isCaughtUp } from "./membership.ts";
import type { Reply, Request } from "./message.ts";
import { checkOptions, type RaftOptions } from "./options.ts";
import type { PersistentState } from "./persistent-state.ts";
import { read, type ReadResult, serveReads } from "./reading.ts";
import type { Leader, Role } from "./role.ts";
import type { SnapshotPosition } from "./snapshot-position.ts";
import {
  compact,
  handleInstallSnapshot,
  handleInstallSnapshotLost,
  handleInstallSnapshotReply,
} from "./snapshotting.ts";
import { RaftState } from "./state.ts";
import {
  continueTransfer,
  handleTimeoutNowReply,
  transferLeadership,
  type TransferResult,
} from "./transfer.ts";

/** What became of a proposal. Accepted is not committed: it is when it comes back in `committed`. */
export type ProposeResult =
  | { readonly kind: "accepted"; readonly index: LogIndex; readonly term: Term }
  | { readonly kind: "notLeader"; readonly leaderId: ServerId | null }
  /** It leads, and there is no room for anything more on its disk. */
  | { readonly kind: "diskFull" }
  /** It leads, and is handing over to `to`, soon or not at all. Nothing was done. */
  | { readonly kind: "transferring"; readonly to: ServerId };

/** What a leader knows of another member. */
export interface FollowerStatus {
  readonly id: ServerId;
  /** Known to be on it, durably; 0: nothing yet. */
  readonly matchIndex: LogIndex;
  /** It lacks no more than comes within an election timeout (dissertation §4.2.1). */
  readonly caughtUp: boolean;
  /** It has answered within an election timeout. */
  readonly heard: boolean;
}

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
  /** The latest that its log holds, committed or not; empty: it waits to be added to a cluster. */
  readonly configuration: Configuration;
  /** Where in the log that stands; 0: it is what the server was created with. */
  readonly configurationIndex: LogIndex;
  /** Whom a leader hands over to; null: nobody. */
  readonly transferTo: ServerId | null;
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
      case "timeoutNow":
        return handleTimeoutNow(this.#state, rpc, request);
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
    } else if (request.kind === "timeoutNow" && reply.kind === "timeoutNowReply") {
      handleTimeoutNowReply(this.#state, from, request, reply);
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
    if (state.role.transfer !== null) return { kind: "transferring", to: state.role.transfer.to };
    state.append([command]);
    return { kind: "accepted", index: state.log.lastIndex, term: state.currentTerm };
  }

  /**
   * Adds, promotes or removes a member (dissertation chapter 4). Accepted is in effect, and not yet committed: it is
   * when the entry comes back in `committed`.
   */
  changeConfiguration(change: ConfigurationChange): ChangeResult {
    return changeConfiguration(this.#state, change);
  }

  /**
   * Asks for an index that a linearizable read must have applied (dissertation §6.4). What becomes of it is in
   * `reads` of some later batch, perhaps of the next one.
   */
  read(id: ReadId): ReadResult {
    return read(this.#state, id);
  }

  /** Makes way for `to`; null: for whoever has most of the log (dissertation §3.10). Success is a later term's leader. */
  transferLeadership(to: ServerId | null): TransferResult {
    return transferLeadership(this.#state, to);
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
    if (state.role.kind === "leader") lead(state, state.role);
    state.endAbstention();
    const { requests, replies, reads, events, toInstall: install } = state;
    state.requests = [];
    state.replies = [];
    state.reads = [];
    state.events = [];
    state.toInstall = null;
    if (install !== null) this.#handedOut = install.index;
    const persist = state.durability.take();
    return { requests, replies, events, persist, install, reads, committed: this.#takeCommitted() };
  }

  #takeCommitted(): readonly Entry<C>[] {
    const { log, commitIndex, options } = this.#state;
    const count = Math.min(commitIndex - this.#handedOut, options.maxCommittedPerBatch);
    if (count === 0) return [];
    const entries = log.slice(this.#handedOut + 1, count, options.maxBatchBytes);
    this.#handedOut += entries.length;
    return entries;
  }

  /** Whether something is left that the last batch had no room for, or that is to be made durable by itself. */
  get hasMore(): boolean {
    return this.#handedOut < this.#state.commitIndex || this.#state.durability.hasMore;
  }

  /** 0 at index 0; null where it is not known: below what the log still knows, and past its end. */
  termAt(index: LogIndex): Term | null {
    return this.#state.log.termAt(index);
  }

  /** An entry of the log, firstLogIndex to lastLogIndex, for checks; never for decisions outside the core. */
  entryAt(index: LogIndex): Entry<C> {
    return this.#state.log.entryAt(index);
  }

  /** Who belongs to the cluster as of the entry at `index`, at or above the newest snapshot's; empty: not known. */
  configurationAt(index: LogIndex): Configuration {
    return this.#state.configurations.at(index);
  }

  /** What a leader knows of every other member, ascending by id; null for everyone else. */
  followers(): readonly FollowerStatus[] | null {
    const { role } = this.#state;
    return role.kind === "leader" ? followersOf(this.#state, role) : null;
  }

  status(): RaftStatus {
    const { id, role, currentTerm, votedFor, leaderId, commitIndex, log, durability } = this.#state;
    const { snapshot, diskFull, votesForGood, configurations } = this.#state;
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
      configuration: configurations.latest,
      configurationIndex: configurations.latestIndex,
      transferTo: role.kind === "leader" ? (role.transfer?.to ?? null) : null,
    };
  }
}

/** What a leader does once a turn. */
function lead<C>(state: RaftState<C>, leader: Leader<C>): void {
  serveReads(state, leader);
  replicate(state, leader);
  continueTransfer(state, leader);
}

function followersOf<C>(state: RaftState<C>, leader: Leader<C>): readonly FollowerStatus[] {
  return [...leader.progress]
    .map(([id, progress]) => {
      const caughtUp = isCaughtUp(state, progress);
      return { id, matchIndex: progress.matchIndex, caughtUp, heard: isHeard(state, progress) };
    })
    .toSorted((a, b) => a.id - b.id);
}
