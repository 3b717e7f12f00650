import { expect, test } from "bun:test";
import type { Command } from "../../src/kv/command.ts";
import { KvStateMachine } from "../../src/kv/state-machine.ts";
import type { Entry } from "../../src/raft/entry.ts";
import type { RaftStatus } from "../../src/raft/raft.ts";
import { Safety, type Checked } from "../../src/sim/safety.ts";

/** A leader of `currentTerm` that holds one no-op of each of `terms` and has committed `commitIndex` of them. */
function leader(id: number, currentTerm: number, terms: readonly number[], commitIndex: number): Checked {
  const entries = terms.map((term, at): Entry<Command> => ({
    index: at + 1,
    term,
    payload: { kind: "noop" },
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
    noopIndex: entries.length,
    snapshotIndex: 0,
    diskFull: false,
    abstains: false,
  };
  return {
    status: () => status,
    entryAt: (index) => entries[index - 1] ?? { index, term: 0, payload: { kind: "noop" } },
    termAt: (index) => (index === 0 ? 0 : (terms[index - 1] ?? null)),
  };
}

/** Alone it needs no votes; server 0 has committed an entry of term 7, in term 7. */
function afterTermSeven(): Safety {
  const safety = new Safety(1);
  const first = leader(0, 7, [7], 1);
  safety.durable(0).finished({ hardState: null, writes: [{ kind: "append", entries: [first.entryAt(1)] }] });
  safety.stepped(0, first);
  return safety;
}

test("Leader Completeness: a leader of a later term must hold what was committed", () => {
  const safety = afterTermSeven();
  expect(() => safety.stepped(1, leader(1, 8, [8], 0))).toThrow("without entry 1 of term 7");
});

test("E11: who was stopped with the votes in its sockets may win an earlier term late, and is not blamed", () => {
  const safety = afterTermSeven();
  expect(() => safety.stepped(1, leader(1, 6, [6], 0))).not.toThrow();
});

test("State Machine Safety: a snapshot of another state, or of what nobody committed, is found out", () => {
  const safety = afterTermSeven();
  safety.skipped(1);
  const [empty, other] = [new KvStateMachine(), new KvStateMachine()];
  empty.skip(1);
  other.apply(1, { kind: "put", key: "k", value: "v", request: null, routed: null });
  expect(() => safety.snapshot(1, { index: 1, term: 7 }, empty.digest())).not.toThrow();
  expect(() => safety.snapshot(1, { index: 1, term: 7 }, other.digest())).toThrow("is not the state after");
  expect(() => safety.snapshot(1, { index: 1, term: 6 }, empty.digest())).toThrow("of term 6");
  expect(() => safety.snapshot(1, { index: 2, term: 7 }, empty.digest())).toThrow("committed there: nothing");
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
  const checked = leader(1, 10, [], 0);
  expect(() => safety.persisting(1, { hardState, writes: [] }, checked)).toThrow("votes again without");
});
