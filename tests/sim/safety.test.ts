import { expect, test } from "bun:test";
import type { Command } from "../../src/kv/command.ts";
import { KvStateMachine } from "../../src/kv/state-machine.ts";
import { initialConfiguration, type Configuration } from "../../src/raft/configuration.ts";
import type { Entry } from "../../src/raft/entry.ts";
import { INITIAL_HARD_STATE } from "../../src/raft/hard-state.ts";
import type { RaftStatus } from "../../src/raft/raft.ts";
import { ORIGIN } from "../../src/raft/snapshot-position.ts";
import { Safety, type Checked } from "../../src/sim/safety.ts";
import type { Recovered } from "../../src/storage/store.ts";

const ALONE = initialConfiguration([0]);
const THREE = initialConfiguration([0, 1, 2]);

type Content = Entry<Command>["payload"];

const NOOP: Content = { kind: "noop" };

interface Log {
  readonly currentTerm: number;
  /** Their terms, and what they hold. */
  readonly entries: readonly (readonly [term: number, content: Content])[];
  readonly commitIndex: number;
}

/** A leader whose log is durable. Its no-op is the first entry of its term. */
function leader(id: number, log: Log, configuration: Configuration): Checked {
  const { currentTerm, commitIndex } = log;
  const entries = log.entries.map(([term, payload], at): Entry<Command> => ({
    index: at + 1,
    term,
    payload,
  }));
  const status: RaftStatus = {
    id,
    role: "leader",
    currentTerm,
    votedFor: id,
    leaderId: id,
    commitIndex,
    firstLogIndex: 1,
    lastLogIndex: entries.length,
    durableIndex: entries.length,
    noopIndex: entries.findIndex(({ term }) => term === currentTerm) + 1,
    snapshotIndex: 0,
    diskFull: false,
    abstains: false,
    configuration,
    configurationIndex: 0,
    transferTo: null,
  };
  return {
    status: () => status,
    entryAt: (index) => entries[index - 1] ?? { index, term: 0, payload: NOOP },
    termAt: (index) => (index === 0 ? 0 : (entries[index - 1]?.term ?? null)),
  };
}

function recovered(serverId: number, members: Configuration): Recovered {
  return {
    identity: { clusterId: "c", serverId, members },
    hardState: INITIAL_HARD_STATE,
    snapshot: null,
    log: { base: ORIGIN, entries: [] },
    repairs: [],
  };
}

/** Server `id` says that its log, and its vote for itself, are durable. */
function makeDurable(safety: Safety, id: number, checked: Checked): void {
  const { currentTerm, lastLogIndex } = checked.status();
  const entries = Array.from({ length: lastLogIndex }, (_, at) => checked.entryAt(at + 1));
  safety.durable(id).finished({
    hardState: { currentTerm, votedFor: id, abstainsThrough: 0 },
    writes: [{ kind: "append", entries }],
  });
}

/** Server 0, alone, has committed an entry of term 7, in term 7; each of the others thinks itself alone as well. */
function afterTermSeven(): Safety {
  const safety = new Safety({ founders: ALONE, machine: { window: 9, sessions: 9 } });
  safety.recovered(0, recovered(0, ALONE), false);
  safety.recovered(1, recovered(1, initialConfiguration([1])), false);
  const first = leader(0, { currentTerm: 7, entries: [[7, NOOP]], commitIndex: 1 }, ALONE);
  makeDurable(safety, 0, first);
  safety.stepped(0, first);
  return safety;
}

function ofTerm(safety: Safety, term: number): Checked {
  const log = { currentTerm: term, entries: [[term, NOOP]] as const, commitIndex: 0 };
  const checked = leader(1, log, initialConfiguration([1]));
  makeDurable(safety, 1, checked);
  return checked;
}

test("Leader Completeness: a leader of a later term must hold what was committed", () => {
  const safety = afterTermSeven();
  expect(() => safety.stepped(1, ofTerm(safety, 8))).toThrow("without entry 1 of term 7");
});

test("E11: who was stopped with the votes in its sockets may win an earlier term late, and is not blamed", () => {
  const safety = afterTermSeven();
  expect(() => safety.stepped(1, ofTerm(safety, 6))).not.toThrow();
});

test("State Machine Safety: a snapshot of another state, or of what nobody committed, is found out", () => {
  const safety = afterTermSeven();
  safety.skipped(1);
  const [empty, other] = [new KvStateMachine(9, 9), new KvStateMachine(9, 9)];
  empty.skip(1);
  other.apply(1, { kind: "put", key: "k", value: "v", request: null, routed: null });
  expect(() => safety.snapshot(1, { index: 1, term: 7 }, empty.digest())).not.toThrow();
  expect(() => safety.snapshot(1, { index: 1, term: 7 }, other.digest())).toThrow("is not the state after");
  expect(() => safety.snapshotOf(1, { index: 1, term: 7 }, ALONE)).not.toThrow();
  expect(() => safety.snapshotOf(1, { index: 1, term: 6 }, ALONE)).toThrow("of term 6");
  expect(() => safety.snapshotOf(1, { index: 2, term: 7 }, ALONE)).toThrow("committed there: nothing");
  expect(() => safety.snapshotOf(1, { index: 1, term: 7 }, THREE)).toThrow("the members in snapshot 1");
});

