import { assert, defined } from "../base/assert.ts";
import { type Configuration, votersOf } from "./configuration.ts";
import type { Entry, LogIndex, ServerId } from "./entry.ts";
import type { PersistentState } from "./persistent-state.ts";

/** A configuration, in effect from the entry at `index` on. */
interface Known {
  readonly index: LogIndex;
  readonly configuration: Configuration;
  readonly voters: readonly ServerId[];
}

/**
 * Every configuration that one server's log holds, from that of its snapshot, or its creation, on. The latest counts,
 * committed or not (dissertation §4.1); when its entry is truncated, the one before is back (M3).
 */
export class ConfigurationHistory {
  /** Never empty; ascending by index. */
  #known: Known[];

  /**
   * The recovered configuration is that of the newest entry of its kind up to the snapshot; where that entry has gone,
   * it is at the base of the log or before.
   */
  constructor({ log, snapshot, configuration, configurationFrom = 0 }: PersistentState<unknown>) {
    const before = log.entries.findLast(
      ({ index, payload }) => index <= snapshot.index && payload.kind === "configuration",
    );
    const latest = snapshot.index === 0 ? configurationFrom : log.base.index;
    this.#known = [known(before?.index ?? latest, configuration)];
    this.append(log.entries.filter(({ index }) => index > snapshot.index));
  }

  /** Before it, nothing is known. */
  get #first(): Known {
    return defined(this.#known[0], "a configuration");
  }

  get #latest(): Known {
    return defined(this.#known.at(-1), "a configuration");
  }

  get latest(): Configuration {
    return this.#latest.configuration;
  }

  /** Where the latest stands; 0: it is what the server was created with; in a snapshot, perhaps earlier. */
  get latestIndex(): LogIndex {
    return this.#latest.index;
  }

  /** Those of the latest, ascending. */
  get voters(): readonly ServerId[] {
    return this.#latest.voters;
  }

  /** The one in effect at `index`, which is at or above the newest snapshot's; empty where that is not known. */
  at(index: LogIndex): Configuration {
    return this.#known.findLast((one) => one.index <= index)?.configuration ?? [];
  }

  /** These have been added to the log. */
  append(entries: readonly Entry<unknown>[]): void {
    for (const { index, payload } of entries) {
      // Older than what a server made anew was told; it has no say until it has caught up.
      if (payload.kind !== "configuration" || index <= this.#first.index) continue;
      assert(index > this.latestIndex, `configuration ${index} after ${this.latestIndex}`);
      this.#known.push(known(index, payload.configuration));
    }
  }

  /** The entry at `from` and all that follow are gone from the log. */
  truncate(from: LogIndex): void {
    this.#known = this.#known.filter((one) => one === this.#first || one.index < from);
  }

  /** A snapshot at `index` stands for what was before. */
  compact(index: LogIndex): void {
    const inEffect = this.#known.findLastIndex((one) => one.index <= index);
    this.#known = this.#known.slice(Math.max(0, inEffect));
  }

  /** A leader's snapshot at `index` takes the place of everything. */
  reset(index: LogIndex, configuration: Configuration): void {
    this.#known = [known(index, configuration)];
  }
}

function known(index: LogIndex, configuration: Configuration): Known {
  return { index, configuration, voters: votersOf(configuration) };
}
