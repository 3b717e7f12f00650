import type { Command } from "../kv/command.ts";
import { KvStateMachine } from "../kv/state-machine.ts";
import type { LogIndex } from "../raft/entry.ts";

/** What bounds the memory of a state machine, the same on every server. */
export interface MachineSizes {
  /** How many requests are remembered, and how many calls. */
  readonly window: number;
  /** How many frontends' sessions are kept. */
  readonly sessions: number;
}

/**
 * The state that the log leads to, entry by entry, whoever comes to each of them first. It remembers the
 * digest of every state, so that a snapshot of any moment can be compared.
 */
export class ReferenceMachine {
  readonly #machine: KvStateMachine;
  /** By index. */
  readonly #digests: string[];

  constructor({ window, sessions }: MachineSizes) {
    this.#machine = new KvStateMachine(window, sessions);
    this.#digests = [this.#machine.digest()];
  }

  /** Some server has applied this entry. */
  apply(index: LogIndex, command: Command): void {
    if (index !== this.#machine.appliedIndex + 1) return;
    this.#machine.apply(index, command);
    this.#digests.push(this.#machine.digest());
  }

  /** Some server has passed this entry, which carries no command. */
  skip(index: LogIndex): void {
    if (index !== this.#machine.appliedIndex + 1) return;
    this.#machine.skip(index);
    this.#digests.push(this.#machine.digest());
  }

  /** Of the state after the entry at `index`; undefined: no server has got there. */
  digestAt(index: LogIndex): string | undefined {
    return this.#digests[index];
  }
}
