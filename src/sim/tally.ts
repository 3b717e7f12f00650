/** What many runs came to. Sums do not depend on the order in which the runs ended. */
import { hash } from "node:crypto";
import { FAULT_KINDS, type FaultKind } from "./swarm.ts";
import type { SimulationResult } from "./simulation.ts";
import type { Property } from "./violation.ts";

/** What is kept of one run: plain values, so that it can travel between processes. */
export interface SeedReport {
  readonly seed: number;
  /** Of its trace. */
  readonly hash: string;
  readonly events: number;
  readonly virtualUs: number;
  readonly elections: number;
  readonly operations: { readonly done: number; readonly unknown: number; readonly failed: number };
  /** How often each kind of fault that was switched on happened, 0 too. */
  readonly faults: Readonly<Partial<Record<FaultKind, number>>>;
  /** null: every property held. */
  readonly violation: { readonly property: Property; readonly message: string } | null;
  /** The hash of a second run, where there was one; null otherwise. */
  readonly replayHash: string | null;
}

/** `replay` is a second run of the same seed; null: there was none. */
export function seedReport(result: SimulationResult, replay: SimulationResult | null): SeedReport {
  const { seed, events, virtualUs, elections, operations, enabled, faults, violation } = result;
  return {
    seed,
    hash: result.hash,
    events,
    virtualUs,
    elections,
    operations,
    faults: Object.fromEntries(enabled.map((kind) => [kind, faults.of(kind)])),
    violation: violation === null ? null : { property: violation.property, message: violation.message },
    replayHash: replay?.hash ?? null,
  };
}

/** How often a kind of fault happened, and in how many seeds it was switched on. */
export interface FaultTotal {
  readonly kind: FaultKind;
  readonly seeds: number;
  readonly injected: number;
}

/** Sums over all runs. */
export interface Totals {
  readonly events: number;
  readonly virtualUs: number;
  readonly elections: number;
  /** Operations of clients. */
  readonly done: number;
  readonly unknown: number;
  readonly failed: number;
  /** Seeds that were run twice. */
  readonly replayed: number;
}

/** A fault that is switched on in so many seeds happens, or the simulator is broken. */
const SEEDS_TO_HAPPEN_IN = 20;

export class Tally {
  readonly #hashes = new Map<number, string>();
  readonly #faults = new Map<FaultKind, { seeds: number; injected: number }>();
  readonly #failures: SeedReport[] = [];
  readonly #totals: { -readonly [Name in keyof Totals]: number } = {
    events: 0,
    virtualUs: 0,
    elections: 0,
    done: 0,
    unknown: 0,
    failed: 0,
    replayed: 0,
  };

  /** A seed counts once. */
  add(report: SeedReport): void {
    const { seed, events, virtualUs, elections, operations, faults, violation, replayHash } = report;
    this.#hashes.set(seed, report.hash);
    const totals = this.#totals;
    totals.events += events;
    totals.virtualUs += virtualUs;
    totals.elections += elections;
    totals.done += operations.done;
    totals.unknown += operations.unknown;
    totals.failed += operations.failed;
    if (replayHash !== null) totals.replayed += 1;
    for (const kind of FAULT_KINDS) this.#addFault(kind, faults[kind]);
    if (violation !== null || !isRepeatable(report)) this.#failures.push(report);
  }

  /** `injected` undefined: it was switched off. */
  #addFault(kind: FaultKind, injected: number | undefined): void {
    if (injected === undefined) return;
    const total = this.#faults.get(kind) ?? { seeds: 0, injected: 0 };
    this.#faults.set(kind, { seeds: total.seeds + 1, injected: total.injected + injected });
  }

  get seeds(): number {
    return this.#hashes.size;
  }
  get totals(): Totals {
    return this.#totals;
  }

  /** Of every seed's hash: two builds that agree on it agree on every event. */
  get hash(): string {
    const lines = [...this.#hashes].toSorted(([a], [b]) => a - b).map((line) => line.join(" "));
    return hash("sha256", lines.join("\n")).slice(0, 16);
  }

  /** Every kind, in the order of FAULT_KINDS. */
  get faults(): readonly FaultTotal[] {
    return FAULT_KINDS.map((kind) => {
      const { seeds, injected } = this.#faults.get(kind) ?? { seeds: 0, injected: 0 };
      return { kind, seeds, injected };
    });
  }

  /** Kinds that were switched on in many seeds and did not happen in any: nothing is known about them. */
  get neverInjected(): readonly FaultKind[] {
    return this.faults
      .filter(({ seeds, injected }) => seeds >= SEEDS_TO_HAPPEN_IN && injected === 0)
      .map(({ kind }) => kind);
  }

  /** Seeds that violated a property, the lowest first. */
  get violations(): readonly SeedReport[] {
    return this.#failures.filter(({ violation }) => violation !== null).toSorted((a, b) => a.seed - b.seed);
  }

  /** Seeds whose second run was another than the first, the lowest first. */
  get unrepeatable(): readonly SeedReport[] {
    return this.#failures.filter((report) => !isRepeatable(report)).toSorted((a, b) => a.seed - b.seed);
  }

  get passed(): boolean {
    return this.#failures.length === 0 && this.neverInjected.length === 0;
  }
}

function isRepeatable({ hash, replayHash }: SeedReport): boolean {
  return replayHash === null || replayHash === hash;
}
