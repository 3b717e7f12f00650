import { assert, unreachable } from "../base/assert.ts";
import type { Command, PutCommand } from "./command.ts";
import { RETRY_WINDOW_CAPACITY, RetryWindow } from "./retry-window.ts";
import { RunningDigest } from "./running-digest.ts";

/** What became of a put. To the client both are success. */
export type PutResult =
  /** It took effect. */
  | { readonly kind: "applied" }
  /** It repeats a write that took effect before; nothing changed. */
  | { readonly kind: "repeated" };

const APPLIED: PutResult = { kind: "applied" };
const REPEATED: PutResult = { kind: "repeated" };

/**
 * The replicated state (Raft §2): data, and the memory of what was already done. It follows from the
 * log alone, so servers that have applied the same entries hold the same state.
 */
export class KvStateMachine {
  /** A Map, in which `__proto__` is a key like any other. */
  readonly #data = new Map<string, string>();
  readonly #dataDigest = new RunningDigest();
  readonly #retries: RetryWindow;
  #appliedIndex = 0;

  /** @param retryWindowCapacity must be the same on every server; other than the default only in tests. */
  constructor(retryWindowCapacity = RETRY_WINDOW_CAPACITY) {
    this.#retries = new RetryWindow(retryWindowCapacity);
  }

  /** The index of the last entry that was applied or skipped; 0 before the first. */
  get appliedIndex(): number {
    return this.#appliedIndex;
  }

  /** How many keys there are. */
  get size(): number {
    return this.#data.size;
  }

  /** The value of `key`; undefined when there is none, which "" is not (C4). */
  get(key: string): string | undefined {
    return this.#data.get(key);
  }

  /** Applies the entry at `index`, which must follow `appliedIndex`. */
  apply(index: number, command: Command): PutResult {
    this.#advance(index);
    switch (command.kind) {
      case "put":
        return this.#put(index, command);
      default:
        return unreachable(command.kind);
    }
  }

  /** Passes the entry at `index`, which carries no command and must follow `appliedIndex`. */
  skip(index: number): void {
    this.#advance(index);
  }

  /** Every key with its value, in the order in which the keys were first set. */
  entries(): Iterable<readonly [key: string, value: string]> {
    return this.#data.entries();
  }

  /**
   * A digest of the whole state: equal for equal states, different for different ones as far as 64 bits
   * a part can tell. The first call costs time in proportion to the state; after it, all the others are
   * cheap and every write costs some microseconds more. For tests and simulation.
   */
  digest(): string {
    const parts = [this.#dataDigest.read(this.#data), ...this.#retries.digests()];
    return [this.#appliedIndex, ...parts.map((part) => part.toString(16).padStart(16, "0"))].join("-");
  }

  #put(index: number, command: PutCommand): PutResult {
    if (!this.#retries.admit(index, command)) return REPEATED;
    const { key, value } = command;
    const former = this.#data.get(key);
    if (former !== undefined) this.#dataDigest.toggle(key, former);
    this.#data.set(key, value);
    this.#dataDigest.toggle(key, value);
    return APPLIED;
  }

  #advance(index: number): void {
    assert(index === this.#appliedIndex + 1, `entry ${index} applied after entry ${this.#appliedIndex}`);
    this.#appliedIndex = index;
  }
}
