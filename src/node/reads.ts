/**
 * Linearizable reads (dissertation §6.4), in groups: one round of the leader, or one request to it, serves
 * everybody who waits when it begins.
 *
 *   read -> gathered until the turn -> asked: this server's core where it leads, otherwise the leader by one
 *     ReadIndex -> confirmed at an index -> the state machine has applied the log up to there (L4) -> ready
 *
 * What is asked after a reader came tells of everything that was acknowledged before it came; so a reader never
 * joins a group that has been asked. While a ReadIndex is under way those who come wait for the next. When the
 * leader of a group is gone its readers are answered at once (C5), but for those whose entries are committed
 * here: they are about to be applied. A server that cannot apply them, as while its disk is full, says so.
 */
import { unreachable } from "../base/assert.ts";
import { RaftKvError } from "../base/errors.ts";
import type { ReadId, ReadOutcome as CoreRead } from "../raft/batch.ts";
import type { LogIndex, ServerId, Term } from "../raft/entry.ts";
import type { Raft, RaftStatus } from "../raft/raft.ts";
import type { Clock } from "./clock.ts";
import type { PeerReply, ReadIndexReply } from "./peer-message.ts";
import type { Transport } from "./transport.ts";

/** Whether the state machine can be read now. Nothing was done in any case, so all but "ready" may be asked again. */
export type ReadOutcome =
  /** It holds everything that was acknowledged anywhere before the call. To be read at once. */
  | { readonly kind: "ready" }
  /** This server knows no leader to ask, or led and does no longer. `leaderId` null: not known. */
  | { readonly kind: "notLeader"; readonly leaderId: ServerId | null }
  /** Too many others wait. */
  | { readonly kind: "overloaded" }
  | { readonly kind: "stopping" }
  /** The leader did not answer, or is gone; or this server is too far behind it. */
  | { readonly kind: "unavailable"; readonly why: string };

/** Longer than it takes to apply what is on its way, shorter than most callers wait. */
const MAX_BEHIND_MS = 2000;

export interface ReadsParts {
  readonly clock: Pick<Clock, "nowMs">;
  readonly raft: Pick<Raft<unknown>, "read" | "status">;
  readonly transport: Transport;
  readonly appliedIndex: () => LogIndex;
  /** Readers that wait here, and requests of other servers' readers. */
  readonly maxPending: number;
  /** There is something for the next turn. */
  readonly wake: () => void;
}

type Reader = (outcome: ReadOutcome) => void;
/** null: this server does not lead, or not for sure. */
type Asker = (readIndex: LogIndex | null) => void;

/** Who waits for one answer. */
interface Group {
  readonly readers: Reader[];
  /** Other servers, on behalf of their readers. */
  readonly askers: Asker[];
}

/** A group whose question is out. */
interface Asked extends Group {
  /** Who answers it, and the term in which it does. */
  readonly leaderId: ServerId;
  readonly term: Term;
}

interface Confirmed extends Asked {
  readonly readIndex: LogIndex;
  readonly confirmedMs: number;
}

export class Reads {
  readonly #parts: ReadsParts;
  #gathered: Group = { readers: [], askers: [] };
  /** Asked of this server's core. */
  readonly #rounds = new Map<ReadId, Asked>();
  /** Asked of another server, one at a time. */
  #request: Asked | null = null;
  /** Not applied that far yet. */
  #confirmed: Confirmed[] = [];
  #nextId: ReadId = 1;
  #pending = 0;

  constructor(parts: ReadsParts) {
    this.#parts = parts;
  }

