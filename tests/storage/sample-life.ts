/** A server's life on disk as a row of steps, and what may be found after it was cut short at any of them. */
import { expect } from "bun:test";

import type { Command } from "../../src/kv/command.ts";
import { KvStateLoader } from "../../src/kv/kv-state-loader.ts";
import { encodeSections, partsOf, type KvState } from "../../src/kv/kv-state.ts";
import { KvStateMachine } from "../../src/kv/state-machine.ts";
import type { LogWrite, Persist } from "../../src/raft/batch.ts";
import type { Entry, LogIndex } from "../../src/raft/entry.ts";
import type { HardState } from "../../src/raft/hard-state.ts";
import { ORIGIN, type SnapshotPosition } from "../../src/raft/snapshot-position.ts";
import { MemoryDisk, type MemoryFileSystem } from "../../src/storage/memory-file-system.ts";
import { createServerStore, openServerStore } from "../../src/storage/server-store.ts";
import type { Recovered, SnapshotInfo, Store } from "../../src/storage/store.ts";
import {
  append,
  compact,
  configuration,
  group,
  IDENTITY,
  install,
  MEMBERS,
  noop,
  puts,
  SPREAD,
  term,
  truncate,
} from "./sample-log.ts";
import { writeSnapshot } from "./sample-snapshot.ts";

export const STATE_DIR = "data/raft_state";
export const OPTIONS = { maxSegmentBytes: 900 };

type Step =
  | { readonly kind: "persist"; readonly persist: Persist<Command> }
  /** A snapshot of the server's own state is prepared, and then persisted with other things around it. */
  | { readonly kind: "prepare"; readonly position: SnapshotPosition }
  /** A leader's snapshot arrives in pieces. It holds FOREIGN. */
  | { readonly kind: "receive"; readonly position: SnapshotPosition }
  /** What was prepared or received is given up. */
  | { readonly kind: "abandon" }
  | { readonly kind: "restart" };

export type Life = readonly Step[];

/** The log of a leader that knows better. */
const FOREIGN = puts(1, 60, 1, 30);

const persist = (...args: Parameters<typeof group>): Step => ({ kind: "persist", persist: group(...args) });
const prepare = (index: number, term: number): Step => ({ kind: "prepare", position: { index, term } });
const receive = (index: number, term: number): Step => ({ kind: "receive", position: { index, term } });
const ABANDON: Step = { kind: "abandon" };
const RESTART: Step = { kind: "restart" };
const at = (index: number, term: number) =>
  install({ position: { index, term }, totalBytes: 0, checksum: "" });

/** Appends of less and of more than a sector, rolls, truncations within and across segments. */
export const LOG_LIFE: Life = [
  persist(term(1, 1), append(noop(1, 1), ...puts(2, 3, 1))),
  persist(null, append(...puts(5, 2, 1, 700))),
  persist(null, append(...puts(7, 10, 1, 200))),
  persist(term(2)),
  persist(term(2, 0), truncate(14), append(configuration(14, 2, SPREAD), ...puts(15, 1, 2, 300))),
  RESTART,
  persist(term(3), truncate(6), append(...puts(6, 1, 3))),
  persist(null, append(...puts(7, 2, 3, 400)), truncate(8), append(...puts(8, 8, 3, 150))),
  persist(null, truncate(1)),
  persist(null, append(...puts(1, 3, 3, 600))),
];

/** Snapshots of its own with rolls around them, compaction of no, some and all sealed segments, and installs. */
export const SNAPSHOT_LIFE: Life = [
  persist(term(1, 1), append(noop(1, 1), ...puts(2, 9, 1, 250))),
  prepare(4, 1),
  persist(null, append(...puts(11, 4, 1, 250)), compact(4, 1, 2)),
  prepare(9, 1),
  ABANDON,
  prepare(13, 1),
  persist(term(2), compact(13, 1, 13), append(...puts(15, 5, 2, 300))),
  RESTART,
  receive(30, 3),
  persist(term(4, 2), truncate(18), at(30, 3), append(...puts(31, 3, 4, 400))),
  receive(40, 4),
  prepare(32, 4),
  persist(null, append(...puts(34, 2, 4, 400)), compact(32, 4, 31)),
  persist(null, at(40, 4)),
  persist(null, append(...puts(41, 4, 4, 300))),
  RESTART,
  receive(43, 5),
  persist(term(5), at(43, 5), append(...puts(44, 2, 5, 300))),
  persist(null, truncate(44)),
  RESTART,
];

