import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import type { Configuration } from "../../src/raft/configuration.ts";
import { ConfigurationHistory } from "../../src/raft/configuration-history.ts";
import type { Entry } from "../../src/raft/entry.ts";
import { ORIGIN } from "../../src/raft/snapshot-position.ts";
import { configurationEntry, entriesOf, hardState, members } from "./raft-values.ts";

const CREATED = members([0, 1, 2]);

function historyOf(entries: readonly Entry<string>[], snapshot = ORIGIN, base = ORIGIN) {
  return new ConfigurationHistory({
    hardState: hardState(1),
    log: { base, entries },
    snapshot,
    configuration: CREATED,
  });
}

describe("the configurations of a log", () => {
  test("S5: of a server made anew are not known before the one it was told, and older ones do not count", () => {
    const today = members([0, 1, 3]);
    const history = new ConfigurationHistory({
      hardState: hardState(1),
      log: { base: ORIGIN, entries: [configurationEntry(1, 1, members([0, 1], [2]))] },
      snapshot: ORIGIN,
      configuration: today,
      configurationFrom: 4,
    });
    history.append([
      ...entriesOf(1, 1),
      configurationEntry(3, 1, members([0, 1])),
      configurationEntry(4, 1, today),
    ]);
    expect(history).toMatchObject({ latestIndex: 4, latest: today });
    expect([0, 1, 3, 4, 9].map((index) => history.at(index).length)).toEqual([0, 0, 0, 3, 3]);
    history.truncate(2);
    expect(history).toMatchObject({ latestIndex: 4, latest: today });
    history.append([configurationEntry(5, 1, members([0, 1, 2, 3]))]);
    expect(history).toMatchObject({ latestIndex: 5, voters: [0, 1, 2, 3] });
  });

  test("M3, dissertation §4.1: the latest of the recovered log counts, committed or not", () => {
    const history = historyOf([
      ...entriesOf(0, 1),
      configurationEntry(2, 1, members([0, 1, 2], [3])),
      ...entriesOf(2, 1),
      configurationEntry(4, 1, members([0, 1, 2, 3])),
    ]);
    expect(history).toMatchObject({ latestIndex: 4, voters: [0, 1, 2, 3], latest: members([0, 1, 2, 3]) });
    expect([0, 1, 2, 3, 4, 9].map((index) => history.at(index).length)).toEqual([3, 3, 4, 4, 4, 4]);
    history.truncate(4);
    expect(history).toMatchObject({ latestIndex: 2, voters: [0, 1, 2] });
    history.truncate(2);
    expect(history).toMatchObject({ latestIndex: 0, latest: CREATED });
  });

  test("S5: without a snapshot's own entry its configuration stands at the base of the log, or before", () => {
    const snapshot = { index: 3, term: 1 };
    expect(historyOf([], snapshot, snapshot).latestIndex).toBe(3);
    expect(historyOf(entriesOf(0, 1, 1, 1), snapshot).latestIndex).toBe(0);
    const known = historyOf(
      [...entriesOf(0, 1), configurationEntry(2, 1, CREATED), ...entriesOf(2, 1)],
      snapshot,
    );
    expect(known).toMatchObject({ latestIndex: 2, latest: CREATED });
  });

  test("S2, M3: is at every index what a plain scan of the log says, whatever is added, truncated and compacted", () => {
    const anyStep = fc.tuple(fc.constantFrom("append", "change", "truncate", "compact"), fc.nat(5));
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 30 }), (steps) => {
        const history = historyOf([]);
        const log: (Configuration | null)[] = [];
        let compacted = 0;
        for (const [kind, amount] of steps) {
          if (kind === "append") log.push(null);
          else if (kind === "change") {
            const configuration = members([0, 1], [2 + amount]);
            log.push(configuration);
            history.append([configurationEntry(log.length, 1, configuration)]);
          } else if (kind === "truncate") {
            const from = Math.max(compacted, log.length - amount) + 1;
            log.length = Math.min(log.length, from - 1);
            history.truncate(from);
          } else {
            compacted = Math.max(compacted, log.length - amount);
            history.compact(compacted);
          }
        }
        for (let index = compacted; index <= log.length; index += 1) {
          const scanned = log.slice(0, index).findLast((configuration) => configuration !== null) ?? CREATED;
          expect(history.at(index)).toBe(scanned);
        }
        expect(history.latest).toBe(history.at(log.length));
        expect(history.latestIndex).toBe(log.findLastIndex((configuration) => configuration !== null) + 1);
      }),
    );
  });
});
