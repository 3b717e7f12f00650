import type { Command } from "../kv/command.ts";
import { memberOf, votersOf, type Configuration } from "../raft/configuration.ts";
import type { Entry, LogIndex, ServerId, Term } from "../raft/entry.ts";
import type { RaftStatus } from "../raft/raft.ts";
import type { SnapshotPosition } from "../raft/snapshot-position.ts";

/** A log as it can be looked at, entry by entry. */
export interface ReadableLog {
  /** From firstLogIndex to lastLogIndex. */
  entryAt(index: LogIndex): Entry<Command>;
  /** null: below the log, or past its end. */
  termAt(index: LogIndex): Term | null;
}

/** A configuration and where it stands; 0: some server was created with it. */
export interface PlacedConfiguration {
  readonly index: LogIndex;
  readonly configuration: Configuration;
}

interface FoundChange extends PlacedConfiguration {
  readonly term: Term;
}

/** One server's log, as far as configurations go. */
interface View {
  /** What it was created with, and from which entry on that counts, where it was made anew; else 0. */
  readonly founded: PlacedConfiguration;
  /** Ascending; those below the log's beginning say nothing. */
  changes: FoundChange[];
  /** Up to here the log was looked through. */
  scanned: SnapshotPosition;
  firstLogIndex: LogIndex;
}

/**
 * Who belongs to the cluster: as each server's own log tells, and as is committed. Read from the logs, entry by
 * entry; the servers are not asked what they go by.
 */
export class KnownConfigurations {
  /** Ascending; the first is what the cluster was created with. */
  readonly #committed: PlacedConfiguration[];
  readonly #views = new Map<ServerId, View>();

  constructor(founders: Configuration) {
    this.#committed = [{ index: 0, configuration: founders }];
  }

  /** The newest that is committed. */
  get committed(): Configuration {
    return this.#committed.at(-1)?.configuration ?? [];
  }

  /** As of a committed entry. */
  committedAt(index: LogIndex): Configuration {
    return this.#committed.findLast((placed) => placed.index <= index)?.configuration ?? [];
  }

  /** An entry has been committed; each once, in order. */
  commit({ index, payload }: Entry<Command>): void {
    if (payload.kind === "configuration")
      this.#committed.push({ index, configuration: payload.configuration });
  }

  /** Server `id` starts; `founded` is what it was created with, older entries notwithstanding. */
  starts(id: ServerId, founded: PlacedConfiguration): void {
    this.#views.set(id, { founded, changes: [], scanned: { index: 0, term: 0 }, firstLogIndex: 1 });
  }

  /** The files of server `id` are gone. */
  forget(id: ServerId): void {
    this.#views.delete(id);
  }

  /** Looks through what is new in the log of server `id`. */
  look(id: ServerId, { firstLogIndex, lastLogIndex }: RaftStatus, log: ReadableLog): void {
    const view = this.#views.get(id);
    if (view === undefined) return;
    view.firstLogIndex = firstLogIndex;
    const { scanned } = view;
    const stands = scanned.index === 0 || log.termAt(scanned.index) === scanned.term;
    if (!stands) view.changes = [];
    let index = Math.max(stands ? scanned.index + 1 : 0, firstLogIndex);
    for (; index <= lastLogIndex; index += 1) {
      const { term, payload } = log.entryAt(index);
      if (payload.kind === "configuration")
        view.changes.push({ index, term, configuration: payload.configuration });
    }
    view.scanned = { index: lastLogIndex, term: log.termAt(lastLogIndex) ?? 0 };
  }

  /** What server `id` is to go by: the latest in its log, committed or not. */
  of(id: ServerId): PlacedConfiguration {
    return this.#before(id, Infinity);
  }

  /** What server `id` went by before the one that it goes by now. */
  formerOf(id: ServerId): PlacedConfiguration {
    return this.#before(id, this.of(id).index);
  }

  #before(id: ServerId, end: LogIndex): PlacedConfiguration {
    const view = this.#views.get(id);
    if (view === undefined) return { index: 0, configuration: [] };
    const { changes, firstLogIndex, founded } = view;
    const oldest = firstLogIndex === 1 ? founded.index + 1 : firstLogIndex;
    const latest = changes.findLast(({ index }) => index < end && index >= oldest);
    if (latest !== undefined) return latest;
    // Below the log everything is committed.
    if (firstLogIndex === 1) return founded;
    return { index: firstLogIndex - 1, configuration: this.committedAt(firstLogIndex - 1) };
  }

  /** Where `member`, which belongs to what server `id` goes by, was added to the cluster; 0: it was created with it. */
  addedAt(id: ServerId, member: ServerId): LogIndex {
    const { firstLogIndex = 1, changes = [] } = this.#views.get(id) ?? {};
    const own = changes.filter(({ index }) => index >= firstLogIndex);
    const older = this.#committed.filter(({ index }) => index < (own[0]?.index ?? Infinity));
    const all = [...older, ...own];
    const without = all.findLastIndex(({ configuration }) => memberOf(configuration, member) === null);
    return all[without + 1]?.index ?? 0;
  }

  votersOf(id: ServerId): readonly ServerId[] {
    return votersOf(this.of(id).configuration);
  }

  /** Every configuration that some server goes by, and the committed one: each may count from now on. */
  get inForce(): readonly Configuration[] {
    return [this.committed, ...[...this.#views.keys()].map((id) => this.of(id).configuration)];
  }
}
