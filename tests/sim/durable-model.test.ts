import { expect, test } from "bun:test";
import type { Command } from "../../src/kv/command.ts";
import { RetryWindow } from "../../src/kv/retry-window.ts";
import type { Persist } from "../../src/raft/batch.ts";
import { initialConfiguration } from "../../src/raft/configuration.ts";
import type { Entry } from "../../src/raft/entry.ts";
import { INITIAL_HARD_STATE, type HardState } from "../../src/raft/hard-state.ts";
import { ORIGIN, type SnapshotPosition } from "../../src/raft/snapshot-position.ts";
import { DurableModel } from "../../src/sim/durable-model.ts";
import type { Recovered } from "../../src/storage/store.ts";

const HARD_STATE: HardState = { currentTerm: 3, votedFor: 1, abstainsThrough: 0 };

function noop(index: number, term: number): Entry<Command> {
  return { index, term, payload: { kind: "noop" } };
}

function group(hardState: HardState | null, writes: Persist<Command>["writes"]): Persist<Command> {
  return { hardState, writes };
}

/** `snapshot` ORIGIN: there is none. */
function recovered(
  hardState: HardState,
  entries: readonly Entry<Command>[],
  { snapshot = ORIGIN, base = ORIGIN }: { snapshot?: SnapshotPosition; base?: SnapshotPosition } = {},
): Recovered {
  const info = { position: snapshot, totalBytes: 1, checksum: "00000000" };
  const state = {
    appliedIndex: snapshot.index,
    data: new Map<string, string>(),
    retries: new RetryWindow(1),
  };
  return {
    identity: { clusterId: "c", serverId: 0, members: initialConfiguration([0]) },
    hardState,
    snapshot: snapshot.index === 0 ? null : { info, configuration: initialConfiguration([0]), state },
    log: { base, entries: [...entries] },
    repairs: [],
  };
}

/** Entries 1 and 2 and the hard state are said to be durable. */
function model(): DurableModel {
  const durable = new DurableModel();
  persist(durable, group(HARD_STATE, [{ kind: "append", entries: [noop(1, 1), noop(2, 3)] }]));
  return durable;
}

function persist(durable: DurableModel, done: Persist<Command>): void {
  durable.started(done);
  durable.finished(done);
}

function recover(durable: DurableModel, files: Recovered, damaged = false): void {
  durable.recovered(files, damaged);
}

test("P1: a store that loses what it said was durable is found out", () => {
  const lost = [
    recovered(HARD_STATE, [noop(1, 1)]),
    recovered(HARD_STATE, []),
    recovered(HARD_STATE, [noop(1, 1), noop(2, 2)]),
    recovered(INITIAL_HARD_STATE, [noop(1, 1), noop(2, 3)]),
  ];
  for (const files of lost) expect(() => recover(model(), files)).toThrow(/durable|were/);
});

test("E2: a vote that was durable is not another one after a restart", () => {
  const entries = [noop(1, 1), noop(2, 3)];
  const vote = (currentTerm: number, votedFor: number | null): Recovered =>
    recovered({ ...HARD_STATE, currentTerm, votedFor }, entries);
  for (const files of [vote(3, 2), vote(3, null), vote(4, 2)]) {
    expect(() => recover(model(), files)).toThrow(/vote/);
  }
  const voting = model();
  voting.started(group({ ...HARD_STATE, currentTerm: 4, votedFor: 2 }, []));
  recover(voting, vote(4, 2));
});

test("more than was promised may be there, and counts from then on", () => {
  const lucky = model();
  recover(lucky, recovered(HARD_STATE, [noop(1, 1), noop(2, 3), noop(3, 3)]));
  expect(lucky.termAt(3)).toBe(3);
  expect(() => recover(lucky, recovered(HARD_STATE, [noop(1, 1), noop(2, 3)]))).toThrow(/entry 3/);
});

test("what is being truncated is promised no longer", () => {
  const truncating = model();
  truncating.started(group(null, [{ kind: "truncate", from: 2 }]));
  expect(truncating.termAt(2)).toBeUndefined();
  recover(truncating, recovered(HARD_STATE, [noop(1, 1)]));
});

const SECOND: SnapshotPosition = { index: 2, term: 3 };
const NINTH: SnapshotPosition = { index: 9, term: 3 };

/** As `model`, with a snapshot of both entries. */
function compacted(): DurableModel {
  const durable = model();
  persist(durable, group(null, [{ kind: "compact", snapshot: SECOND, through: 2 }]));
  return durable;
}

test("S2: log may go when a durable snapshot stands for it, and not before", () => {
  const files = recovered(HARD_STATE, [], { snapshot: SECOND, base: SECOND });
  recover(compacted(), files);
  const going = model();
  going.started(group(null, [{ kind: "compact", snapshot: SECOND, through: 2 }]));
  recover(going, files);
  const first = { index: 1, term: 1 };
  const lost = recovered(HARD_STATE, [], { snapshot: first, base: first });
  expect(() => recover(model(), lost)).toThrow("entry 2 of term 3 was durable");
});

test("S1: a durable snapshot is there after a restart, but for a damaged disk whose log holds everything", () => {
  const without = recovered(HARD_STATE, [noop(1, 1), noop(2, 3)]);
  expect(() => recover(compacted(), without)).toThrow("snapshot 2 was durable");
  recover(compacted(), without, true);
  expect(() => recover(compacted(), recovered(HARD_STATE, [noop(1, 1)]), true)).toThrow("entry 2");
});

test("S2: a gap between snapshot and log is found out", () => {
  const third = { index: 3, term: 3 };
  const files = recovered(HARD_STATE, [noop(4, 3)], { snapshot: SECOND, base: third });
  expect(() => recover(compacted(), files)).toThrow("gap");
  expect(() => recover(model(), recovered(HARD_STATE, [], { snapshot: SECOND }))).toThrow("gap");
});

test("S1: an install that was interrupted leaves the log whole, or the snapshot in its place", () => {
  const installing = (): DurableModel => {
    const durable = model();
    durable.started(group(null, [{ kind: "install", snapshot: NINTH }]));
    return durable;
  };
  recover(installing(), recovered(HARD_STATE, [noop(1, 1), noop(2, 3)]));
  recover(installing(), recovered(HARD_STATE, [], { snapshot: NINTH, base: NINTH }));
  expect(() => recover(installing(), recovered(HARD_STATE, [noop(1, 1)]))).toThrow("entry 2");
});

test("S3: what a snapshot stands for is held, what follows it is not, and conflicting entries are gone", () => {
  const installed = model();
  persist(installed, group(null, [{ kind: "append", entries: [noop(10, 3)] }]));
  persist(installed, group(null, [{ kind: "install", snapshot: NINTH }]));
  expect([installed.holds(5, 2), installed.holds(9, 3), installed.holds(10, 3)]).toEqual([true, true, false]);
});

test("P9: what was on a disk that is lost may have counted, until the server has caught up", () => {
  const durable = model();
  durable.madeAnew({ currentTerm: 9, votedFor: 0, abstainsThrough: 8 });
  expect([durable.holds(2, 3), durable.held(2, 3)]).toEqual([false, true]);
  persist(durable, group({ currentTerm: 9, votedFor: 0, abstainsThrough: 0 }, []));
  expect(durable.held(2, 3)).toBe(false);
});
