/**
 * One server under test, driven by hand as a driver would: every call is one turn that feeds its inputs
 * and takes the batch. The disk completes nothing by itself (`persist`). After each turn the invariants of
 * one server are checked, and that nothing which left claims more than the disk holds.
 */
import { assert, defined, unreachable } from "../../src/base/assert.ts";
import type { Batch, OutgoingReply, OutgoingRequest, ReadId, RpcId } from "../../src/raft/batch.ts";
import {
  type Configuration,
  type ConfigurationChange,
  initialConfiguration,
} from "../../src/raft/configuration.ts";
import type { Entry, LogIndex, ServerId, Term } from "../../src/raft/entry.ts";
import type { RaftEvent } from "../../src/raft/event.ts";
import type { HardState } from "../../src/raft/hard-state.ts";
import { stateViolations, stepViolations } from "../../src/raft/invariants.ts";
import type { ChangeResult } from "../../src/raft/membership.ts";
import type { Reply, Request } from "../../src/raft/message.ts";
import type { RaftOptions } from "../../src/raft/options.ts";
import { type FollowerStatus, Raft, type RaftStatus } from "../../src/raft/raft.ts";
import { ORIGIN, type SnapshotPosition } from "../../src/raft/snapshot-position.ts";
import type { TransferResult } from "../../src/raft/transfer.ts";
import { accepted, command, installReply, testOptions, voteReply } from "./raft-values.ts";
import type { SeededRandom } from "./random.ts";
import { TestDisk } from "./test-disk.ts";

/** Server 0 of 0, 1, 2 in its log's last term, with an empty log and no vote, unless it says otherwise. */
export interface ServerSpec {
  readonly id?: ServerId;
  readonly voters?: readonly ServerId[];
  /** Instead of `voters`; as of `base`. */
  readonly configuration?: Configuration;
  /** Its snapshot, where the log begins; what `log` holds follows it. */
  readonly base?: SnapshotPosition;
  readonly log?: readonly Entry<string>[];
  readonly term?: Term;
  readonly votedFor?: ServerId;
  /** Instead of `term` and `votedFor`. */
  readonly hardState?: HardState;
  readonly options?: Partial<RaftOptions>;
}

export class TestServer {
  readonly id: ServerId;
  readonly disk: TestDisk;
  /** What it sent and nobody has taken, oldest first. */
  outbox: OutgoingRequest<string>[] = [];
  readonly replies = new Map<RpcId, Reply>();
  readonly events: RaftEvent[] = [];
  /** The state machine is at this entry: by its snapshot, and what was handed out since. */
  appliedIndex: LogIndex;
  /** What it has handed out since it started. */
  committed: Entry<string>[] = [];
  batches: Batch<string>[] = [];
  /** What became of its reads. */
  readonly readIndices = new Map<ReadId, LogIndex | null>();
  /** How often its disk was filled up while it led. */
  timesFullAsLeader = 0;

  readonly #options: RaftOptions;
  #raft: Raft<string>;
  #requests = new Map<RpcId, Request<string>>();
  #nextRpc = 1;
  /** Reads that wait, with what each must at least see. */
  #reads = new Map<ReadId, LogIndex>();
  #nextRead = 1;

  constructor(spec: ServerSpec = {}) {
    const { id = 0, voters = [0, 1, 2], log = [], votedFor = null, base = ORIGIN } = spec;
    this.id = id;
    this.#options = { ...testOptions(id), ...spec.options };
    const currentTerm = spec.term ?? log.at(-1)?.term ?? base.term;
    const hardState = spec.hardState ?? { currentTerm, votedFor, abstainsThrough: 0 };
    const configuration = spec.configuration ?? initialConfiguration(voters);
    this.disk = new TestDisk({ hardState, log: { base, entries: log }, snapshot: base, configuration });
    this.appliedIndex = base.index;
    this.#raft = this.#start();
  }

  get followers(): readonly FollowerStatus[] | null {
    return this.#raft.followers();
  }

  get status(): RaftStatus {
    return this.#raft.status();
  }

