/**
 * The safety properties of Raft (figure 3), and what RaftKV promises beyond them, checked after every
 * event. This sees all servers at once, which none of them can. It keeps its own idea of what was
 * committed, durable, voted and applied, and compares; it asks nobody whether it is right.
 */
import type { Command, PutCommand } from "../kv/command.ts";
import type { PutResult } from "../kv/state-machine.ts";
import type { PeerReply, PeerRequest } from "../node/peer-message.ts";
import type { Persist } from "../raft/batch.ts";
import type { Entry, LogIndex, ServerId, Term } from "../raft/entry.ts";
import type { HardState } from "../raft/hard-state.ts";
import { stateViolations, stepViolations, type TermAt } from "../raft/invariants.ts";
import { majority } from "../raft/quorum.ts";
import type { RaftStatus } from "../raft/raft.ts";
import type { SnapshotPosition } from "../raft/snapshot-position.ts";
import type { Recovered } from "../storage/store.ts";
import { DurableModel } from "./durable-model.ts";
import { READ_MARK_KEY } from "./read-mark.ts";
import { ReferenceMachine } from "./reference-machine.ts";
import type { Swarm } from "./swarm.ts";
import { require, Violation } from "./violation.ts";

/** What may be asked of a server that is checked. */
export interface Checked {
  status(): RaftStatus;
  /** From firstLogIndex to lastLogIndex. */
  entryAt(index: LogIndex): Entry<Command>;
  /** null: below the log, or past its end. */
  termAt(index: LogIndex): Term | null;
}

/** What of a swarm bounds messages. */
export type SizeLimits = Pick<Swarm, "maxBatchEntries" | "snapshot">;

interface Applied {
  readonly command: Command;
  readonly result: PutResult["kind"];
}

export class Safety {
  readonly #servers: number;
  readonly #durable = new Map<ServerId, DurableModel>();
  readonly #before = new Map<ServerId, RaftStatus>();
  readonly #leaders = new Map<Term, ServerId>();
  /** How much had been committed in earlier terms when the leader of a term was elected. */
  readonly #committedBefore = new Map<Term, LogIndex>();
  readonly #votes = new Map<string, ServerId>();
  /** By index and term: what stands there, and the term before it. */
  readonly #entries = new Map<string, { readonly entry: Entry<Command>; readonly previousTerm: Term }>();
  /** By index - 1. */
  readonly #committed: Entry<Command>[] = [];
  /** In which term each of them was committed; whoever sees it first is the leader that did it. Never falls. */
  readonly #committedIn: Term[] = [];
  readonly #applied: (Applied | null)[] = [];
  readonly #reference = new ReferenceMachine();
  readonly #names = new Set<string>();
  /** Who has caught up since its disk was lost, but for making that durable. */
  readonly #votingAgain = new Set<ServerId>();
  readonly #values = new Set<string>();

  constructor(servers: number) {
    this.#servers = servers;
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
    this.#votingAgain.delete(id);
    this.durable(id).recovered(recovered, damaged);
    const position = recovered.snapshot?.info.position;
    if (position !== undefined) this.#checkPosition(id, position);
  }

  /** The disk of `id` is lost, and its files are made anew. */
  madeAnew(id: ServerId, hardState: HardState): void {
    this.durable(id).madeAnew(hardState);
  }

  /** `id`, made anew, says that it has caught up. */
  votesAgain(id: ServerId): void {
    this.#votingAgain.add(id);
  }

  /** `id` has written a snapshot of its own state. */
  snapshot(id: ServerId, position: SnapshotPosition, digest: string): void {
    this.#checkPosition(id, position);
    this.state(id, position.index, digest);
  }

