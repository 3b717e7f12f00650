import { expect, test } from "bun:test";
import type { Command } from "../../src/kv/command.ts";
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
    lastLogIndex: entries.length,
    durableIndex: entries.length,
    noopIndex: entries.length,
  };
  return {
    status: () => status,
    entryAt: (index) => entries[index - 1] ?? { index, term: 0, payload: { kind: "noop" } },
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