test("P9: who has lost its disk neither votes nor asks for votes until it has caught up", () => {
  const safety = afterTermSeven();
  safety.madeAnew(1, { currentTerm: 9, votedFor: 1, abstainsThrough: 8 });
  const request = { kind: "requestVote", term: 10, candidateId: 1, lastLogIndex: 0, lastLogTerm: 0 } as const;
  const limits = { maxBatchEntries: 1, snapshot: { everyEntries: 1, keepEntries: 0, maxChunkBytes: 1 } };
  expect(() => safety.sending(1, { ...request, preVote: true }, limits)).toThrow("has not caught up");
  const granted = { kind: "requestVoteReply", term: 10, voteGranted: true } as const;
  const asked = { ...request, candidateId: 0, preVote: false };
  expect(() => safety.replying(1, asked, granted, 10)).toThrow("has not caught up");
  const hardState = { currentTerm: 10, votedFor: null, abstainsThrough: 0 };
  const checked = ofTerm(afterTermSeven(), 10);
  expect(() => safety.persisting(1, { hardState, writes: [] }, checked)).toThrow("votes again without");
});

/** What a leader of three, with these entries after its no-op, is blamed for; `commitIndex` as it stands. */
function changing(commitIndex: number, ...changes: readonly Configuration[]): () => void {
  const safety = new Safety({ founders: THREE, machine: { window: 9, sessions: 9 } });
  const log = (made: readonly Configuration[]): Log => ({
    currentTerm: 1,
    entries: [
      [1, NOOP],
      ...made.map((configuration) => [1, { kind: "configuration", configuration }] as const),
    ],
    commitIndex,
  });
  for (const { id } of THREE) safety.recovered(id, recovered(id, THREE), false);
  const before = leader(0, log(changes.slice(0, -1)), changes.at(-2) ?? THREE);
  for (const { id } of THREE) {
    const last = leader(id, log(changes), changes.at(-1) ?? THREE);
    makeDurable(safety, id, last);
    const request = {
      kind: "requestVote",
      term: 1,
      candidateId: 0,
      lastLogIndex: 0,
      lastLogTerm: 0,
    } as const;
    const granted = { kind: "requestVoteReply", term: 1, voteGranted: true } as const;
    safety.durable(id).finished({
      hardState: { currentTerm: 1, votedFor: 0, abstainsThrough: 0 },
      writes: [],
    });
    safety.replying(id, { ...request, preVote: false }, granted, 1);
  }
  safety.stepped(0, before);
  return () => safety.stepped(0, leader(0, log(changes), changes.at(-1) ?? THREE));
}

const FOURTH = { id: 3, address: "", voter: false };

test("M1, M2: a change before the no-op, or the change before, is committed is found out", () => {
  const [first, second] = [[...THREE, FOURTH], THREE];
  expect(changing(1, first)).not.toThrow();
  expect(changing(0, first)).toThrow("(M1)");
  expect(changing(2, first, second)).not.toThrow();
  expect(changing(1, first, second)).toThrow("(M2)");
});

test("M5: a change of two servers, a new voter, and a promotion of one that has nothing are found out", () => {
  expect(changing(1, [...THREE.slice(1), FOURTH])).toThrow("not one server");
  expect(changing(1, [...THREE, { ...FOURTH, voter: true }])).toThrow("(M5)");
  const promoted = [...THREE, { ...FOURTH, voter: true }];
  expect(changing(2, [...THREE, FOURTH], promoted)).toThrow("which was added by entry 2 and has 0 entries");
});

test("M3: a server that does not go by the latest configuration in its log is found out", () => {
  const safety = afterTermSeven();
  const log = { currentTerm: 7, entries: [[7, NOOP]] as const, commitIndex: 1 };
  expect(() => safety.stepped(0, leader(0, log, THREE))).toThrow("the latest in its log, at 0, is [0]");
});

test("L1 to L4: a read that does not see what was acknowledged before it is found out", () => {
  const safety = afterTermSeven();
  const command = { kind: "put", key: "k", value: "v", request: null, routed: null } as const;
  safety.skipped(1);
  safety.applied(0, 2, command, { kind: "applied" });
  safety.acknowledging(command);
  expect(() => safety.readServed(1, safety.acknowledged, 2)).not.toThrow();
  expect(() => safety.readServed(1, safety.acknowledged, 1)).toThrow("2 was acknowledged before the read");
});
