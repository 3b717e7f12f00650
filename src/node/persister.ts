import type { Command } from "../kv/command.ts";
import type { Batch, LogWrite } from "../raft/batch.ts";
import type { Entry } from "../raft/entry.ts";
import type { HardState } from "../raft/hard-state.ts";
import { servesElection } from "../storage/reserve.ts";
import type { Later, Store } from "../storage/store.ts";

type Group = NonNullable<Batch<Command>["persist"]>;

/**
 * Makes groups durable, in order, one store call at a time. All groups that come while the disk is busy
 * go into its next call together: one fsync for everything that waits (group commit). But a no-op ends a call.
 */
export class Persister {
  readonly #store: Store;
  readonly #onPersisted: (sequence: number) => void;
  readonly #onFailure: (error: unknown) => void;
  readonly #waiting: Group[] = [];
  #running: Promise<void> | null = null;
  #failed = false;

  /** After `onFailure` nothing is written and nothing reported any more. */
  constructor(store: Store, onPersisted: (sequence: number) => void, onFailure: (error: unknown) => void) {
    this.#store = store;
    this.#onPersisted = onPersisted;
    this.#onFailure = onFailure;
  }

  add(group: Group): void {
    if (this.#failed) return;
    this.#waiting.push(group);
    this.#running ??= this.#run();
  }

  /** Resolves when everything added so far is durable, or has failed. */
  async idle(): Promise<void> {
    while (this.#running !== null) await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0 && !this.#failed) {
      const noop = this.#waiting.findIndex(endsWithNoop);
      const groups = this.#waiting.splice(0, noop === -1 ? Infinity : noop + 1);
      await this.#store.persist(merge(groups), this.#later).then(
        () => this.#onPersisted(groups.at(-1)?.sequence ?? 0),
        (error: unknown) => {
          this.#failed = true;
          this.#onFailure(error);
        },
      );
    }
    this.#running = null;
  }

  /** On a full disk, what would make room is not to wait behind what finds none. */
  readonly #takeCompaction: Later["takeCompaction"] = (durableIndex) => {
    for (const [at, group] of this.#waiting.entries()) {
      const write = group.writes.find(({ kind }) => kind !== "append");
      if (write === undefined) continue;
      if (write.kind !== "compact" || write.snapshot.index > durableIndex) return null;
      this.#waiting[at] = { ...group, writes: group.writes.filter((each) => each !== write) };
      return write;
    }
    return null;
  };

  readonly #later: Later = {
    takeCompaction: this.#takeCompaction,
    electionWaits: (currentTerm) => this.#waiting.some((group) => servesElection(group, currentTerm)),
  };
}

/** What follows a no-op may find no room, and is not to keep it from being durable (Durability). */
function endsWithNoop({ writes }: Group): boolean {
  const last = writes.at(-1);
  return last?.kind === "append" && last.entries.at(-1)?.payload.kind === "noop";
}

/** Hard state first is right for all of them: a later term or vote never makes an earlier write wrong. */
function merge(groups: readonly Group[]): {
  hardState: HardState | null;
  writes: readonly LogWrite<Command>[];
} {
  const hardState = groups.findLast((group) => group.hardState !== null)?.hardState ?? null;
  return { hardState, writes: joined(compactionsFirst(groups.flatMap((group) => group.writes))) };
}

/** Appends that follow each other are one: what each of them costs the disk is paid once. */
function joined(writes: readonly LogWrite<Command>[]): readonly LogWrite<Command>[] {
  const runs: LogWrite<Command>[] = [];
  let entries: Entry<Command>[] = [];
  for (const write of writes) {
    if (write.kind !== "append") {
      runs.push(write);
    } else if (runs.at(-1)?.kind === "append") {
      for (const entry of write.entries) entries.push(entry);
    } else {
      entries = [...write.entries];
      runs.push({ kind: "append", entries });
    }
  }
  return runs;
}

/** A compaction makes room for the appends before it; it needs none of their entries that its snapshot ends before. */
function compactionsFirst(writes: readonly LogWrite<Command>[]): readonly LogWrite<Command>[] {
  const ordered: LogWrite<Command>[] = [];
  for (const write of writes) {
    const stays = (before: LogWrite<Command>): boolean =>
      write.kind !== "compact" ||
      before.kind !== "append" ||
      (before.entries[0]?.index ?? 0) <= write.snapshot.index;
    ordered.splice(ordered.findLastIndex(stays) + 1, 0, write);
  }
  return ordered;
}
