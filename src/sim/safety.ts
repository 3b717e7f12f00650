/**
 * The safety properties of Raft (figure 3), and what RaftKV promises beyond them, checked after every
 * event. This sees all servers at once, which none of them can. It keeps its own idea of what was
 * committed, durable, voted and applied, and compares; it asks nobody whether it is right.
 */
import { writesOf, type Command } from "../kv/command.ts";
import type { PutResult } from "../kv/state-machine.ts";
import type { PeerReply, PeerRequest } from "../node/peer-message.ts";
import type { Persist } from "../raft/batch.ts";
import { isSameConfiguration, type Configuration } from "../raft/configuration.ts";
import type { Entry, LogIndex, ServerId, Term } from "../raft/entry.ts";
import type { HardState } from "../raft/hard-state.ts";
import { stateViolations, stepViolations, type TermAt } from "../raft/invariants.ts";
import { hasMajority } from "../raft/quorum.ts";
import type { TimeoutNow } from "../raft/message.ts";
import type { RaftStatus } from "../raft/raft.ts";
import type { SnapshotPosition } from "../raft/snapshot-position.ts";
import type { Recovered } from "../storage/store.ts";
import { DurableModel } from "./durable-model.ts";
import { ExpectedResults } from "./expected-results.ts";
import { KnownConfigurations, type ReadableLog } from "./known-configurations.ts";
import { MembershipSafety } from "./membership-safety.ts";
import { ReferenceMachine, type MachineSizes } from "./reference-machine.ts";
import type { Swarm } from "./swarm.ts";
import { require, Violation } from "./violation.ts";
import { VoteSafety } from "./vote-safety.ts";

/** What may be asked of a server that is checked. */
export interface Checked extends ReadableLog {
  status(): RaftStatus;
}

/** What of a swarm bounds messages. */
export type SizeLimits = Pick<Swarm, "maxBatchEntries" | "snapshot">;

interface Applied {
  readonly command: Command;
  readonly result: PutResult["kind"];
}

export interface SafetyOptions {
  /** Who the cluster is created with. */
  readonly founders: Configuration;
  readonly machine: MachineSizes;
}

export class Safety {
  /** Who belongs to the cluster, as the logs tell. */
  readonly configurations: KnownConfigurations;
  readonly #membership: MembershipSafety;
  readonly votes: VoteSafety;
  readonly #durable = new Map<ServerId, DurableModel>();
  readonly #before = new Map<ServerId, RaftStatus>();
  readonly #leaders = new Map<Term, ServerId>();
  /** By index and term: what stands there, and the term before it. */
  readonly #entries = new Map<string, { readonly entry: Entry<Command>; readonly previousTerm: Term }>();
  /** By index - 1. */
  readonly #committed: Entry<Command>[] = [];
  /** In which term each of them was committed; whoever sees it first is the leader that did it. Never falls. */
  readonly #committedIn: Term[] = [];
  readonly #applied: (Applied | null)[] = [];
  readonly #reference: ReferenceMachine;
  readonly #expected: ExpectedResults;
  /** Where in the log each value was first written. */
  readonly #values = new Map<string, LogIndex>();
  /** Every write that a client has been told of stands here or before. */
  #acknowledged: LogIndex = 0;

