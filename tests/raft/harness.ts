/**
 * One server under test, driven by hand as a driver would: every call is one turn that feeds its inputs
 * and takes the batch. The disk completes nothing by itself (`persist`). After each turn the invariants of
 * one server are checked, and that nothing which left claims more than the disk holds.
 */
import { assert, defined } from "../../src/base/assert.ts";
import type { Batch, OutgoingReply, OutgoingRequest, RpcId } from "../../src/raft/batch.ts";
import type { Entry, ServerId, Term } from "../../src/raft/entry.ts";
import type { RaftEvent } from "../../src/raft/event.ts";
import { stateViolations, stepViolations } from "../../src/raft/invariants.ts";
import type { Reply, Request } from "../../src/raft/message.ts";
import type { RaftOptions } from "../../src/raft/options.ts";
import { Raft, type RaftStatus } from "../../src/raft/raft.ts";
import { accepted, command, testOptions, voteReply } from "./raft-values.ts";
import type { SeededRandom } from "./random.ts";
import { TestDisk } from "./test-disk.ts";

/** Server 0 of 0, 1, 2 in its log's last term, with an empty log and no vote, unless it says otherwise. */
export interface ServerSpec {
  readonly id?: ServerId;
  readonly voters?: readonly ServerId[];
  readonly log?: readonly Entry<string>[];
  readonly term?: Term;
  readonly votedFor?: ServerId;
  readonly options?: Partial<RaftOptions>;
}

export class TestServer {
  readonly id: ServerId;
  readonly disk: TestDisk;
  /** What it sent and nobody has taken, oldest first. */
  outbox: OutgoingRequest<string>[] = [];
  readonly replies = new Map<RpcId, Reply>();
  readonly events: RaftEvent[] = [];
  /** What it has handed out since it started. */
  committed: Entry<string>[] = [];
  batches: Batch<string>[] = [];

  readonly #options: RaftOptions;
  #raft: Raft<string>;
  #requests = new Map<RpcId, Request<string>>();
  #nextRpc = 1;

  constructor(spec: ServerSpec = {}) {
    const { id = 0, voters = [0, 1, 2], log = [], votedFor = null } = spec;
    this.id = id;
    this.#options = { ...testOptions(id, voters), ...spec.options };
    this.disk = new TestDisk({ currentTerm: spec.term ?? log.at(-1)?.term ?? 0, votedFor }, log);
    this.#raft = this.#start();
  }

  get status(): RaftStatus {
    return this.#raft.status();
  }

  get log(): readonly Entry<string>[] {
    return Array.from({ length: this.status.lastLogIndex }, (_, i) => this.#raft.entryAt(i + 1));
  }

  /** The terms of its log, as the figures of the paper draw it. */
  get terms(): readonly Term[] {
    return this.log.map(({ term }) => term);
  }

  entryAt(index: number): Entry<string> {
    return this.#raft.entryAt(index);
  }

  /** One turn: all inputs that waited, then the batch. */
  turn<T>(inputs: (raft: Raft<string>) => T): T {
    const before = this.status;
    const result = inputs(this.#raft);
    do {
      this.#obey(this.#raft.takeBatch());
    } while (this.#raft.hasMoreCommitted);
    const after = this.status;
    const termAt = (index: number) => this.#raft.entryAt(index).term;
    const [violation] = [...stateViolations(after, termAt), ...stepViolations(before, after)];
    assert(violation === undefined, `server ${this.id}: ${violation}`);
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

  /** Makes the `count` oldest groups durable (all, and what follows from them, by default). */
  persist(count?: number): void {
    while (this.disk.pendingCount > 0) {
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
      }
    }
    return all;
  }

  /** The process is killed and started again. Without `random`, what was not durable is gone. */
  restart(random?: SeededRandom): void {
    this.disk.crash(random);
    this.outbox = [];
    this.committed = [];
    this.#requests = new Map();
    this.#raft = this.#start();
  }

  #start(): Raft<string> {
    return new Raft(this.#options, this.disk.hardState, this.disk.entries);
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
    if (batch.persist !== null) this.disk.write(batch.persist);
    for (const entry of batch.committed) {
      assert(entry.index === this.committed.length + 1, `entry ${entry.index} is handed out of order`);
      this.committed.push(entry);
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
    if (request.kind === "requestVote" && reply.kind === "requestVoteReply") {
      if (reply.voteGranted) this.#checkVote(request.term, request.candidateId);
      return;
    }
    assert(request.kind === "appendEntries" && reply.kind === "appendEntriesReply", "answers match");
    if (!reply.success) return;
    for (const { index, term } of [
      { index: request.prevLogIndex, term: request.prevLogTerm },
      ...request.entries,
    ]) {
      const durable = index === 0 || this.disk.entries[index - 1]?.term === term;
      assert(durable, `server ${this.id}: entry ${index} was acknowledged before it was durable`);
    }
  }
}
