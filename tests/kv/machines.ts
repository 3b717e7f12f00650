/** State machines for the tests: brought somewhere by a log, or by the sections of another. */
import { expect } from "bun:test";
import type { Command } from "../../src/kv/command.ts";
import { KvStateLoader } from "../../src/kv/kv-state-loader.ts";
import type { KvState } from "../../src/kv/kv-state.ts";
import { KvStateMachine } from "../../src/kv/state-machine.ts";

/** Applies the log; null is a no-op. */
export function applyAll(machine: KvStateMachine, log: readonly (Command | null)[]): void {
  for (const command of log) {
    const index = machine.appliedIndex + 1;
    if (command === null) machine.skip(index);
    else machine.apply(index, command);
  }
}

/** A machine that has applied the log. */
export function machineAfter(
  log: readonly (Command | null)[],
  capacity?: number,
  sessionCapacity?: number,
): KvStateMachine {
  const machine = new KvStateMachine(capacity, sessionCapacity);
  applyAll(machine, log);
  return machine;
}

/** The state of this moment as text. */
export function sectionsOf(machine: KvStateMachine): readonly string[] {
  const frozen = machine.freeze();
  const sections = [...frozen.sections()];
  frozen.release();
  return sections;
}

/** What the sections hold; a refusal of any of them fails the test. */
export function loaded(sections: Iterable<string>, appliedIndex: number): KvState {
  const loader = new KvStateLoader(appliedIndex);
  for (const section of sections) expect(loader.add(section)).toBeNull();
  const state = loader.finish();
  if (state === null) throw new Error("sections are missing");
  return state;
}

/** A new machine with the state in the sections. */
export function machineFrom(sections: Iterable<string>, appliedIndex: number): KvStateMachine {
  const machine = new KvStateMachine();
  machine.restore(loaded(sections, appliedIndex));
  return machine;
}