  constructor({ founders, machine }: SafetyOptions) {
    this.configurations = new KnownConfigurations(founders);
    this.#membership = new MembershipSafety(this.configurations, (id) => this.durable(id));
    this.votes = new VoteSafety((id) => this.durable(id), this.#committed);
    this.#reference = new ReferenceMachine(machine);
    this.#expected = new ExpectedResults(machine);
  }

  get committed(): number {
    return this.#committed.length;
  }

  durable(id: ServerId): DurableModel {
    const known = this.#durable.get(id) ?? new DurableModel();
    this.#durable.set(id, known);
    return known;
  }

  /** `damaged`: somebody has been at the files of `id`. */
  recovered(id: ServerId, recovered: Recovered, damaged: boolean): void {
    this.#before.delete(id);
    this.votes.started(id);
    this.durable(id).recovered(recovered, damaged);
    const { members: configuration, membersFrom: index = 0 } = recovered.identity;
    this.configurations.starts(id, { index, configuration });
    const { snapshot } = recovered;
    if (snapshot === null) return;
    this.#checkPosition(id, snapshot.info.position);
    this.#checkConfiguration(id, snapshot.info.position, snapshot.configuration);
  }

  /** The disk of `id` is lost, and its files are made anew. */
  madeAnew(id: ServerId, hardState: HardState): void {
    this.configurations.forget(id);
    this.durable(id).madeAnew(hardState);
  }

  /**
   * `id`, which belongs to no configuration that counts, has lost its files, and begins as a new server. Up to
   * `committed` everything was committed by then.
   */
  begunAnew(id: ServerId, hardState: HardState, committed: LogIndex): void {
    this.configurations.forget(id);
    this.votes.begunAnew(id, committed);
    this.#durable.set(id, new DurableModel(hardState));
  }

  /** `id` has written a snapshot of its own state. */
  snapshot(id: ServerId, position: SnapshotPosition, digest: string): void {
    this.state(id, position.index, digest);
  }

  /** `id` has the state that a snapshot of `index` holds: it is what every entry up to there leads to. */
  state(id: ServerId, index: LogIndex, digest: string): void {
    const expected = this.#reference.digestAt(index);
    require("State Machine Safety", digest === expected, () => {
      return `server ${id}: snapshot ${index} is not the state after entry ${index}`;
    });
  }

  /** `id` begins to write, or to take over, a snapshot of that position that says who belongs to the cluster. */
  snapshotOf(id: ServerId, position: SnapshotPosition, configuration: Configuration): void {
    this.#checkPosition(id, position);
    this.#checkConfiguration(id, position, configuration);
  }

  #checkConfiguration(id: ServerId, { index }: SnapshotPosition, configuration: Configuration): void {
    const expected = this.configurations.committedAt(index);
    require("Membership", isSameConfiguration(configuration, expected), () => {
      return `server ${id}: the members in snapshot ${index} are ${JSON.stringify(configuration)}, not ${JSON.stringify(expected)}`;
    });
  }

