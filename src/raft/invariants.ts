/**
 * What must hold of one server at any moment, and from one moment to the next. Simulation and tests call
 * these after every step; each returns one sentence a violation, none when all is well. What must hold
 * between servers (Raft figure 3) is for whoever can see all of them.
 */
import type { LogIndex, Term } from "./entry.ts";
import type { RaftStatus } from "./raft.ts";

/** Terms of the log's entries, as Raft.termAt. */
export type TermAt = (index: LogIndex) => Term | null;

export function stateViolations(status: RaftStatus, termAt: TermAt): readonly string[] {
  const { commitIndex, lastLogIndex, durableIndex, currentTerm, role, noopIndex, votedFor } = status;
  const { firstLogIndex, snapshotIndex, configuration, configurationIndex } = status;
  const lastTerm = termAt(lastLogIndex);
  if (lastTerm === null) return [`nobody knows the term of the log's last entry ${lastLogIndex}`];
  return failing([
    [
      firstLogIndex <= snapshotIndex + 1,
      `the log begins at ${firstLogIndex}, after a gap behind the snapshot at ${snapshotIndex}`,
    ],
    [snapshotIndex <= commitIndex, `the snapshot at ${snapshotIndex} is past commitIndex ${commitIndex}`],
    [
      snapshotIndex <= lastLogIndex,
      `the log ends at ${lastLogIndex}, before the snapshot at ${snapshotIndex}`,
    ],
    [commitIndex <= lastLogIndex, `commitIndex ${commitIndex} is past the log's end ${lastLogIndex}`],
    [durableIndex <= lastLogIndex, `durableIndex ${durableIndex} is past the log's end ${lastLogIndex}`],
    [lastTerm <= currentTerm, `the log's last term ${lastTerm} is above currentTerm ${currentTerm}`],
    [role !== "leader" || votedFor === status.id, "a leader that did not vote for itself"],
    [role !== "candidate" || votedFor === status.id, "a candidate that did not vote for itself"],
    [role !== "leader" || lastTerm === currentTerm, "a leader without an entry of its term"],
    [noopIndex === null || noopIndex <= lastLogIndex, "a leader that lost its no-op"],
    [
      configurationIndex <= lastLogIndex || status.abstains,
      `configuration ${configurationIndex} is past the log's end`,
    ],
    [role === "follower" || configuration.length > 0, `a ${role} of no cluster`],
  ]);
}

/** `before` and `after` are of one server without a restart in between. */
export function stepViolations(before: RaftStatus, after: RaftStatus): readonly string[] {
  const sameTerm = before.currentTerm === after.currentTerm;
  const stillLeads = sameTerm && before.role === "leader" && after.role === "leader";
  return failing([
    [after.currentTerm >= before.currentTerm, `term fell from ${before.currentTerm} to ${after.currentTerm}`],
    [
      !sameTerm || before.votedFor === null || before.votedFor === after.votedFor,
      `vote in term ${after.currentTerm} changed from ${before.votedFor} to ${after.votedFor}`,
    ],
    [
      after.commitIndex >= before.commitIndex,
      `commitIndex fell from ${before.commitIndex} to ${after.commitIndex}`,
    ],
    [
      after.snapshotIndex >= before.snapshotIndex,
      `the snapshot went back from ${before.snapshotIndex} to ${after.snapshotIndex}`,
    ],
    [
      after.firstLogIndex >= before.firstLogIndex,
      `the log's beginning went back from ${before.firstLogIndex} to ${after.firstLogIndex}`,
    ],
    [!stillLeads || after.lastLogIndex >= before.lastLogIndex, "Leader Append-Only: a leader's log shrank"],
    [
      after.lastLogIndex >= before.commitIndex,
      `committed entries were truncated to ${after.lastLogIndex}, below ${before.commitIndex}`,
    ],
    [
      !sameTerm || before.role === "leader" || after.role !== "leader" || before.role === "candidate",
      `a ${before.role} became leader without standing for election`,
    ],
  ]);
}

function failing(checks: readonly (readonly [holds: boolean, violation: string])[]): readonly string[] {
  return checks.filter(([holds]) => !holds).map(([, violation]) => violation);
}
