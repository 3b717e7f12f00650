import { assert, defined } from "../../src/base/assert.ts";
import type { LogWrite, Persist } from "../../src/raft/batch.ts";
import type { Configuration } from "../../src/raft/configuration.ts";
import type { Entry, LogIndex, Term } from "../../src/raft/entry.ts";
import type { HardState } from "../../src/raft/hard-state.ts";
import type { PersistentState } from "../../src/raft/persistent-state.ts";
import { ORIGIN, type SnapshotPosition } from "../../src/raft/snapshot-position.ts";
import type { SeededRandom } from "./random.ts";

type Group = Persist<string> & { readonly sequence: number };

/** A server's disk: groups become durable in order, and only when the test says so. */
export class TestDisk {
  hardState: HardState;
  /** The entry before the first one of `entries`. */
  base: SnapshotPosition;
  entries: Entry<string>[];
  snapshot: SnapshotPosition;
  /** As of the snapshot. */
  configuration: Configuration;
  /** What the snapshots hold that were sent here, by index. */
  readonly received = new Map<LogIndex, Configuration>();
  /** Nothing more becomes durable. */
  full = false;
  /** Written, not durable yet; oldest first. */
  #pending: Group[] = [];

  constructor({ hardState, log, snapshot, configuration }: PersistentState<string>) {
    this.hardState = hardState;
    this.base = log.base;
    this.entries = [...log.entries];
    this.snapshot = snapshot;
    this.configuration = configuration;
  }

  get pendingCount(): number {
    return this.#pending.length;
  }

  /** Whether something waits that can become durable. */
  get canComplete(): boolean {
    return !this.full && this.pendingCount > 0;
  }

  get lastIndex(): LogIndex {
    return this.base.index + this.entries.length;
  }

  /** What a server that starts finds here. */
  get recovered(): PersistentState<string> {
    const { hardState, base, entries, snapshot, configuration } = this;
    return { hardState, log: { base, entries }, snapshot, configuration };
  }

  /** null where there is no such entry, or not any more. */
  entryAt(index: LogIndex): Entry<string> | null {
    return this.entries[index - this.base.index - 1] ?? null;
  }

  /** Whether what stands there is in the snapshot, or is an entry of that term. */
  holds({ index, term }: { readonly index: LogIndex; readonly term: Term }): boolean {
    return index <= this.snapshot.index || this.entryAt(index)?.term === term;
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
    // An install that was cut off between its two steps is finished by whoever starts.
    if (!this.#logReachesSnapshot) this.#reset(this.snapshot);
  }

  /** All is lost, and the server is made anew under its old id. */
  replace(hardState: HardState, configuration: Configuration): void {
    this.hardState = hardState;
    this.configuration = configuration;
    this.snapshot = ORIGIN;
    this.#reset(ORIGIN);
    this.#pending = [];
    this.full = false;
  }

  get #logReachesSnapshot(): boolean {
    const { index, term } = this.snapshot;
    return index === this.base.index || this.entryAt(index)?.term === term;
  }

  /** Hard state first, then the writes one after the other (batch.ts). */
  #stepsOf({ hardState, writes }: Group): readonly (() => void)[] {
    const steps = writes.flatMap((write) => this.#stepsOfWrite(write));
    return hardState === null ? steps : [() => void (this.hardState = hardState), ...steps];
  }

  #stepsOfWrite(write: LogWrite<string>): readonly (() => void)[] {
    switch (write.kind) {
      case "append":
        return write.entries.map((entry) => () => this.#append(entry));
      case "truncate":
        return [() => this.#truncate(write.from)];
      case "compact":
        return [
          () => this.#publish(write.snapshot, this.#configurationAt(write.snapshot.index)),
          () => this.#compact(write.through),
        ];
      case "install":
        return [
          () => this.#publish(write.snapshot, this.#receivedAt(write.snapshot.index)),
          () => this.#reset(write.snapshot),
        ];
    }
  }

  #append(entry: Entry<string>): void {
    const expected = this.lastIndex + 1;
    assert(entry.index === expected, `entry ${entry.index} is written where ${expected} belongs`);
    this.entries.push(entry);
  }

  #truncate(from: LogIndex): void {
    assert(from > this.base.index && from <= this.lastIndex, `truncates ${from} of ${this.lastIndex}`);
    this.entries.length = from - this.base.index - 1;
  }

  #configurationAt(index: LogIndex): Configuration {
    const changes = this.entries.filter((entry) => entry.index > this.snapshot.index && entry.index <= index);
    const payload = changes.findLast((entry) => entry.payload.kind === "configuration")?.payload;
    return payload?.kind === "configuration" ? payload.configuration : this.configuration;
  }

  #receivedAt(index: LogIndex): Configuration {
    return defined(this.received.get(index), `a snapshot at ${index} that was sent here`);
  }

  #publish(snapshot: SnapshotPosition, configuration: Configuration): void {
    assert(snapshot.index > this.snapshot.index, `snapshot ${snapshot.index} after ${this.snapshot.index}`);
    this.snapshot = snapshot;
    this.configuration = configuration;
  }

  #compact(through: LogIndex): void {
    assert(this.#logReachesSnapshot, `the log does not hold the snapshot at ${this.snapshot.index}`);
    assert(
      through <= this.snapshot.index,
      `a gap: ${through} goes, the snapshot is at ${this.snapshot.index}`,
    );
    const last = this.entryAt(through);
    if (last === null) return;
    this.entries = this.entries.filter(({ index }) => index > through);
    this.base = { index: through, term: last.term };
  }

  #reset(base: SnapshotPosition): void {
    this.base = base;
    this.entries = [];
  }
}