/** What is durable of a server. */
export interface Durable {
  readonly hardState: HardState;
  readonly snapshot: SnapshotPosition;
  /** Of the state at the snapshot; null: there is none. */
  readonly digest: string | null;
  /** The entry before the first of `entries`. */
  readonly base: SnapshotPosition;
  readonly entries: readonly Entry<Command>[];
}

/** What is known to be durable, and what was being done when the process died. */
export interface Progress {
  /** null: not even the creation was acknowledged. */
  acknowledged: Durable | null;
  underWay: Persist<Command> | null;
}

export const NEWBORN: Durable = {
  hardState: term(0),
  snapshot: ORIGIN,
  digest: null,
  base: ORIGIN,
  entries: [],
};

/** Runs the life until it ends or the process dies. */
export async function live(fs: MemoryFileSystem, life: Life): Promise<Progress> {
  const progress: Progress = { acknowledged: null, underWay: null };
  try {
    await createServerStore(fs, STATE_DIR, IDENTITY);
    progress.acknowledged = NEWBORN;
    let { store } = await openServerStore(fs, STATE_DIR, 1, OPTIONS);
    const drafts: { abandon(): Promise<void> }[] = [];
    for (const step of life) {
      switch (step.kind) {
        case "persist":
          progress.underWay = step.persist;
          await store.persist(step.persist);
          progress.acknowledged = after(progress.acknowledged, step.persist);
          progress.underWay = null;
          break;
        case "prepare":
          drafts.push(await prepareSnapshot(store, progress.acknowledged, step.position));
          break;
        case "receive":
          drafts.push(await receiveSnapshot(store, step.position));
          break;
        case "abandon":
          for (const draft of drafts) await draft.abandon();
          break;
        case "restart":
          await store.close();
          ({ store } = await openServerStore(fs, STATE_DIR, 1, OPTIONS));
      }
    }
    await store.close();
  } catch (error) {
    expect(error).toMatchObject({ code: expect.stringMatching(/^(io|diskFull)$/) });
  }
  return progress;
}

async function prepareSnapshot(store: Store, { base, entries }: Durable, position: SnapshotPosition) {
  const writer = await store.prepareSnapshot(position, MEMBERS);
  const frozen = machineAt(base, entries, position.index).freeze();
  for (const section of frozen.sections()) await writer.append(section);
  await writer.finish();
  return writer;
}

/** A leader's snapshot, received as it is sent. */
export async function receiveSnapshot(store: Store, position: SnapshotPosition) {
  const { info, bytes } = await foreignSnapshotOnce(position);
  const receipt = await store.receiveSnapshot(info);
  for (let from = 0; from < bytes.length; from += 700) await receipt.append(bytes.subarray(from, from + 700));
  const { state, configuration: members } = await receipt.finish();
  expect([state.appliedIndex, members]).toEqual([position.index, MEMBERS]);
  return receipt;
}

const foreignSnapshots = new Map<LogIndex, ReturnType<typeof foreignSnapshot>>();

function foreignSnapshotOnce(position: SnapshotPosition): ReturnType<typeof foreignSnapshot> {
  const made = foreignSnapshots.get(position.index) ?? foreignSnapshot(position);
  foreignSnapshots.set(position.index, made);
  return made;
}

/** A snapshot file as a leader sends it. */
export async function foreignSnapshot(
  position: SnapshotPosition,
  clusterId = IDENTITY.clusterId,
): Promise<{ readonly info: SnapshotInfo; readonly bytes: Buffer }> {
  const fs = new MemoryDisk().mount();
  const header = { clusterId, configuration: MEMBERS, position };
  const info = await writeSnapshot(fs, "/snapshot", machineAt(ORIGIN, FOREIGN, position.index), header);
  return { info, bytes: Buffer.from((await fs.readFile("/snapshot")) ?? []) };
}

