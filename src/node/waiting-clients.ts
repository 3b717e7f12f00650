import { assert } from "../base/assert.ts";
import type { PutResult } from "../kv/state-machine.ts";
import type { ChangeRefusal } from "../raft/configuration.ts";
import type { LogIndex, ServerId, Term } from "../raft/entry.ts";

/** What a client hears of its put. */
export type PutOutcome =
  /** Committed on a majority and applied here, now or when this request was first made. */
  | { readonly kind: "done"; readonly result: PutResult }
  /** Nothing was done. `leaderId` null: not known. */
  | { readonly kind: "notLeader"; readonly leaderId: ServerId | null }
  /** Nothing was done: too many others wait. */
  | { readonly kind: "overloaded" }
  /** Nothing was done: there is no room on the disk. */
  | { readonly kind: "diskFull" }
  /** Nothing was done: the server is stopping. */
  | { readonly kind: "stopping" }
  /** Nothing was done: leadership is about to pass to `to`. */
  | { readonly kind: "transferring"; readonly to: ServerId }
  | Unknown;

/** What becomes of a change of the configuration. */
export type ChangeOutcome =
  /** Committed, and known to be so here. */
  | { readonly kind: "done" }
  /** Nothing was done, as in the next three. */
  | { readonly kind: "refused"; readonly why: ChangeRefusal }
  | { readonly kind: "notLeader"; readonly leaderId: ServerId | null }
  | { readonly kind: "diskFull" }
  | { readonly kind: "stopping" }
  | Unknown;

/** It is in a log and may be committed, now, later, or never. */
interface Unknown {
  readonly kind: "unknown";
  readonly why: string;
}

interface Waiting<R> {
  readonly term: Term;
  readonly bytes: number;
  readonly settle: (outcome: { readonly kind: "done"; readonly result: R } | Unknown) => void;
}

/** Those whose entries are in this leader's log and not applied yet, with `R` to come of it. */
export class WaitingClients<R> {
  readonly #byIndex = new Map<LogIndex, Waiting<R>>();
  readonly #maxCount: number;
  readonly #maxBytes: number;
  #bytes = 0;

  constructor(maxCount: number, maxBytes: number) {
    this.#maxCount = maxCount;
    this.#maxBytes = maxBytes;
  }

  get count(): number {
    return this.#byIndex.size;
  }

  hasRoomFor(bytes: number): boolean {
    return this.count < this.#maxCount && (this.count === 0 || this.#bytes + bytes <= this.#maxBytes);
  }

  add(index: LogIndex, waiting: Waiting<R>): void {
    assert(!this.#byIndex.has(index), `two clients wait for entry ${index}`);
    this.#byIndex.set(index, waiting);
    this.#bytes += waiting.bytes;
  }

  /** The entry at `index`, of `term`, has been applied. */
  applied(index: LogIndex, term: Term, result: R): void {
    const waiting = this.#byIndex.get(index);
    if (waiting === undefined) return;
    this.#byIndex.delete(index);
    this.#bytes -= waiting.bytes;
    // A leader can be deposed, and hear what took the place of its entries, all in one turn.
    if (waiting.term === term) waiting.settle({ kind: "done", result });
    else waiting.settle({ kind: "unknown", why: "another leader's entry took its place" });
  }

  /** Tells everyone who still waits that the outcome is not known. */
  giveUp(why: string): void {
    const all = [...this.#byIndex.values()];
    this.#byIndex.clear();
    this.#bytes = 0;
    for (const waiting of all) waiting.settle({ kind: "unknown", why });
  }
}
