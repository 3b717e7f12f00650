import { assert, unreachable } from "../base/assert.ts";
import type { OutgoingReply, OutgoingRequest, ReadOutcome, RpcId } from "./batch.ts";
import type { Configuration } from "./configuration.ts";
import { ConfigurationHistory } from "./configuration-history.ts";
import { Durability } from "./durability.ts";
import type { Entry, LogIndex, Payload, ServerId, Term } from "./entry.ts";
import type { RaftEvent, StepDownReason } from "./event.ts";
import { Log } from "./log.ts";
import type { Reply, Request } from "./message.ts";
import type { RaftOptions } from "./options.ts";
import type { PersistentState } from "./persistent-state.ts";
import type { Progress } from "./progress.ts";
import type { Role } from "./role.ts";
import type { SnapshotPosition } from "./snapshot-position.ts";

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
  readonly configurations: ConfigurationHistory;

  #currentTerm: Term;
  #votedFor: ServerId | null;
  #abstainsThrough: Term;
  #abstainsTo: LogIndex;
  /** The group that says that this server votes again; 0: it has never been made anew, or did so before it started. */
  #votesAgainSequence = 0;
  #snapshot: SnapshotPosition;
  #commitIndex: LogIndex;
  #electionTimeoutTicks = 0;

  role: Role<C> = { kind: "follower", leaderId: null };
  /** Ticks since the start. */
  nowTick = 0;
  electionElapsedTicks = 0;
  /** No more commands become durable here until there is room again; terms, votes and no-ops may. */
  diskFull = false;

  requests: OutgoingRequest<C>[] = [];
  replies: OutgoingReply[] = [];
  reads: ReadOutcome[] = [];
  events: RaftEvent[] = [];
  /** What the state machine is to become, if anything (Batch.install). */
  toInstall: SnapshotPosition | null = null;
  #held: HeldReply[] = [];

  constructor(options: RaftOptions, recovered: PersistentState<C>) {
    const { hardState, log, snapshot } = recovered;
    this.options = options;
    this.log = new Log(log.base, log.entries);
    this.durability = new Durability(this.log.lastIndex);
    this.configurations = new ConfigurationHistory(recovered);
    this.#currentTerm = hardState.currentTerm;
    this.#votedFor = hardState.votedFor;
    this.#abstainsThrough = hardState.abstainsThrough;
    this.#abstainsTo = hardState.abstainsTo ?? 0;
    this.#snapshot = snapshot;
    this.#commitIndex = snapshot.index;
    assert(this.log.lastTerm <= this.#currentTerm, "the log is ahead of the saved term");
    assert(this.log.base.index <= snapshot.index, "entries are missing between the snapshot and the log");
    assert(
      this.log.termAt(snapshot.index) === snapshot.term,
      "the log does not hold what the snapshot stands for",
    );
    this.resetElectionTimer();
  }

  get id(): ServerId {
    return this.options.id;
  }
  /** Every other member of the latest configuration. */
  get peers(): readonly ServerId[] {
    return this.configurations.latest.map(({ id }) => id).filter((id) => id !== this.id);
  }
  /** Of the latest configuration. */
  get isVoter(): boolean {
    return this.configurations.voters.includes(this.id);
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
  /** Of the newest snapshot; ORIGIN: there is none. At or above the log's base, at or below commitIndex. */
  get snapshot(): SnapshotPosition {
    return this.#snapshot;
  }
  /** This server lost its disk, or is new, and has not caught up since: it has no say in elections (HardState). */
  get abstains(): boolean {
    return this.#abstainsThrough > 0 || this.#abstainsTo > 0;
  }
  /** It has a say in elections, and a crash would not take it away. */
  get votesForGood(): boolean {
    return !this.abstains && this.durability.isPersisted(this.#votesAgainSequence);
  }
  get leaderId(): ServerId | null {
    if (this.role.kind === "leader") return this.id;
    return this.role.kind === "follower" ? this.role.leaderId : null;
  }
  /** On a full disk only a timeout after everyone else's, so that those with room come first; but it comes. */
  get electionTimedOut(): boolean {
    const patienceTicks = this.diskFull ? this.options.electionTimeoutMaxTicks : 0;
    return this.electionElapsedTicks >= this.#electionTimeoutTicks + patienceTicks;
  }

  /** What this server, leading `term`, knows of `peer`; null when it does not, or the peer is no follower of its. */
  progressOf(peer: ServerId, term: Term): Progress<C> | null {
    if (this.role.kind !== "leader" || term !== this.#currentTerm) return null;
    return this.role.progress.get(peer) ?? null;
  }

  /**
   * The same after `peer` replied, in its term, to what this server sent when it led `term`. A later term deposes
   * it, and what it sent in another term counts for nothing.
   */
  progressAfter(peer: ServerId, term: Term, replyTerm: Term): Progress<C> | null {
    if (replyTerm <= this.#currentTerm) return this.progressOf(peer, term);
    if (this.isPlausible(replyTerm)) this.stepDown(replyTerm, "higherTerm");
    return null;
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
    this.#saveHardState();
  }

  vote(candidate: ServerId): void {
    assert(this.#votedFor === null || this.#votedFor === candidate, "a second vote in one term");
    if (this.#votedFor === candidate) return;
    this.#votedFor = candidate;
    this.#saveHardState();
  }

  /** What it may have forgotten is committed and durable here: it votes again (HardState). */
  endAbstention(): void {
    const index = Math.min(this.#commitIndex, this.durability.durableIndex);
    const term = this.log.termAt(index);
    if (!this.abstains || term === null || term <= this.#abstainsThrough) return;
    if (index < this.#abstainsTo) return;
    this.#abstainsThrough = 0;
    this.#abstainsTo = 0;
    this.#saveHardState();
    this.#votesAgainSequence = this.durability.sequenceFor(0);
    this.events.push({ kind: "votesAgain", term: this.#currentTerm });
  }

  #saveHardState(): void {
    this.durability.saveHardState({
      currentTerm: this.#currentTerm,
      votedFor: this.#votedFor,
      abstainsThrough: this.#abstainsThrough,
      ...(this.#abstainsTo === 0 ? {} : { abstainsTo: this.#abstainsTo }),
    });
  }

  /** "If RPC request or response contains term T > currentTerm: set currentTerm = T, convert to follower." */
  stepDown(term: Term, reason: StepDownReason): void {
    if (term > this.#currentTerm) this.enterTerm(term);
    // A leader's election timer stands still; everyone else's goes on (a mere higher term is no sign of life).
    if (this.role.kind === "leader") {
      this.resetElectionTimer();
      this.reads.push(...this.role.reads.abandon());
    }
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
    this.durability.append(entries);
    this.#changeConfiguration(() => this.configurations.append(entries));
  }

  truncate(from: LogIndex): void {
    assert(from > this.#commitIndex, `entry ${from} is committed (${this.#commitIndex})`);
    assert(this.role.kind !== "leader", "a leader never removes entries");
    this.events.push({ kind: "truncated", from, lastIndex: this.log.lastIndex });
    this.log.truncate(from);
    this.durability.truncate(from);
    this.#changeConfiguration(() => this.configurations.truncate(from));
  }

  commitTo(index: LogIndex): void {
    assert(index <= this.log.lastIndex, `commit index ${index} is past the log's end`);
    this.#commitIndex = Math.max(this.#commitIndex, index);
  }

  /** A snapshot of this server's own state, newer than the last; what it stands for may go up to `through`. */
  compact(snapshot: SnapshotPosition, through: LogIndex): void {
    this.#snapshot = snapshot;
    this.log.compact(through);
    this.durability.compact(snapshot, through);
    this.configurations.compact(snapshot.index);
    this.events.push({ kind: "compacted", through, snapshotIndex: snapshot.index });
  }

  /** A leader's snapshot takes the place of the state and the whole log. */
  install(snapshot: SnapshotPosition, configuration: Configuration): void {
    assert(
      snapshot.index > this.#commitIndex,
      `snapshot ${snapshot.index} goes back behind ${this.#commitIndex}`,
    );
    assert(this.role.kind === "follower", `a ${this.role.kind} installs nothing`);
    this.durability.install(snapshot, this.#commitIndex);
    this.log.reset(snapshot);
    this.#snapshot = snapshot;
    this.#commitIndex = snapshot.index;
    this.toInstall = snapshot;
    this.events.push({ kind: "installed", ...snapshot });
    this.#changeConfiguration(() => this.configurations.reset(snapshot.index, configuration));
  }

  #changeConfiguration(change: () => void): void {
    const before = this.configurations.latest;
    change();
    const { latest: configuration, latestIndex: index } = this.configurations;
    if (configuration !== before) this.events.push({ kind: "configurationChanged", index, configuration });
  }

  send(to: ServerId, request: Request<C>): void {
    this.requests.push({ to, request });
  }

  /** Answers once term, vote and the log up to `logIndex` (0: whatever the log holds) are durable. */
  replyWhenDurable(rpc: RpcId, reply: Reply, logIndex: LogIndex = 0): void {
    this.#answer({ rpc, reply, afterSequence: this.durability.sequenceFor(logIndex) });
  }

  /** Releases the replies whose time has come. */
  releaseReplies(): void {
    const held = this.#held;
    this.#held = [];
    for (const waiting of held) this.#answer(waiting);
  }

  /**
   * Now or later. A reply of a term that has passed grants nothing any more: what it would have claimed may have
   * been truncated since. And while the disk is full nobody waits for it, so that heartbeats are answered and a
   * sender who tries again and again piles up nothing here.
   */
  #answer(waiting: HeldReply): void {
    const { rpc, reply, afterSequence } = waiting;
    if (reply.term !== this.#currentTerm) this.replyWhenDurable(rpc, this.#refusal(reply));
    else if (this.durability.isPersisted(afterSequence)) this.replies.push({ rpc, reply });
    else if (this.diskFull && this.durability.hardStateIsDurable) {
      this.replies.push({ rpc, reply: this.#refusal(reply) });
    } else this.#held.push(waiting);
  }

  #refusal({ kind }: Reply): Reply {
    const term = this.#currentTerm;
    switch (kind) {
      case "requestVoteReply":
        return { kind, term, voteGranted: false };
      case "appendEntriesReply":
        return { kind, term, success: false, conflict: null, diskFull: this.diskFull };
      case "installSnapshotReply":
      case "timeoutNowReply":
        return { kind, term, success: false };
      default:
        return unreachable(kind);
    }
  }
}