  /** As Node.read, while the server runs. */
  read(): Promise<ReadOutcome> {
    if (this.#isFull) return Promise.resolve({ kind: "overloaded" });
    return this.#gather((group, settle: Reader) => group.readers.push(settle));
  }

  /** Another server asks for its readers. Rejects with RaftKvError "overloaded". */
  async handle(): Promise<ReadIndexReply> {
    if (this.#isFull) throw new RaftKvError("overloaded", "too many reads wait for this server");
    const readIndex = await this.#gather((group, settle: Asker) => group.askers.push(settle));
    return { kind: "readIndexReply", readIndex };
  }

  /** Asks for those who have gathered. To be called once a turn, before the core's batch is taken. */
  ask(): void {
    const { readers, askers } = this.#gathered;
    if (readers.length === 0 && askers.length === 0) return;
    const { id, currentTerm: term } = this.#parts.raft.status();
    const read = this.#parts.raft.read(this.#nextId);
    if (read.kind === "accepted") {
      this.#rounds.set(this.#nextId, { ...this.#takeGathered(), leaderId: id, term });
      this.#nextId += 1;
    } else if (read.leaderId === null) {
      this.#fail(this.#takeGathered(), read);
    } else {
      this.#answerAskers(askers, null);
      if (this.#request === null && readers.length > 0) this.#askLeader(read.leaderId, term);
    }
  }

  /** Answers whom it can. To be called once a turn, with what its batch says, after its entries are applied. */
  settle(outcomes: readonly CoreRead[], status: RaftStatus): void {
    for (const { read, readIndex } of outcomes) {
      const asked = this.#rounds.get(read);
      this.#rounds.delete(read);
      if (asked === undefined) continue;
      if (readIndex === null) this.#fail(asked, { kind: "notLeader", leaderId: status.leaderId });
      else this.#confirm(asked, readIndex);
    }
    this.#answerApplied();
    this.#dismissOrphans(status);
    this.#dismissLate();
  }

  /** The server stops. */
  end(): void {
    const request = this.#request === null ? [] : [this.#request];
    const all = [this.#takeGathered(), ...request, ...this.#rounds.values(), ...this.#confirmed];
    this.#request = null;
    this.#rounds.clear();
    this.#confirmed = [];
    for (const group of all) this.#fail(group, { kind: "stopping" });
  }

  get #isFull(): boolean {
    return this.#pending >= this.#parts.maxPending;
  }

  #gather<T>(join: (group: Group, settle: (answer: T) => void) => void): Promise<T> {
    this.#pending += 1;
    this.#parts.wake();
    return new Promise((settle) => join(this.#gathered, settle));
  }

  /** Whoever comes from now on is in another group. */
  #takeGathered(): Group {
    const group = this.#gathered;
    this.#gathered = { readers: [], askers: [] };
    return group;
  }

  #askLeader(leaderId: ServerId, term: Term): void {
    const { transport, wake } = this.#parts;
    const asked = { ...this.#takeGathered(), leaderId, term };
    this.#request = asked;
    transport.send(leaderId, { kind: "readIndex" }, (reply) => {
      if (this.#request !== asked) return;
      this.#request = null;
      this.#answered(asked, reply);
      wake();
    });
  }

  #answered(asked: Asked, reply: PeerReply | null): void {
    const readIndex = reply?.kind === "readIndexReply" ? reply.readIndex : null;
    if (readIndex !== null) this.#confirm(asked, readIndex);
    else if (reply === null) this.#fail(asked, unavailable(asked, "did not answer"));
    else this.#fail(asked, unavailable(asked, "does not lead any more"));
  }

  #confirm(asked: Asked, readIndex: LogIndex): void {
    this.#answerAskers(asked.askers, readIndex);
    this.#confirmed.push({ ...asked, readIndex, confirmedMs: this.#parts.clock.nowMs() });
  }

  #answerApplied(): void {
    if (this.#confirmed.length === 0) return;
    const appliedIndex = this.#parts.appliedIndex();
    const ready = this.#confirmed.filter(({ readIndex }) => readIndex <= appliedIndex);
    this.#confirmed = this.#confirmed.filter(({ readIndex }) => readIndex > appliedIndex);
    for (const { readers } of ready) this.#answerReaders(readers, { kind: "ready" });
  }

  #dismissOrphans({ id, currentTerm, leaderId, commitIndex }: RaftStatus): void {
    const isOrphan = (asked: Asked): boolean => asked.term !== currentTerm || asked.leaderId !== leaderId;
    const waitsInVain = (group: Confirmed): boolean => group.readIndex > commitIndex && isOrphan(group);
    const orphans: Asked[] = this.#confirmed.filter(waitsInVain);
    if (orphans.length > 0) this.#confirmed = this.#confirmed.filter((group) => !waitsInVain(group));
    if (this.#request !== null && isOrphan(this.#request)) {
      orphans.push(this.#request);
      this.#request = null;
      // For those who have gathered meanwhile.
      this.#parts.wake();
    }
    for (const asked of orphans) {
      const ledItself = asked.leaderId === id;
      this.#fail(
        asked,
        ledItself ? { kind: "notLeader", leaderId } : unavailable(asked, "does not lead any more"),
      );
    }
  }

  /** They came in the order in which they are confirmed. */
  #dismissLate(): void {
    const oldestMs = this.#parts.clock.nowMs() - MAX_BEHIND_MS;
    for (let group = this.#confirmed[0]; group !== undefined; group = this.#confirmed[0]) {
      if (group.confirmedMs > oldestMs) return;
      this.#confirmed.shift();
      this.#fail(group, { kind: "unavailable", why: "this server is behind the leader" });
    }
  }

  #fail({ readers, askers }: Group, outcome: ReadOutcome): void {
    this.#answerAskers(askers, null);
    this.#answerReaders(readers, outcome);
  }

  #answerReaders(readers: readonly Reader[], outcome: ReadOutcome): void {
    this.#pending -= readers.length;
    for (const settle of readers) settle(outcome);
  }

  /** Each is answered once. */
  #answerAskers(askers: Asker[], readIndex: LogIndex | null): void {
    this.#pending -= askers.length;
    for (const settle of askers.splice(0)) settle(readIndex);
  }
}

function unavailable({ leaderId }: Asked, why: string): ReadOutcome {
  return { kind: "unavailable", why: `server ${leaderId} ${why}` };
}

/** Throws RaftKvError "notLeader", "overloaded" or "unavailable" when it is not ready. */
export function checkReady(outcome: ReadOutcome): void {
  switch (outcome.kind) {
    case "ready":
      return;
    case "notLeader":
      throw new RaftKvError("notLeader", "leadership was lost meanwhile; retry at the leader");
    case "overloaded":
      throw new RaftKvError("overloaded", "too many reads wait; retry later");
    case "stopping":
      throw new RaftKvError("unavailable", "the server is stopping");
    case "unavailable":
      throw new RaftKvError("unavailable", `${outcome.why}; retry later`);
    default:
      unreachable(outcome);
  }
}
