/** One vote a term, durable before it is given, and none from a server that has forgotten what it said (P9). */
import type { Command } from "../kv/command.ts";
import type { Entry, LogIndex, ServerId, Term } from "../raft/entry.ts";
import type { HardState } from "../raft/hard-state.ts";
import type { RequestVote } from "../raft/message.ts";
import type { DurableModel } from "./durable-model.ts";
import { require } from "./violation.ts";

export class VoteSafety {
  readonly #durable: (id: ServerId) => DurableModel;
  /** By index - 1. */
  readonly #committed: readonly Entry<Command>[];
  /** By voter and term. */
  readonly #votes = new Map<string, ServerId>();
  /** By server that was to join: where the cluster was when it began. */
  readonly #committedAtBirth = new Map<ServerId, LogIndex>();
  /** Who has caught up since its disk was lost, but for making that durable. */
  readonly #votingAgain = new Set<ServerId>();

  /** `committed` grows while others look for what is committed. */
  constructor(durable: (id: ServerId) => DurableModel, committed: readonly Entry<Command>[]) {
    this.#durable = durable;
    this.#committed = committed;
  }

  /** `id` starts with what is on its disk. */
  started(id: ServerId): void {
    this.#votingAgain.delete(id);
  }

  /** `id` is to join, with empty files. Up to `committed` everything was committed by then. */
  begunAnew(id: ServerId, committed: LogIndex): void {
    this.#committedAtBirth.set(id, committed);
  }

  /** Whether `id` would have no say in elections if it started now. */
  abstains(id: ServerId): boolean {
    const { abstainsThrough, abstainsTo = 0 } = this.#durable(id).hardState;
    return abstainsThrough > 0 || abstainsTo > 0;
  }

  /** `id`, made anew, says that it has caught up. */
  votesAgain(id: ServerId): void {
    this.#votingAgain.add(id);
  }

  /** P9: a server that has lost its disk votes again only when it has all that its former self may have promised. */
  persisting(id: ServerId, hardState: HardState | null): void {
    const model = this.#durable(id);
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

  /** `id` is about to give its vote, or to ask for others after its own. */
  voting(id: ServerId, { term, preVote }: RequestVote, candidate: ServerId): void {
    this.#checkMayVote(id, preVote);
    if (!preVote) this.#checkVote(id, term, candidate);
  }

  /**
   * P9: who has forgotten its votes neither votes nor stands for election, nor says that it would. What is
   * only said promises nothing, and need not wait until it is durable that it votes again.
   */
  #checkMayVote(id: ServerId, preVote: boolean): void {
    require("Abstention", !this.abstains(id) || (preVote && this.#votingAgain.has(id)), () => {
      return `server ${id} takes part in an election and has not caught up since its disk was lost`;
    });
    const needed = this.#committedAtBirth.get(id) ?? 0;
    const term = this.#committed[needed - 1]?.term ?? 0;
    require("Abstention", needed === 0 || this.#durable(id).holds(needed, term), () => {
      return `server ${id} takes part in an election without entry ${needed}, up to which all was committed when it was to join`;
    });
  }

  #checkVote(id: ServerId, term: Term, candidate: ServerId): void {
    const name = `${id}/${term}`;
    const earlier = this.#votes.get(name);
    require("One vote a term", earlier === undefined || earlier === candidate, () => {
      return `server ${id} voted for ${earlier} and for ${candidate} in term ${term}`;
    });
    this.#votes.set(name, candidate);
    const { currentTerm, votedFor } = this.#durable(id).hardState;
    const saved = currentTerm > term || (currentTerm === term && votedFor === candidate);
    require("Acknowledged is durable", saved, () => {
      return `server ${id} answered a vote in term ${term}; durable there: vote for ${votedFor} in term ${currentTerm}`;
    });
  }

  /** One that asks nobody, being the only voter, has its own vote all the same. */
  votedFor(voter: ServerId, candidate: ServerId, term: Term): boolean {
    if (this.#votes.get(`${voter}/${term}`) === candidate) return true;
    const { currentTerm, votedFor } = this.#durable(voter).hardState;
    return voter === candidate && currentTerm === term && votedFor === candidate;
  }
}
