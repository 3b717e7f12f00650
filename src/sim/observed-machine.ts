import type { Command, PutManyCommand } from "../kv/command.ts";
import type { KvState } from "../kv/kv-state.ts";
import { KvStateMachine, type PutResult } from "../kv/state-machine.ts";
import type { LogIndex, ServerId } from "../raft/entry.ts";
import type { MachineSizes } from "./reference-machine.ts";
import type { Safety } from "./safety.ts";
import { require } from "./violation.ts";

/** One server's state machine, which shows the checks everything that it becomes. */
export class ObservedMachine extends KvStateMachine {
  readonly #id: ServerId;
  readonly #safety: Safety;

  constructor(id: ServerId, safety: Safety, { window, sessions }: MachineSizes) {
    super(window, sessions);
    this.#id = id;
    this.#safety = safety;
  }

  override apply(index: LogIndex, command: Command): PutResult {
    const result = super.apply(index, command);
    this.#safety.applied(this.#id, index, command, result);
    if (command.kind === "putMany" && result.kind === "applied") this.#checkWhole(index, command);
    return result;
  }

  /** A batch takes effect with its entry, all of it, and the last write to each key is the one that counts. */
  #checkWhole(index: LogIndex, { writes }: PutManyCommand): void {
    for (const [key, value] of new Map(writes.map(({ key, value }) => [key, value]))) {
      const found = this.get(key);
      require("State Machine Safety", found === value, () => {
        return `server ${this.#id} applied the batch of entry ${index}, and ${key} is ${found}, not ${value}`;
      });
    }
  }

  override skip(index: LogIndex): void {
    super.skip(index);
    this.#safety.skipped(index);
  }

  override restore(state: KvState): void {
    require("Step", state.appliedIndex >= this.appliedIndex, () => {
      return `server ${this.#id} has applied ${this.appliedIndex} and goes back to a snapshot of ${state.appliedIndex}`;
    });
    super.restore(state);
    this.#safety.state(this.#id, this.appliedIndex, this.digest());
  }
}