  #checkPosition(id: ServerId, { index, term }: SnapshotPosition): void {
    const committed = this.#committed[index - 1];
    require("State Machine Safety", committed?.term === term, () => {
      return `server ${id} has a snapshot of entry ${index} of term ${term}; committed there: ${committed === undefined ? "nothing" : `term ${committed.term}`}`;
    });
  }

  /** A group goes to the disk of `id`; `previousTerm` is the term in front of what it appends. */
  persisting(id: ServerId, persist: Persist<Command>, checked: Checked): void {
    this.votes.persisting(id, persist.hardState);
    this.durable(id).started(persist);
    for (const write of persist.writes) {
      if (write.kind === "append") for (const entry of write.entries) this.#checkLogMatching(entry, checked);
    }
  }

  /** Log Matching, by induction: an entry is known by index and term, and so is the one before it. */
  #checkLogMatching(entry: Entry<Command>, checked: Checked): void {
    const { index, term, payload } = entry;
    // The log may have been truncated or compacted since the group was made; then this is checked on the other servers.
    const { firstLogIndex, lastLogIndex } = checked.status();
    if (index < firstLogIndex || index > lastLogIndex || checked.entryAt(index) !== entry) return;
    const previousTerm = checked.termAt(index - 1) ?? 0;
    const name = `${index}/${term}`;
    const known = this.#entries.get(name);
    if (known === undefined) this.#entries.set(name, { entry, previousTerm });
    else {
      const same = known.previousTerm === previousTerm && samePayload(known.entry, entry);
      require("Log Matching", same, () =>
        `two logs differ at or before index ${index}, term ${term} (${payload.kind})`);
    }
  }

  /** `id` is about to send a request. It asks for votes only when its own is durable. */
  sending(id: ServerId, request: PeerRequest, { maxBatchEntries, snapshot }: SizeLimits): void {
    switch (request.kind) {
      case "requestVote":
        this.votes.voting(id, request, id);
        return;
      case "appendEntries":
        require("Bounded queues", request.entries.length <= maxBatchEntries, () => {
          return `server ${id} sends ${request.entries.length} entries at once, allowed are ${maxBatchEntries}`;
        });
        return;
      case "snapshotChunk":
        require("Bounded queues", request.data.length <= snapshot.maxChunkBytes, () => {
          return `server ${id} sends ${request.data.length} bytes at once, allowed are ${snapshot.maxChunkBytes}`;
        });
        return;
      case "timeoutNow":
      case "readIndex":
        return;
    }
  }

  /** A leader asked a server to stand: in its own term, or not at all. */
  askedToStand({ term }: TimeoutNow, before: RaftStatus, after: RaftStatus): void {
    const stands = after.role === "candidate" && before.role !== "candidate";
    require("Transfer", !stands || term === before.currentTerm, () => {
      return `server ${after.id} was in term ${before.currentTerm} and stands as the leader of term ${term} asked it to`;
    });
  }

  /** `id` asks `to` to take over: that has everything, and so can win (dissertation §3.10). */
  handingOver(id: ServerId, to: ServerId, { lastLogIndex }: RaftStatus, log: ReadableLog): void {
    const term = log.termAt(lastLogIndex) ?? 0;
    require("Transfer", this.durable(to).held(lastLogIndex, term), () => {
      return `server ${id} asks server ${to} to take over, which lacks entry ${lastLogIndex} of term ${term}`;
    });
  }

  /**
   * `id` is about to send a reply. It claims only what is durable; or, when a later term has begun in the
   * very turn in which the reply became due, what was: the network might have delayed it as well.
   */
  replying(id: ServerId, request: PeerRequest, reply: PeerReply, currentTerm: Term): void {
    if (request.kind === "requestVote" && reply.kind === "requestVoteReply") {
      if (!reply.voteGranted) return;
      this.votes.voting(id, request, request.candidateId);
    } else if (request.kind === "appendEntries" && reply.kind === "appendEntriesReply" && reply.success) {
      const last = request.prevLogIndex + request.entries.length;
      const term = request.entries.at(-1)?.term ?? request.prevLogTerm;
      this.#checkAcknowledged(id, { index: last, term }, reply.term < currentTerm);
    } else if (request.kind === "snapshotChunk" && reply.kind === "snapshotChunkReply" && reply.installed) {
      this.#checkAcknowledged(id, request.info.position, reply.term < currentTerm);
    }
  }

  /** Everything up to `last` is said to be here. `overtaken`: a later term has begun since it became due. */
  #checkAcknowledged(id: ServerId, last: SnapshotPosition, overtaken: boolean): void {
    const { index, term } = last;
    const model = this.durable(id);
    const holds = model.holds(index, term) || (overtaken && model.wasDurable(index, term));
    require("Acknowledged is durable", holds, () => {
      return `server ${id} acknowledged entry ${index} of term ${term}; durable there: ${model.termAt(index) ?? "nothing"}`;
    });
    // Where only a snapshot stands for the entry, its term is the one that was committed.
    const committed = this.#committed[index - 1]?.term ?? term;
    require("Acknowledged is durable", model.termAt(index) === term ||
      overtaken ||
      committed === term, () => {
      return `server ${id} acknowledged entry ${index} of term ${term}, which was committed in term ${committed}`;
    });
  }

  /** Something ran in server `id`, of which this is the status now. */
  stepped(id: ServerId, checked: Checked): RaftStatus {
    const status = checked.status();
    const before = this.#before.get(id);
    // Mostly nothing has changed, and nothing is to be checked.
    if (before === undefined || !isUnchanged(before, status)) this.#checkStep(before, status, checked);
    return status;
  }

  #checkStep(before: RaftStatus | undefined, status: RaftStatus, checked: Checked): void {
    const { id } = status;
    const termAt: TermAt = (index) => checked.termAt(index);
    fail("Server state", id, stateViolations(status, termAt));
    if (before !== undefined) fail("Step", id, stepViolations(before, status));
    this.#before.set(id, status);
    this.configurations.look(id, status, checked);
    if (
      status.role === "leader" &&
      (before?.role !== "leader" || before.currentTerm !== status.currentTerm)
    ) {
      this.#checkNewLeader(id, status, checked);
    }
    if (before !== undefined) this.#checkCommitRule(id, before, status, termAt);
    for (let index = (before?.commitIndex ?? 0) + 1; index <= status.commitIndex; index += 1) {
      if (index >= status.firstLogIndex) this.#checkCommit(id, checked.entryAt(index), status);
      else this.#checkSkipped(id, index);
    }
    this.#membership.stepped(before, status);
  }

  #checkNewLeader(id: ServerId, status: RaftStatus, checked: Checked): void {
    const term = status.currentTerm;
    const other = this.#leaders.get(term);
    require("Election Safety", other === undefined || other === id, () => {
      return `servers ${other} and ${id} both lead term ${term}`;
    });
    this.#leaders.set(term, id);
    const voters = this.configurations.votersOf(id);
    const granted = voters.filter((voter) => this.votes.votedFor(voter, id, term));
    require("Election Safety", hasMajority(voters, new Set(granted)), () => {
      return `server ${id} leads term ${term} with the votes of [${granted.join()}] of [${voters.join()}]`;
    });
    // Stopped with the votes in its sockets, it may win its term long after a later one has committed more.
    const later = this.#committedIn.findIndex((inTerm) => inTerm >= term);
    const before = later < 0 ? this.#committed : this.#committed.slice(0, later);
    for (const entry of before) {
      const has = entry.index < status.firstLogIndex || checked.termAt(entry.index) === entry.term;
      require("Leader Completeness", has, () => {
        return `server ${id} leads term ${term} without entry ${entry.index} of term ${entry.term}, which was committed`;
      });
    }
  }

  /** R1: who leads commits by counting only what is of its own term (Raft §5.4.2). */
  #checkCommitRule(id: ServerId, before: RaftStatus, after: RaftStatus, termAt: TermAt): void {
    const { role, currentTerm, commitIndex } = after;
    const leads = role === "leader" && before.role === "leader" && before.currentTerm === currentTerm;
    if (!leads || commitIndex === before.commitIndex) return;
    require("Leader Completeness", termAt(commitIndex) === currentTerm, () => {
      return `server ${id} leads term ${currentTerm} and committed up to entry ${commitIndex} of term ${termAt(commitIndex)}`;
    });
  }

  /** E5: `id` has dealt with a message of this term. */
  heardOf(id: ServerId, term: Term, { currentTerm }: RaftStatus): void {
    require("Step", currentTerm >= term, () =>
      `server ${id} heard of term ${term} and stays in ${currentTerm}`);
  }

  /** Somebody asks for a linearizable read: what it must see at least, as an index of the log. */
  get acknowledged(): LogIndex {
    return this.#acknowledged;
  }

  /** L1 to L4: `id` serves a read, which sees everything that was acknowledged when it was asked for. */
  readServed(id: ServerId, asked: LogIndex, appliedIndex: LogIndex): void {
    require("Linearizable reads", appliedIndex >= asked, () => {
      return `server ${id} serves a read and has applied ${appliedIndex}; ${asked} was acknowledged before the read`;
    });
  }

  /** A snapshot stands for the entry: it was committed by others before. */
  #checkSkipped(id: ServerId, index: LogIndex): void {
    require("State Machine Safety", this.#committed[index - 1] !== undefined, () => {
      return `server ${id} has a snapshot that stands for entry ${index}, which nobody committed`;
    });
  }

  #checkCommit(id: ServerId, entry: Entry<Command>, { currentTerm }: RaftStatus): void {
    const { index, term } = entry;
    const known = this.#committed[index - 1];
    if (known !== undefined) {
      require("State Machine Safety", known.term === term && samePayload(known, entry), () => {
        return `server ${id} committed another entry ${index} (term ${term}, was ${known.term})`;
      });
      return;
    }
    this.#committed[index - 1] = entry;
    this.#committedIn[index - 1] = currentTerm;
    this.configurations.commit(entry);
    const voters = this.configurations.votersOf(id);
    const holders = voters.filter((voter) => this.durable(voter).held(index, term));
    require("Committed is durable on a quorum", hasMajority(voters, new Set(holders)), () => {
      return `server ${id} committed entry ${index} of term ${term} in term ${currentTerm}, durable on [${holders.join()}] of [${voters.join()}]`;
    });
  }

  /** Server `id` passed the entry at `index`, which carries no command. */
  skipped(index: LogIndex): void {
    this.#reference.skip(index);
  }

  /** Server `id` applied the command at `index`. */
  applied(id: ServerId, index: LogIndex, command: Command, result: PutResult): void {
    this.#reference.apply(index, command);
    const known = this.#applied[index - 1];
    if (known === undefined || known === null) {
      this.#applied[index - 1] = { command, result: result.kind };
      this.#checkOnce(index, command, result.kind);
      return;
    }
    require("State Machine Safety", sameCommand(known.command, command), () => {
      return `server ${id} applied another command at index ${index}`;
    });
    require("State Machine Safety", known.result === result.kind, () => {
      return `at index ${index} server ${id} said ${result.kind}, another one ${known.result}`;
    });
  }

  /** Clients here repeat a write only under its name. */
  #checkOnce(index: LogIndex, command: Command, result: PutResult["kind"]): void {
    const allowed = this.#expected.admit(index, command, result);
    require("Each request once", allowed.includes(result), () => {
      const words = [...writesOf(command).map(({ key, value }) => `${key} = ${value}`), ...namesOf(command)];
      return `entry ${index} (${words.join(", ")}) was ${result}, not ${allowed.join(" or ")}`;
    });
    if (result !== "applied") return;
    for (const { key, value } of writesOf(command)) {
      const earlier = this.#values.get(value);
      require("Each request once", earlier === undefined, () => {
        return `entry ${index} writes ${key} = ${value} again, as entry ${earlier} did`;
      });
      this.#values.set(value, index);
    }
  }

  /** How many frontends' sessions have expired. */
  get expiredSessions(): number {
    return this.#expected.expired;
  }

  /** A server tells a client that its write is done. */
  acknowledging(command: Command): void {
    for (const { key, value } of writesOf(command)) {
      const index = this.#values.get(value);
      require("Acknowledged is committed", index !== undefined, () => {
        return `a client is told that ${key} = ${value} is written, and no server has applied it`;
      });
      this.#acknowledged = Math.max(this.#acknowledged, index ?? 0);
    }
  }
}