/** The machine that has applied the entries after `base` up to `index`, and FOREIGN up to `base`. */
export function machineAt(base: SnapshotPosition, entries: readonly Entry<Command>[], index: LogIndex) {
  const machine = new KvStateMachine();
  for (const entry of [...FOREIGN.slice(0, base.index), ...entries]) {
    if (entry.index > index) break;
    if (entry.payload.kind === "command") machine.apply(entry.index, entry.payload.command);
    else machine.skip(entry.index);
  }
  return machine;
}

function after(before: Durable, { hardState, writes }: Persist<Command>): Durable {
  return writes.reduce(written, { ...before, hardState: hardState ?? before.hardState });
}

/** Entries are never forgotten here but by an install: what a compaction removes is up to the store. */
function written(before: Durable, write: LogWrite<Command>): Durable {
  const { base, entries } = before;
  switch (write.kind) {
    case "append":
      return { ...before, entries: [...entries, ...write.entries] };
    case "truncate":
      return { ...before, entries: entries.slice(0, write.from - 1 - base.index) };
    case "compact": {
      const digest = machineAt(base, entries, write.snapshot.index).digest();
      return { ...before, snapshot: write.snapshot, digest };
    }
    case "install": {
      const digest = machineAt(write.snapshot, [], write.snapshot.index).digest();
      return { ...before, snapshot: write.snapshot, digest, base: write.snapshot, entries: [] };
    }
  }
}

/** Expects what was found to be what was acknowledged, or that and a beginning of what was under way. */
export function expectReachable(found: Recovered, { acknowledged, underWay }: Progress): void {
  const before = acknowledged ?? NEWBORN;
  if (isSame(found, before)) return;
  if (underWay !== null) {
    let state: Durable = { ...before, hardState: underWay.hardState ?? before.hardState };
    if (isSame(found, state)) return;
    for (const write of underWay.writes) {
      const next = written(state, write);
      if (between(state, next, found.log).some((each) => isSame(found, each))) return;
      state = next;
    }
  }
  expect(found).toEqual(expect.objectContaining({ before, underWay }));
}

/** The states from one to the next: appending and truncating may get half-way, a snapshot counts or does not. */
function between(state: Durable, next: Durable, { base, entries }: Recovered["log"]): readonly Durable[] {
  if (next.snapshot !== state.snapshot) return [next];
  const [shorter, longer] = next.entries.length < state.entries.length ? [next, state] : [state, next];
  const length = base.index + entries.length - state.base.index;
  if (length < shorter.entries.length || length > longer.entries.length) return [];
  return [{ ...state, entries: longer.entries.slice(0, length) }];
}

function isSame({ hardState, snapshot, log }: Recovered, expected: Durable): boolean {
  const forgotten = log.base.index - expected.base.index;
  if (forgotten < 0 || log.base.index > expected.snapshot.index) return false;
  const baseTerm = forgotten === 0 ? expected.base.term : expected.entries[forgotten - 1]?.term;
  return (
    baseTerm === log.base.term &&
    Bun.deepEquals(hardState, expected.hardState) &&
    Bun.deepEquals(snapshot?.info.position ?? ORIGIN, expected.snapshot) &&
    Bun.deepEquals(log.entries, expected.entries.slice(forgotten)) &&
    digestOf(snapshot) === expected.digest
  );
}

/** Of the state after everything that was found. */
export function wholeDigest({ snapshot, log }: Recovered): string {
  const machine = new KvStateMachine();
  if (snapshot !== null) machine.restore(copyOf(snapshot.state));
  for (const { index, payload } of log.entries) {
    if (index <= machine.appliedIndex) continue;
    if (payload.kind === "command") machine.apply(index, payload.command);
    else machine.skip(index);
  }
  return machine.digest();
}

/** Of what a snapshot holds; null: there is none. */
export function digestOf(snapshot: Recovered["snapshot"]): string | null {
  if (snapshot === null) return null;
  const machine = new KvStateMachine();
  machine.restore(copyOf(snapshot.state));
  return machine.digest();
}

function copyOf(state: KvState): KvState {
  const loader = new KvStateLoader(state.appliedIndex);
  for (const section of encodeSections(partsOf(state))) expect(loader.add(section)).toBeNull();
  const copy = loader.finish();
  if (copy === null) throw new Error("a state can be copied");
  return copy;
}
