import { assert, unreachable } from "../base/assert.ts";
import type { Command, Write } from "./command.ts";
import { FreezableMap } from "./freezable-map.ts";
import { encodeSections, type KvState } from "./kv-state.ts";
import { RETRY_WINDOW_CAPACITY, RetryWindow } from "./retry-window.ts";
import { SESSION_CAPACITY } from "./sessions.ts";
import { RunningDigest } from "./running-digest.ts";

/** What became of a command. To the client the first two are success. */
export type PutResult =
  /** It took effect. */
  | { readonly kind: "applied" }
  /** It repeats a write that took effect before; nothing changed. */
  | { readonly kind: "repeated" }
  /**
   * Nothing changed now; whether it took effect before is forgotten, its session having expired. To the client the
   * outcome is unknown (C2).
   */
  | { readonly kind: "expired" };

const APPLIED: PutResult = { kind: "applied" };
const REPEATED: PutResult = { kind: "repeated" };
const EXPIRED: PutResult = { kind: "expired" };

/** The whole state at one moment, to be written down while the machine goes on. */
export interface FrozenState {
  /** The index of the last entry in it. */
  readonly appliedIndex: number;
  /** How many keys it has. */
  readonly size: number;
  /** As kv-state.ts says, each made when it is asked for, from the start at every call. Not after `release`. */
  sections(): Iterable<string>;
  /** Ends the cost of keeping it; harmless when done twice. */
  release(): void;
}

/**
 * The replicated state (Raft §2): data, and the memory of what was already done. It follows from the
 * log alone, so servers that have applied the same entries hold the same state.
 */
export class KvStateMachine {
  /** Over a Map, in which `__proto__` is a key like any other. */
  #data = new FreezableMap();
  #dataDigest = new RunningDigest();
  #retries: RetryWindow;
  #appliedIndex = 0;

  /**
   * The capacities must be the same on every server; other than the defaults only in tests.
   * @param retryWindowCapacity of the retry window.
   * @param sessionCapacity of the table of sessions.
   */
  constructor(retryWindowCapacity = RETRY_WINDOW_CAPACITY, sessionCapacity = SESSION_CAPACITY) {
    this.#retries = new RetryWindow(retryWindowCapacity, sessionCapacity);
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
    const admission = this.#retries.admit(index, command);
    if (admission === "repeated") return REPEATED;
    if (admission === "expired") return EXPIRED;
    switch (command.kind) {
      case "put":
        this.#set(command);
        return APPLIED;
      case "putMany":
        for (const write of command.writes) this.#set(write);
        return APPLIED;
      default:
        return unreachable(command);
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
   * Keeps the state of this moment readable: data in constant time, the memory of retries in a millisecond
   * or two. Until it is released, the first write to each key costs the memory of its former value. One at a
   * time; a state frozen before `restore` stays readable and does not count.
   */
  freeze(): FrozenState {
    const frozen = this.#data;
    const { size, pairs } = frozen.freeze();
    const { capacity, sessions } = this.#retries;
    const capacities = { retryCapacity: capacity, sessionCapacity: sessions.sessionCapacity };
    const retries = this.#retries.freeze();
    let released = false;
    return {
      appliedIndex: this.#appliedIndex,
      size,
      sections: () => {
        assert(!released, "a frozen state is read before it is released");
        return encodeSections({ ...capacities, data: pairs(), ...retries });
      },
      release: () => {
        if (!released) frozen.thaw();
        released = true;
      },
    };
  }

  /**
   * Becomes what `state` is, and takes it over; its retry window keeps its own capacities. It must not be
   * older than what was applied (S3).
   */
  restore(state: KvState): void {
    const { appliedIndex, data, retries } = state;
    assert(
      appliedIndex >= this.#appliedIndex,
      `state ${appliedIndex} restored over entry ${this.#appliedIndex}`,
    );
    this.#data = new FreezableMap(data);
    this.#dataDigest = new RunningDigest();
    this.#retries = retries;
    this.#appliedIndex = appliedIndex;
  }

  /**
   * A digest of the whole state: equal for equal states, different for different ones as far as 64 bits
   * a part can tell. The first call costs time in proportion to the state; after it, all the others are
   * cheap and every write costs some microseconds more. For tests and simulation.
   */
  digest(): string {
    const parts = [this.#dataDigest.read(this.#data.entries()), ...this.#retries.digests()];
    return [this.#appliedIndex, ...parts.map((part) => part.toString(16).padStart(16, "0"))].join("-");
  }

  #set({ key, value }: Write): void {
    const former = this.#data.set(key, value);
    if (former !== undefined) this.#dataDigest.toggle(key, former);
    this.#dataDigest.toggle(key, value);
  }

  #advance(index: number): void {
    assert(index === this.#appliedIndex + 1, `entry ${index} applied after entry ${this.#appliedIndex}`);
    this.#appliedIndex = index;
  }
}
