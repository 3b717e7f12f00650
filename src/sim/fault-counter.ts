import type { FaultKind } from "./swarm.ts";

/** How often each kind of fault really happened. */
export class FaultCounter {
  readonly #counts = new Map<FaultKind, number>();

  count(kind: FaultKind, times = 1): void {
    this.#counts.set(kind, this.of(kind) + times);
  }

  of(kind: FaultKind): number {
    return this.#counts.get(kind) ?? 0;
  }

  add(other: FaultCounter): void {
    for (const [kind, count] of other.#counts) this.#counts.set(kind, this.of(kind) + count);
  }
}
