/**
 * Linearizable reads without a log entry and without a clock (ReadIndex, dissertation §6.4):
 *
 *   1. A read gets as its index what is committed when it comes, and no less than this leader's no-op: only from there
 *      on does a leader know all that was committed before it (L2).
 *   2. A heartbeat to as many voters as make a majority, with the leader where it counts, begins a round. Whoever
 *      answers it in this term had not voted in a later one by then; when a majority has, nothing can have been
 *      committed by a later leader before the read came (L1).
 *   3. Whoever has applied the log up to that index may answer (L4).
 *
 * Reads begin one round at a time, for all that wait. An answer counts for the round that its request carried and those
 * before (L3). What is not answered soon is asked of everybody that is heard, and every heartbeat that is due begins a
 * round beside it: one that was lost, or had asked somebody who has died, is made good.
 */
import type { ReadId } from "./batch.ts";
import type { ServerId } from "./entry.ts";
import { sendRound } from "./leadership.ts";
import { reachedByMajority } from "./quorum.ts";
import type { Leader } from "./role.ts";
import type { RaftState } from "./state.ts";

/** Whether a read was taken on. */
export type ReadResult =
  { readonly kind: "accepted" } | { readonly kind: "notLeader"; readonly leaderId: ServerId | null };

export function read<C>(state: RaftState<C>, id: ReadId): ReadResult {
  const { role } = state;
  if (role.kind !== "leader") return { kind: "notLeader", leaderId: state.leaderId };
  role.reads.add(id, Math.max(state.commitIndex, role.noopIndex));
  return { kind: "accepted" };
}

/** Once a turn: lets go what is confirmed, and begins the next round when none is under way. */
export function serveReads<C>(state: RaftState<C>, leader: Leader<C>): void {
  confirmReads(state, leader);
  if (leader.reads.areUnderWay || !leader.reads.areWaiting) return;
  leader.reads.begin(state.nowTick);
  sendRound(state, leader);
  // The only voter asks nobody.
  confirmReads(state, leader);
}

function confirmReads<C>(state: RaftState<C>, { reads, progress }: Leader<C>): void {
  if (!reads.areUnderWay) return;
  const confirmed = reachedByMajority(state.configurations.voters, (voter) =>
    voter === state.id ? reads.latest : (progress.get(voter)?.confirmedRound ?? 0),
  );
  state.reads.push(...reads.confirm(confirmed));
}
