import { defined } from "../../base/assert.ts";
import type { CallOutcome } from "./call-outcome.ts";

/** Failures after which another server may know more. What is refused for other reasons is refused by the leader. */
const LEADER_IN_DOUBT = /^(?:NOT_LEADER|UNAVAILABLE|grpc:.*)$/;

/** Which server is asked for what only the leader does: whoever was named last, or else one after the other. */
export class LeaderRoute {
  readonly #ids: readonly number[];
  #current: number;

  /** `ids`: the servers, at least one. `leaderId` is who leads when the run begins; null: nobody knows. */
  constructor(ids: readonly number[], leaderId: number | null) {
    this.#ids = ids;
    this.#current = ids.find((id) => id === leaderId) ?? defined(ids[0], "no servers to ask");
  }

  get current(): number {
    return this.#current;
  }

  /** What came of a call to server `id`. Calls that were under way to an earlier leader change nothing. */
  note(id: number, outcome: CallOutcome): void {
    if (id !== this.#current || outcome.kind !== "failed" || !LEADER_IN_DOUBT.test(outcome.error)) return;
    const { leaderId } = outcome;
    const next = this.#ids[(this.#ids.indexOf(id) + 1) % this.#ids.length] ?? id;
    this.#current = leaderId !== null && this.#ids.includes(leaderId) ? leaderId : next;
  }
}
