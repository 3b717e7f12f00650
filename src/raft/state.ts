import { assert } from "../base/assert.ts";
import type { OutgoingReply, OutgoingRequest, RpcId } from "./batch.ts";
import { Durability } from "./durability.ts";
import type { Entry, LogIndex, Payload, ServerId, Term } from "./entry.ts";
import type { RaftEvent, StepDownReason } from "./event.ts";
import type { HardState } from "./hard-state.ts";
import { Log } from "./log.ts";
import type { Reply, Request } from "./message.ts";
import type { RaftOptions } from "./options.ts";
import type { Role } from "./role.ts";

/**
 * No election reaches a term this far ahead of ours: it comes from a hand that slipped, and would leave
 * too little room to count on.
 */
const MAX_TERMS_AHEAD = 2 ** 31;

/** A reply that claims something which is not durable yet. */
interface HeldReply extends OutgoingReply {
  readonly afterSequence: number;
}

/**
 * The state of one server (Raft figure 2) with the few operations that must keep its parts together:
 * term and vote are saved when they change, the log on disk follows the log in memory, and a reply leaves
 * only when what it claims is durable. Election and replication decide; this remembers.
 */
export class RaftState<C> {
  readonly options: RaftOptions;
  readonly log: Log<C>;
  readonly durability: Durability<C>;
  readonly peers: readonly ServerId[];

  #currentTerm: Term;
  #votedFor: ServerId | null;
  #commitIndex: LogIndex = 0;
  #electionTimeoutTicks = 0;

  role: Role<C> = { kind: "follower", leaderId: null };
  /** Ticks since the start. */
  nowTick = 0;
  electionElapsedTicks = 0;

  requests: OutgoingRequest<C>[] = [];
  replies: OutgoingReply[] = [];
  events: RaftEvent[] = [];
  #held: HeldReply[] = [];

  constructor(options: RaftOptions, hardState: HardState, entries: readonly Entry<C>[]) {
    this.options = options;
    this.log = new Log(entries);
    this.durability = new Durability(this.log.lastIndex);
    this.peers = options.voters.filter((voter) => voter !== options.id);
    this.#currentTerm = hardState.currentTerm;
    this.#votedFor = hardState.votedFor;
    assert(this.log.lastTerm <= this.#currentTerm, "the log is ahead of the saved term");
    this.resetElectionTimer();
  }

  get id(): ServerId {
    return this.options.id;
  }
  get currentTerm(): Term {
    return this.#currentTerm;
  }
  get votedFor(): ServerId | null {
    return this.#votedFor;
  }
  get commitIndex(): LogIndex {
    return this.#commitIndex;
  }
  get leaderId(): ServerId | null {
    if (this.role.kind === "leader") return this.id;
    return this.role.kind === "follower" ? this.role.leaderId : null;
  }
  get electionTimedOut(): boolean {
    return this.electionElapsedTicks >= this.#electionTimeoutTicks;
  }

  /** Whether an election can have come to `term`. */
  isPlausible(term: Term): boolean {
    return term - this.#currentTerm <= MAX_TERMS_AHEAD;
  }

  /** A new, random timeout, so that split votes do not repeat themselves (Raft §5.2). */
  resetElectionTimer(): void {
    const { electionTimeoutMinTicks, electionTimeoutMaxTicks, randomInt } = this.options;
    this.electionElapsedTicks = 0;
    this.#electionTimeoutTicks = randomInt(electionTimeoutMinTicks, electionTimeoutMaxTicks);
  }

  /** Enters `term`, in which nobody has this server's vote yet. */
  enterTerm(term: Term): void {
    assert(term > this.#currentTerm, `term ${term} after ${this.#currentTerm}`);
    this.#currentTerm = term;
    this.#votedFor = null;
    this.durability.saveHardState({ currentTerm: term, votedFor: null });
  }

  vote(candidate: ServerId): void {
    assert(this.#votedFor === null || this.#votedFor === candidate, "a second vote in one term");
    if (this.#votedFor === candidate) return;
    this.#votedFor = candidate;
    this.durability.saveHardState({ currentTerm: this.#currentTerm, votedFor: candidate });
  }

  /** "If RPC request or response contains term T > currentTerm: set currentTerm = T, convert to follower." */
  stepDown(term: Term, reason: StepDownReason): void {
    if (term > this.#currentTerm) this.enterTerm(term);
    // A leader's election timer stands still; everyone else's goes on (a mere higher term is no sign of life).
    if (this.role.kind === "leader") this.resetElectionTimer();
    this.role = { kind: "follower", leaderId: null };
    this.events.push({ kind: "becameFollower", term: this.#currentTerm, reason });
  }

  append(payloads: readonly Payload<C>[]): void {
    const first = this.log.lastIndex + 1;
    this.appendEntries(
      payloads.map((payload, i) => ({ index: first + i, term: this.#currentTerm, payload })),
    );
  }

  appendEntries(entries: readonly Entry<C>[]): void {
    if (entries.length === 0) return;
    this.log.append(entries);
    this.durability.append({ kind: "append", entries });
  }

  truncate(from: LogIndex): void {
    assert(from > this.#commitIndex, `entry ${from} is committed (${this.#commitIndex})`);
    assert(this.role.kind !== "leader", "a leader never removes entries");
    this.events.push({ kind: "truncated", from, lastIndex: this.log.lastIndex });
    this.log.truncate(from);
    this.durability.truncate(from);
  }

  commitTo(index: LogIndex): void {
    assert(index <= this.log.lastIndex, `commit index ${index} is past the log's end`);
    this.#commitIndex = Math.max(this.#commitIndex, index);
  }

  send(to: ServerId, request: Request<C>): void {
    this.requests.push({ to, request });
  }

  /** Answers once term, vote and the log up to `logIndex` (0: whatever the log holds) are durable. */
  replyWhenDurable(rpc: RpcId, reply: Reply, logIndex: LogIndex = 0): void {
    const afterSequence = this.durability.sequenceFor(logIndex);
    if (this.durability.isPersisted(afterSequence)) this.replies.push({ rpc, reply });
    else this.#held.push({ rpc, reply, afterSequence });
  }

  /**
   * Releases the replies whose time has come. A reply of a term that has passed grants nothing any more:
   * what it would have claimed may have been truncated since.
   */
  releaseReplies(): void {
    const held = this.#held;
    this.#held = [];
    for (const { rpc, reply, afterSequence } of held) {
      if (reply.term !== this.#currentTerm) this.replyWhenDurable(rpc, refusal(reply, this.#currentTerm));
      else if (this.durability.isPersisted(afterSequence)) this.replies.push({ rpc, reply });
      else this.#held.push({ rpc, reply, afterSequence });
    }
  }
}

function refusal(reply: Reply, term: Term): Reply {
  return reply.kind === "requestVoteReply"
    ? { kind: "requestVoteReply", term, voteGranted: false }
    : { kind: "appendEntriesReply", term, success: false, conflict: null };
}
