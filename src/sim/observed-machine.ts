import type { Command } from "../kv/command.ts";
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
    return result;
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
