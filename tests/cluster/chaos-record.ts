/** What all clients of a run did and saw, by one clock: milliseconds of this process. */
import {
  History,
  type GetOutcome,
  type Operation,
  type PutOutcome,
  type Value,
} from "../../src/sim/history.ts";

/** How a put ended for its client, or a get. */
export type PutEnd = "ok" | "unknown" | "failed";
export type GetEnd = { readonly value: Value } | null;

export interface OperationCounts {
  ok: number;
  unknown: number;
  failed: number;
  /** Gets without an answer: they tell nothing. */
  unanswered: number;
}

export class ChaosRecord {
  readonly #history = new History();
  /** When puts were acknowledged. */
  readonly acknowledged: number[] = [];
  readonly counts: OperationCounts = { ok: 0, unknown: 0, failed: 0, unanswered: 0 };

  get operations(): readonly Operation[] {
    return this.#history.operations;
  }

  /** Every key that was asked for or written. */
  keys(): readonly string[] {
    return [...new Set(this.operations.map(({ key }) => key))];
  }

  /** Notes the put that `send` sends; it never rejects, and "unknown" is its answer to any doubt. */
  async put(client: string, key: string, value: string, send: () => Promise<PutEnd>): Promise<PutEnd> {
    const settle = this.#history.put({ client, key, invokedAt: performance.now() }, value);
    const end = await send();
    const completedAt = performance.now();
    this.counts[end] += 1;
    if (end === "ok") this.acknowledged.push(completedAt);
    settle(putOutcome(end, completedAt));
    return end;
  }

  /** Notes the get that `send` sends, which never rejects; null: it was not answered. */
  async get(client: string, key: string, send: () => Promise<GetEnd>): Promise<GetEnd> {
    const settle = this.#history.get({ client, key, invokedAt: performance.now() });
    const end = await send();
    this.counts[end === null ? "unanswered" : "ok"] += 1;
    settle(getOutcome(end, performance.now()));
    return end;
  }
}

function putOutcome(end: PutEnd, completedAt: number): PutOutcome {
  return end === "ok" ? { kind: "ok", completedAt } : { kind: end };
}

function getOutcome(end: GetEnd, completedAt: number): GetOutcome {
  return end === null ? { kind: "unanswered" } : { kind: "ok", completedAt, value: end.value };
}
