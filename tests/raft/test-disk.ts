import { assert, defined } from "../../src/base/assert.ts";
import type { Persist } from "../../src/raft/batch.ts";
import type { Entry } from "../../src/raft/entry.ts";
import type { HardState } from "../../src/raft/hard-state.ts";
import type { SeededRandom } from "./random.ts";

type Group = Persist<string> & { readonly sequence: number };

/** A server's disk: groups become durable in order, and only when the test says so. */
export class TestDisk {
  hardState: HardState;
  readonly entries: Entry<string>[];
  /** Written, not durable yet; oldest first. */
  #pending: Group[] = [];

  constructor(hardState: HardState, entries: readonly Entry<string>[]) {
    this.hardState = hardState;
    this.entries = [...entries];
  }

  get pendingCount(): number {
    return this.#pending.length;
  }

  write(group: Group): void {
    const last = this.#pending.at(-1)?.sequence;
    assert(last === undefined || group.sequence === last + 1, `group ${group.sequence} after ${last}`);
    this.#pending.push(group);
  }

  /** Makes the `count` oldest groups durable; returns the last one's sequence. */
  complete(count: number): number {
    const done = this.#pending.splice(0, count);
    for (const step of done.flatMap((group) => this.#stepsOf(group))) step();
    return defined(done.at(-1), "a group that waits").sequence;
  }

  /**
   * The process ends. Of what was not durable nothing is left; with `random`, some first part of it, down
   * to a single entry, may have landed.
   */
  crash(random?: SeededRandom): void {
    const steps = this.#pending.flatMap((group) => this.#stepsOf(group));
    for (const step of steps.slice(0, random?.int(0, steps.length) ?? 0)) step();
    this.#pending = [];
  }

  /** Hard state first, then the writes one after the other (batch.ts). */
  #stepsOf({ hardState, writes }: Group): readonly (() => void)[] {
    const steps = writes.flatMap((write) =>
      write.kind === "truncate"
        ? [() => this.#truncate(write.from)]
        : write.entries.map((entry) => () => this.#append(entry)),
    );
    return hardState === null ? steps : [() => void (this.hardState = hardState), ...steps];
  }

  #append(entry: Entry<string>): void {
    const expected = this.entries.length + 1;
    assert(entry.index === expected, `entry ${entry.index} is written where ${expected} belongs`);
    this.entries.push(entry);
  }

  #truncate(from: number): void {
    assert(from >= 1 && from <= this.entries.length, `truncates ${from} of ${this.entries.length}`);
    this.entries.length = from - 1;
  }
}