function isUnchanged(before: RaftStatus, after: RaftStatus): boolean {
  return (
    before.lastLogIndex === after.lastLogIndex &&
    before.durableIndex === after.durableIndex &&
    before.commitIndex === after.commitIndex &&
    before.currentTerm === after.currentTerm &&
    before.votedFor === after.votedFor &&
    before.role === after.role &&
    before.firstLogIndex === after.firstLogIndex &&
    before.snapshotIndex === after.snapshotIndex &&
    before.noopIndex === after.noopIndex &&
    before.transferTo === after.transferTo &&
    before.configuration === after.configuration
  );
}

function fail(property: "Server state" | "Step", id: ServerId, violations: readonly string[]): void {
  const [first] = violations;
  if (first === undefined) return;
  throw new Violation(
    first.startsWith("Leader Append-Only") ? "Leader Append-Only" : property,
    `server ${id}: ${first}`,
  );
}

function samePayload(a: Entry<Command>, b: Entry<Command>): boolean {
  if (a.payload === b.payload) return true;
  if (a.payload.kind === "command" && b.payload.kind === "command") {
    return sameCommand(a.payload.command, b.payload.command);
  }
  if (a.payload.kind === "configuration" && b.payload.kind === "configuration") {
    return isSameConfiguration(a.payload.configuration, b.payload.configuration);
  }
  return a.payload.kind === b.payload.kind;
}

function sameCommand(a: Command, b: Command): boolean {
  if (a === b) return true;
  return a.kind === b.kind && isSameContent(a, b) && namesOf(a).join() === namesOf(b).join();
}

function isSameContent(a: Command, b: Command): boolean {
  const [writes, others] = [writesOf(a), writesOf(b)];
  if (writes.length !== others.length) return false;
  return writes.every(({ key, value }, at) => key === others[at]?.key && value === others[at].value);
}

/** Everything that a write is called. */
function namesOf({ request, routed }: Command): readonly string[] {
  return [
    ...(request === null ? [] : [`request ${request.clientId}/${request.requestId}`]),
    ...(routed === null ? [] : [`call ${Object.values(routed).join("/")}`]),
  ];
}
