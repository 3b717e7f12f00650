/**
 * What clients wrote and were told, and so which answers are right.
 *
 * Each key has one writer at a time, and its writes are numbered from 1. A value names its key and number, so
 * that whatever is read tells which write it is, or that it is none. A write that was acknowledged must be seen
 * from then on, or a later one; one whose outcome is unknown may be seen; one that was not done, never.
 */

/** How a put ended, as far as its client was told. */
export type PutOutcome = "acknowledged" | "unknown" | "notDone";

interface Write {
  readonly bytes: number;
  /** Begun while nothing could be acknowledged. */
  readonly hopeless: boolean;
  outcome: PutOutcome | "pending";
}

/** A write that is under way. */
export interface PendingWrite {
  readonly key: string;
  /** From 1, per key. */
  readonly number: number;
  readonly value: string;
}

export class Ledger {
  /** Write n of a key at n - 1. */
  readonly #writes = new Map<string, Write[]>();
  /** The latest write of each key that is known to be committed: acknowledged, or seen by a reader. */
  readonly #floors = new Map<string, number>();
  readonly #counts: Record<PutOutcome, number> = { acknowledged: 0, unknown: 0, notDone: 0 };

  /** What was read and must not have been, one line each. */
  readonly complaints: string[] = [];
  /** How many answers were judged. */
  reads = 0;
  /** While true, no write that is begun may be acknowledged. */
  halted = false;

  get acknowledged(): number {
    return this.#counts.acknowledged;
  }

  get unknown(): number {
    return this.#counts.unknown;
  }

  /** `bytes`: how long the value is to be, at least; it is longer if its name does not fit. */
  begin(key: string, bytes: number): PendingWrite {
    const writes = this.#writes.get(key) ?? [];
    this.#writes.set(key, writes);
    writes.push({ bytes, hopeless: this.halted, outcome: "pending" });
    return { key, number: writes.length, value: valueOf(key, writes.length, bytes) };
  }

  settle({ key, number }: PendingWrite, outcome: PutOutcome): void {
    const write = this.#writes.get(key)?.[number - 1];
    if (write?.outcome !== "pending") throw new RangeError(`write ${number} of ${key} is not under way`);
    write.outcome = outcome;
    this.#counts[outcome] += 1;
    if (outcome !== "acknowledged") return;
    if (write.hopeless && this.halted) this.complaints.push(`write ${number} of ${key} was acknowledged`);
    this.#raise(key, number);
  }

  /** The latest write of each key that every later read of the leader must show, or a later one; 0: none. */
  floors(): ReadonlyMap<string, number> {
    return new Map(Array.from(this.#writes.keys(), (key) => [key, this.floor(key)]));
  }

  floor(key: string): number {
    return this.#floors.get(key) ?? 0;
  }

  /** Any key that was written, by a number that chooses; null when there is none. */
  keyAt(choice: number): string | null {
    const keys = [...this.#writes.keys()];
    return keys[choice % keys.length] ?? null;
  }

  /**
   * Notes an answer that `where` gave: `value`, null when it had none. Returns the number of the write that it
   * shows, 0 for none, and complains when it is no write of that key or one before `floor`.
   */
  observe(key: string, value: string | null, floor: number, where: string): number {
    this.reads += 1;
    const number = value === null ? 0 : this.#numberOf(key, value);
    if (number === null) {
      this.complaints.push(`${where}: ${key} reads ${shorten(value)}, which nobody wrote there`);
      return 0;
    }
    if (number < floor) {
      this.complaints.push(`${where}: ${key} shows write ${number}, but write ${floor} was there`);
    }
    this.#raise(key, number);
    return number;
  }

  /** null: the value is none that can be there. */
  #numberOf(key: string, value: string): number | null {
    const number = Number(value.slice(key.length + 1, value.indexOf("#", key.length + 1)));
    const write = this.#writes.get(key)?.[number - 1];
    if (write === undefined || write.outcome === "notDone") return null;
    return value === valueOf(key, number, write.bytes) ? number : null;
  }

  #raise(key: string, number: number): void {
    this.#floors.set(key, Math.max(number, this.floor(key)));
  }
}

function valueOf(key: string, number: number, bytes: number): string {
  return `${key}#${number}#`.padEnd(bytes, "0123456789abcdef");
}

function shorten(value: string | null): string {
  return JSON.stringify(value === null || value.length <= 60 ? value : `${value.slice(0, 60)}…`);
}