  /** `id` has the state that a snapshot of `index` holds: it is what every entry up to there leads to. */
  state(id: ServerId, index: LogIndex, digest: string): void {
    const expected = this.#reference.digestAt(index);
    require("State Machine Safety", digest === expected, () => {
      return `server ${id}: snapshot ${index} is not the state after entry ${index}`;
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
    this.#checkAbstention(id, persist);
    this.durable(id).started(persist);
    for (const write of persist.writes) {
      if (write.kind === "append") for (const entry of write.entries) this.#checkLogMatching(entry, checked);
    }
  }

  /** P9: a server that has lost its disk votes again only when it has all that its former self may have promised. */
  #checkAbstention(id: ServerId, { hardState }: Persist<Command>): void {
    const model = this.durable(id);
    const { abstainsThrough } = model.hardState;
    if (abstainsThrough === 0 || hardState === null) return;
    require("Abstention", hardState.abstainsThrough === 0 ||
      hardState.abstainsThrough === abstainsThrough, () => {
      return `server ${id} abstained through term ${abstainsThrough}, now through ${hardState.abstainsThrough}`;
    });
    if (hardState.abstainsThrough > 0) return;
    const caughtUp = this.#committed.some(
      ({ index, term }) => term > abstainsThrough && model.holds(index, term),
    );
    require("Abstention", caughtUp, () => {
      return `server ${id} votes again without a committed entry of a term after ${abstainsThrough}`;
    });
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
        this.#checkMayVote(id, request.preVote);
        if (!request.preVote) this.#checkVote(id, request.term, id);
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
    }
  }

  /**
   * `id` is about to send a reply. It claims only what is durable; or, when a later term has begun in the
   * very turn in which the reply became due, what was: the network might have delayed it as well.
   */
  replying(id: ServerId, request: PeerRequest, reply: PeerReply, currentTerm: Term): void {
    if (request.kind === "requestVote" && reply.kind === "requestVoteReply") {
      if (!reply.voteGranted) return;
      this.#checkMayVote(id, request.preVote);
      if (!request.preVote) this.#checkVote(id, request.term, request.candidateId);
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

  /**
   * P9: who has forgotten its votes neither votes nor stands for election, nor says that it would. What is
   * only said promises nothing, and need not wait until it is durable that it votes again.
   */
  #checkMayVote(id: ServerId, preVote: boolean): void {
    const abstains = this.durable(id).hardState.abstainsThrough > 0;
    require("Abstention", !abstains || (preVote && this.#votingAgain.has(id)), () => {
      return `server ${id} takes part in an election and has not caught up since its disk was lost`;
    });
  }

  #checkVote(id: ServerId, term: Term, candidate: ServerId): void {
    const name = `${id}/${term}`;
    const earlier = this.#votes.get(name);
    require("One vote a term", earlier === undefined || earlier === candidate, () => {
      return `server ${id} voted for ${earlier} and for ${candidate} in term ${term}`;
    });
    this.#votes.set(name, candidate);
    const { currentTerm, votedFor } = this.durable(id).hardState;
    const saved = currentTerm > term || (currentTerm === term && votedFor === candidate);
    require("Acknowledged is durable", saved, () => {
      return `server ${id} answered a vote in term ${term}; durable there: vote for ${votedFor} in term ${currentTerm}`;
    });
  }

  /** Something ran in server `id`. */
  stepped(id: ServerId, checked: Checked): void {
    const status = checked.status();
    const before = this.#before.get(id);
    // Mostly nothing has changed, and nothing is to be checked.
    if (before !== undefined && isUnchanged(before, status)) return;
    const termAt: TermAt = (index) => checked.termAt(index);
    fail("Server state", id, stateViolations(status, termAt));
    if (before !== undefined) fail("Step", id, stepViolations(before, status));
    this.#before.set(id, status);
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
  }

  #checkNewLeader(id: ServerId, status: RaftStatus, checked: Checked): void {
    const term = status.currentTerm;
    const other = this.#leaders.get(term);
    require("Election Safety", other === undefined || other === id, () => {
      return `servers ${other} and ${id} both lead term ${term}`;
    });
    this.#leaders.set(term, id);
    const votes = Array.from(
      { length: this.#servers },
      (_, voter) => this.#votes.get(`${voter}/${term}`) === id,
    );
    // Alone, it asks nobody.
    const count = this.#servers === 1 ? 1 : votes.filter(Boolean).length;
    require("Election Safety", count >= majority(this.#servers), () => {
      return `server ${id} leads term ${term} with ${count} votes of ${this.#servers}`;
    });
    // Stopped with the votes in its sockets, it may win its term long after a later one has committed more.
    const later = this.#committedIn.findIndex((inTerm) => inTerm >= term);
    const before = later < 0 ? this.#committed : this.#committed.slice(0, later);
    this.#committedBefore.set(term, before.length);
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

  /** R2: a leader that serves reads has applied whatever was committed before it. */
  serving(id: ServerId, term: Term, appliedIndex: LogIndex): void {
    const before = this.#committedBefore.get(term) ?? 0;
    require("Leader Completeness", appliedIndex >= before, () => {
      return `server ${id} leads term ${term} and serves reads; it has applied ${appliedIndex} of ${before} entries`;
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
    const holders = [...this.#durable.values()].filter((model) => model.held(index, term)).length;
    require("Committed is durable on a quorum", holders >= majority(this.#servers), () => {
      return `server ${id} committed entry ${index} of term ${term} in term ${currentTerm}, durable on ${holders} of ${this.#servers}`;
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

  /** Clients here repeat a write only under its name, reads aside: those repeat their marks. */
  #checkOnce(index: LogIndex, command: Command, result: PutResult["kind"]): void {
    const names = namesOf(command);
    const seen = names.some((name) => this.#names.has(name));
    require("Each request once", result === (seen ? "repeated" : "applied"), () => {
      return `entry ${index} (${names.join(", ")}) ${seen ? "repeats an applied write" : "is new"}, but was ${result}`;
    });
    for (const name of names) this.#names.add(name);
    const again = names.length === 0 && command.key !== READ_MARK_KEY && this.#values.has(command.value);
    require("Each request once", !again, () => {
      return `entry ${index} writes ${command.key} = ${command.value} again, which no client has asked for`;
    });
    this.#values.add(command.value);
  }

  /** A client was told that its write is done. */
  acknowledged(command: PutCommand): void {
    require("Acknowledged is committed", this.#values.has(command.value), () => {
      return `a client was told that ${command.key} = ${command.value} is written, and no server has applied it`;
    });
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
    before.noopIndex === after.noopIndex
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
  if (a.payload.kind === "noop" || b.payload.kind === "noop") return a.payload.kind === b.payload.kind;
  return sameCommand(a.payload.command, b.payload.command);
}

function sameCommand(a: Command, b: Command): boolean {
  if (a === b) return true;
  return a.key === b.key && a.value === b.value && namesOf(a).join() === namesOf(b).join();
}

/** A pair may be used for different writes, which are requests of their own. */
function namesOf({ key, value, request, routed }: Command): readonly string[] {
  return [
    ...(request === null ? [] : [`request ${request.clientId}/${request.requestId} ${key}=${value}`]),
    ...(routed === null ? [] : [`routed ${routed.routerId}/${routed.routerCall}`]),
  ];
}