  /** What is left of it after its snapshot, or before. */
  get log(): readonly Entry<string>[] {
    const { firstLogIndex, lastLogIndex } = this.status;
    const length = lastLogIndex - firstLogIndex + 1;
    return Array.from({ length }, (_, i) => this.#raft.entryAt(firstLogIndex + i));
  }

  /** The terms of its log, as the figures of the paper draw it. */
  get terms(): readonly Term[] {
    return this.log.map(({ term }) => term);
  }

  /** As Raft.termAt. */
  termAt(index: LogIndex): Term | null {
    return this.#raft.termAt(index);
  }

  entryAt(index: LogIndex): Entry<string> {
    return this.#raft.entryAt(index);
  }

  /** One turn: all inputs that waited, then the batch. */
  turn<T>(inputs: (raft: Raft<string>) => T): T {
    const before = this.status;
    const result = inputs(this.#raft);
    do {
      this.#obey(this.#raft.takeBatch());
    } while (this.#raft.hasMore);
    const after = this.status;
    const [violation] = [
      ...stateViolations(after, (index) => this.#raft.termAt(index)),
      ...stepViolations(before, after),
    ];
    assert(violation === undefined, `server ${this.id}: ${violation}`);
    const answered = after.role === "leader" || this.#reads.size === 0;
    assert(answered, `server ${this.id}: a ${after.role} keeps reads waiting`);
    return result;
  }

  tick(ticks = 1): void {
    for (let i = 0; i < ticks; i += 1) this.turn((raft) => raft.tick());
  }

  ask(request: Request<string>): RpcId {
    return this.turn((raft) => this.feed(raft, request));
  }

  /** `ask` for use within a turn. */
  feed(raft: Raft<string>, request: Request<string>): RpcId {
    const rpc = this.#nextRpc;
    this.#nextRpc += 1;
    this.#requests.set(rpc, request);
    if (request.kind === "installSnapshot") {
      this.disk.received.set(request.snapshot.index, request.configuration);
    }
    raft.handleRequest(rpc, request);
    return rpc;
  }

  /** Asks, lets the disk finish, and returns the answer. */
  answerTo(request: Request<string>): Reply {
    const rpc = this.ask(request);
    this.persist();
    return defined(this.replies.get(rpc), "an answer when all is durable");
  }

  receive(from: ServerId, request: Request<string>, reply: Reply): void {
    this.turn((raft) => raft.handleReply(from, request, reply));
  }

  lose(to: ServerId, request: Request<string>): void {
    this.turn((raft) => raft.handleLost(to, request));
  }

  /** Proposes in one turn; false when it does not lead. */
  propose(...commands: readonly string[]): boolean {
    return this.turn((raft) => commands.every((text) => raft.propose(command(text)).kind === "accepted"));
  }

  change(change: ConfigurationChange): ChangeResult {
    return this.turn((raft) => raft.changeConfiguration(change));
  }

  transfer(to: ServerId | null = null): TransferResult {
    return this.turn((raft) => raft.transferLeadership(to));
  }

  /**
   * Asks for a read that must see the log at least up to `floor` (what this server knows to be committed, by default):
   * its number in readIndices, or null when it does not lead.
   */
  read(floor: LogIndex = this.status.commitIndex): ReadId | null {
    const read = this.#nextRead;
    this.#nextRead += 1;
    return this.turn((raft) => {
      if (raft.read(read).kind !== "accepted") return null;
      this.#reads.set(read, floor);
      return read;
    });
  }

  /** A snapshot of its state at `index` (now, by default) is finished; entries up to `through` may go. */
  compact(through: LogIndex, index: LogIndex = this.appliedIndex): boolean {
    // What has gone from the log is behind a snapshot: any term will do.
    const term = this.termAt(index) ?? 1;
    return this.turn((raft) => raft.compact({ index, term }, through));
  }

  /** From now on its writes wait, and it knows why. */
  fillDisk(): void {
    this.disk.full = true;
    if (this.status.role === "leader") this.timesFullAsLeader += 1;
    this.turn((raft) => raft.setDiskFull(true));
  }

  /** There is room again: what waits can become durable, and the server learns of that when it has. */
  makeRoom(): void {
    this.disk.full = false;
    this.persist();
    this.turn((raft) => raft.setDiskFull(false));
  }

  /** Makes the `count` oldest groups durable (all, and what follows from them, by default), if there is room. */
  persist(count?: number): void {
    while (this.disk.canComplete) {
      const sequence = this.disk.complete(count ?? this.disk.pendingCount);
      this.turn((raft) => raft.persisted(sequence));
      if (count !== undefined) return;
    }
  }

  /** Takes what it sent since it was last asked. */
  takeSent(): readonly OutgoingRequest<string>[] {
    return this.outbox.splice(0);
  }

  /** Waits, is elected by all the others, and has persisted its no-op. What it then sent is in the outbox. */
  elect(): this {
    for (let ticks = 0; this.status.role === "follower" && ticks < 100; ticks += 1) this.tick();
    for (const round of ["pre-vote", "vote"]) {
      for (const { to, request } of this.takeSent()) {
        assert(request.kind === "requestVote", `a ${request.kind} in the ${round}`);
        if (this.status.role !== "leader") this.receive(to, request, voteReply(request.term, true));
      }
      this.persist();
    }
    assert(this.status.role === "leader", "nobody voted against it");
    return this;
  }

  /** Elected as by `elect`, and every follower has its whole log. */
  lead(): this {
    this.elect();
    this.acceptAll();
    return this;
  }

  /** Every follower (or these) accepts what is under way, until nothing more comes; returns what that was. */
  acceptAll(...followers: readonly ServerId[]): readonly OutgoingRequest<string>[] {
    const all: OutgoingRequest<string>[] = [];
    while (this.outbox.length > 0) {
      const sent = this.takeSent();
      all.push(...sent);
      for (const { to, request } of sent) {
        if (followers.length > 0 && !followers.includes(to)) this.lose(to, request);
        else if (request.kind === "appendEntries") this.receive(to, request, accepted(request.term));
        else if (request.kind === "installSnapshot")
          this.receive(to, request, installReply(request.term, true));
      }
    }
    return all;
  }

  /** The process is killed and started again. Without `random`, what was not durable is gone. */
  restart(random?: SeededRandom): void {
    this.disk.crash(random);
    this.disk.full = false;
    this.outbox = [];
    this.committed = [];
    this.appliedIndex = this.disk.snapshot.index;
    this.#requests = new Map();
    this.#reads = new Map();
    this.#raft = this.#start();
  }

  #start(): Raft<string> {
    return new Raft(this.#options, this.disk.recovered);
  }

  #obey(batch: Batch<string>): void {
    this.batches.push(batch);
    this.events.push(...batch.events);
    for (const outgoing of batch.requests) {
      this.#checkRequest(outgoing);
      this.outbox.push(outgoing);
    }
    for (const outgoing of batch.replies) {
      this.#checkReply(outgoing);
      this.replies.set(outgoing.rpc, outgoing.reply);
    }
    for (const { read, readIndex } of batch.reads) {
      const floor = defined(this.#reads.get(read), `read ${read}, which waits no more`);
      this.#reads.delete(read);
      this.readIndices.set(read, readIndex);
      const fresh = readIndex === null || readIndex >= floor;
      assert(fresh, `server ${this.id}: a stale read at ${readIndex}, after ${floor} was committed`);
    }
    if (batch.persist !== null) this.disk.write(batch.persist);
    if (batch.install !== null) {
      assert(batch.install.index > this.appliedIndex, `snapshot ${batch.install.index} moves it back`);
      this.appliedIndex = batch.install.index;
    }
    for (const entry of batch.committed) {
      assert(entry.index === this.appliedIndex + 1, `entry ${entry.index} is handed out of order`);
      this.committed.push(entry);
      this.appliedIndex = entry.index;
    }
  }

  /** Raft figure 2: a vote, and the term it is given in, are durable before anyone hears of them. */
  #checkVote(term: Term, candidate: ServerId): void {
    const { currentTerm, votedFor } = this.disk.hardState;
    const durable = currentTerm === term && votedFor === candidate;
    assert(durable, `server ${this.id}: vote for ${candidate} in ${term} left before it was durable`);
  }

  #checkRequest({ request }: OutgoingRequest<string>): void {
    if (request.kind === "requestVote" && !request.preVote) this.#checkVote(request.term, this.id);
  }

  #checkReply({ rpc, reply }: OutgoingReply): void {
    const request = defined(this.#requests.get(rpc), `an answer to rpc ${rpc}, which nobody asked`);
    this.#requests.delete(rpc);
    if (request.kind === "requestVote" && request.preVote) return;
    const termIsDurable = reply.term <= this.disk.hardState.currentTerm;
    assert(termIsDurable, `server ${this.id}: it answered in term ${reply.term} before that was durable`);
    if (request.kind === "requestVote") {
      assert(reply.kind === "requestVoteReply", "answers match");
      if (reply.voteGranted) this.#checkVote(request.term, request.candidateId);
      return;
    }
    if (request.kind === "timeoutNow") return;
    assert(reply.kind === `${request.kind}Reply` && reply.kind !== "requestVoteReply", "answers match");
    if (!reply.success) return;
    for (const position of claimedBy(request)) {
      const durable = position.index === 0 || this.disk.holds(position);
      assert(durable, `server ${this.id}: entry ${position.index} was acknowledged before it was durable`);
    }
  }
}

/** What a success says to be durable on the follower. */
function claimedBy(
  request: Exclude<Request<string>, { kind: "requestVote" | "timeoutNow" }>,
): readonly SnapshotPosition[] {
  switch (request.kind) {
    case "appendEntries":
      return [{ index: request.prevLogIndex, term: request.prevLogTerm }, ...request.entries];
    case "installSnapshot":
      return [request.snapshot];
    default:
      return unreachable(request);
  }
}
