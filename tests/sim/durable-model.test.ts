import { expect, test } from "bun:test";
import type { Command } from "../../src/kv/command.ts";
import type { Persist } from "../../src/raft/batch.ts";
import type { Entry } from "../../src/raft/entry.ts";
import { INITIAL_HARD_STATE, type HardState } from "../../src/raft/hard-state.ts";
import { DurableModel } from "../../src/sim/durable-model.ts";
import type { Recovered } from "../../src/storage/store.ts";

const HARD_STATE: HardState = { currentTerm: 3, votedFor: 1 };

function noop(index: number, term: number): Entry<Command> {
  return { index, term, payload: { kind: "noop" } };
}

function group(hardState: HardState | null, writes: Persist<Command>["writes"]): Persist<Command> {
  return { hardState, writes };
}

function recovered(hardState: HardState, entries: readonly Entry<Command>[]): Recovered {
  return {
    identity: { clusterId: "c", serverId: 0, servers: [0] },
    hardState,
    entries: [...entries],
    repairs: [],
  };
}

/** Entries 1 and 2 and the hard state are said to be durable. */
function model(): DurableModel {
  const model = new DurableModel();
  const persist = group(HARD_STATE, [{ kind: "append", entries: [noop(1, 1), noop(2, 3)] }]);
  model.started(persist);
  model.finished(persist);
  return model;
}

test("P1: a store that loses what it said was durable is found out", () => {
  const lost = [
    recovered(HARD_STATE, [noop(1, 1)]),
    recovered(HARD_STATE, []),
    recovered(HARD_STATE, [noop(1, 1), noop(2, 2)]),
    recovered(INITIAL_HARD_STATE, [noop(1, 1), noop(2, 3)]),
  ];
  for (const files of lost) expect(() => model().recovered(files)).toThrow(/durable|were/);
});

test("E2: a vote that was durable is not another one after a restart", () => {
  const entries = [noop(1, 1), noop(2, 3)];
  expect(() => model().recovered(recovered({ currentTerm: 3, votedFor: 2 }, entries))).toThrow(/vote/);
  expect(() => model().recovered(recovered({ currentTerm: 3, votedFor: null }, entries))).toThrow(/vote/);
  expect(() => model().recovered(recovered({ currentTerm: 4, votedFor: 2 }, entries))).toThrow(/vote/);
  const voting = model();
  voting.started(group({ currentTerm: 4, votedFor: 2 }, []));
  voting.recovered(recovered({ currentTerm: 4, votedFor: 2 }, entries));
});

test("more than was promised may be there, and counts from then on", () => {
  const lucky = model();
  lucky.recovered(recovered(HARD_STATE, [noop(1, 1), noop(2, 3), noop(3, 3)]));
  expect(lucky.termAt(3)).toBe(3);
  expect(() => lucky.recovered(recovered(HARD_STATE, [noop(1, 1), noop(2, 3)]))).toThrow(/entry 3/);
});

test("what is being truncated is promised no longer", () => {
  const truncating = model();
  truncating.started(group(null, [{ kind: "truncate", from: 2 }]));
  expect(truncating.termAt(2)).toBeUndefined();
  truncating.recovered(recovered(HARD_STATE, [noop(1, 1)]));
});
