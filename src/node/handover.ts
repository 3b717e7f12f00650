import type { ServerId, Term } from "../raft/entry.ts";
import type { Raft, RaftStatus } from "../raft/raft.ts";
import type { TransferRefusal } from "../raft/transfer.ts";
import type { Clock, Timer } from "./clock.ts";

/** What becomes of a transfer of leadership (dissertation §3.10). */
export type TransferOutcome =
  /** `leaderId` leads in a later term: the one that was asked to, but for an election that another one won. */
  | { readonly kind: "done"; readonly leaderId: ServerId }
  | { readonly kind: "notLeader"; readonly leaderId: ServerId | null }
  | { readonly kind: "refused"; readonly why: TransferRefusal }
  /** This server leads on, or nobody was heard to lead in time. */
  | { readonly kind: "failed" };

interface Waiting {
  /** In which this server led. */
  readonly term: Term;
  readonly timer: Timer;
  readonly settle: (outcome: TransferOutcome) => void;
}

/** Waits for another server to lead. */
export class Handover {
  readonly #raft: Pick<Raft<unknown>, "transferLeadership" | "status">;
  readonly #clock: Clock;
  readonly #waiting = new Set<Waiting>();

  constructor(raft: Pick<Raft<unknown>, "transferLeadership" | "status">, clock: Clock) {
    this.#raft = raft;
    this.#clock = clock;
  }

  /** Resolves when it is known who leads, or after `deadlineMs`. `to` as Raft.transferLeadership. */
  begin(to: ServerId | null, deadlineMs: number): Promise<TransferOutcome> {
    const begun = this.#raft.transferLeadership(to);
    return begun.kind === "accepted" ? this.#until(deadlineMs) : Promise.resolve(begun);
  }

  /** To be called once a turn. */
  consider(status: RaftStatus): void {
    for (const waiting of this.#waiting) {
      const outcome = outcomeOf(waiting.term, status);
      if (outcome !== null) this.#settle(waiting, outcome);
    }
  }

  /** The server stops, or has failed. */
  giveUp(): void {
    for (const waiting of this.#waiting) this.#settle(waiting, { kind: "failed" });
  }

  #until(deadlineMs: number): Promise<TransferOutcome> {
    const { currentTerm: term } = this.#raft.status();
    return new Promise((settle) => {
      const giveUp = (): void => this.#settle(waiting, { kind: "failed" });
      const waiting: Waiting = { term, settle, timer: this.#clock.setTimer(deadlineMs, giveUp) };
      this.#waiting.add(waiting);
    });
  }

  #settle(waiting: Waiting, outcome: TransferOutcome): void {
    this.#waiting.delete(waiting);
    waiting.timer.cancel();
    waiting.settle(outcome);
  }
}

/** null: not known yet. */
function outcomeOf(term: Term, status: RaftStatus): TransferOutcome | null {
  const { id, role, currentTerm, leaderId, transferTo } = status;
  if (currentTerm === term) return role === "leader" && transferTo === null ? { kind: "failed" } : null;
  if (leaderId === null) return null;
  return leaderId === id ? { kind: "failed" } : { kind: "done", leaderId };
}
