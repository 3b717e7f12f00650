/**
 * Leadership goes to another server (dissertation §3.10), the leader's side:
 *
 *   asked --no more proposals--> all is committed, and on `to` --TimeoutNow--> it wins a later term: done
 *                  \______________________________\____ an election timeout has passed, or `to` refuses: given up
 *
 * TimeoutNow is sent again with every heartbeat. Reads go on: they are sure of the leadership each time. The
 * receiver's side is handleTimeoutNow (election.ts). A leader that was removed goes the same way, and steps down (M4).
 */
import { defined } from "../base/assert.ts";
import { memberOf } from "./configuration.ts";
import { isHeard, othersHaveRoom, successors } from "./contact.ts";
import type { ServerId } from "./entry.ts";
import type { TimeoutNow, TimeoutNowReply } from "./message.ts";
import type { Leader, Transfer } from "./role.ts";
import type { RaftState } from "./state.ts";

/** Why leadership stays where it is. */
export type TransferRefusal =
  | "unknownMember"
  | "notVoter"
  /** It leads already. */
  | "self"
  /** The one named has not been heard for an election timeout. */
  | "silent"
  /** To another one. */
  | "underWay"
  /** No other voter is there that could take over. */
  | "nobody";

/** What became of a transfer. Accepted: `to` leads soon, or the event transferFailed comes. */
export type TransferResult =
  | { readonly kind: "accepted"; readonly to: ServerId }
  | { readonly kind: "notLeader"; readonly leaderId: ServerId | null }
  | { readonly kind: "refused"; readonly why: TransferRefusal };

export function transferLeadership<C>(state: RaftState<C>, to: ServerId | null): TransferResult {
  const { role: leader } = state;
  if (leader.kind !== "leader") return { kind: "notLeader", leaderId: state.leaderId };
  const successor = to ?? leader.transfer?.to ?? successors(state, leader)[0]?.[0] ?? null;
  if (successor === null) return { kind: "refused", why: "nobody" };
  const why = refusal(state, leader, successor);
  if (why !== null) return { kind: "refused", why };
  leader.transfer ??= transferTo(state, successor);
  return { kind: "accepted", to: successor };
}

function refusal<C>(state: RaftState<C>, leader: Leader<C>, to: ServerId): TransferRefusal | null {
  if (to === state.id) return "self";
  const member = memberOf(state.configurations.latest, to);
  if (member === null) return "unknownMember";
  if (!member.voter) return "notVoter";
  if (leader.transfer !== null) return leader.transfer.to === to ? null : "underWay";
  const progress = leader.progress.get(to);
  return progress === undefined || !isHeard(state, progress) ? "silent" : null;
}

function transferTo<C>(state: RaftState<C>, to: ServerId): Transfer {
  return { to, startTick: state.nowTick, asked: null, isDue: true };
}

/** Once a turn: a removed leader makes way for whom it can, and whoever is to take over is asked to. */
export function continueTransfer<C>(state: RaftState<C>, leader: Leader<C>): void {
  const removed = isRemoved(state);
  if (removed) leader.transfer ??= transferTo(state, heirOf(state, leader));
  const { transfer } = leader;
  if (transfer === null) return;
  // What was proposed before is committed first, so that nobody is left in doubt about it.
  const { lastIndex } = state.log;
  const isReady =
    state.commitIndex === lastIndex && leader.progress.get(transfer.to)?.matchIndex === lastIndex;
  if (!isReady || !transfer.isDue) return;
  askToStand(state, transfer);
  if (removed) state.stepDown(state.currentTerm, "removed");
}

/** Nobody may be there to take over; then it is tried in vain, with whom it may. */
function heirOf<C>(state: RaftState<C>, leader: Leader<C>): ServerId {
  const [successor] = successors(state, leader);
  return successor?.[0] ?? defined(state.configurations.voters[0], "a voter that is left");
}

/** It does not belong to the cluster any more, and that is committed (M4). */
function isRemoved<C>({ configurations, commitIndex, isVoter }: RaftState<C>): boolean {
  return !isVoter && configurations.latestIndex <= commitIndex;
}

function askToStand<C>(state: RaftState<C>, transfer: Transfer): void {
  const { currentTerm: term, id: leaderId } = state;
  const request: TimeoutNow = { kind: "timeoutNow", term, leaderId };
  if (transfer.asked === null) state.events.push({ kind: "transferStarted", term, to: transfer.to });
  transfer.asked = request;
  transfer.isDue = false;
  state.send(transfer.to, request);
}

/**
 * One tick of a leader: a transfer that leads nowhere is given up; one begins when the disk is full and others have
 * room. Whom nothing else is left to then steps down.
 */
export function tickTransfer<C>(state: RaftState<C>, leader: Leader<C>): void {
  const { transfer } = leader;
  if (transfer === null) {
    if (state.diskFull && othersHaveRoom(state, leader)) transferLeadership(state, null);
  } else if (state.nowTick - transfer.startTick >= state.options.electionTimeoutMaxTicks) {
    giveUp(state, leader, transfer);
  }
}

/** The one that was asked answered. Nothing is done when no answer comes: the next heartbeat asks again. */
export function handleTimeoutNowReply<C>(
  state: RaftState<C>,
  from: ServerId,
  request: TimeoutNow,
  reply: TimeoutNowReply,
): void {
  const progress = state.progressAfter(from, request.term, reply.term);
  const { role } = state;
  if (progress === null || role.kind !== "leader" || reply.success) return;
  if (role.transfer?.asked === request) giveUp(state, role, role.transfer);
}

function giveUp<C>(state: RaftState<C>, leader: Leader<C>, { to }: Transfer): void {
  leader.transfer = null;
  state.events.push({ kind: "transferFailed", term: state.currentTerm, to });
  if (isRemoved(state)) state.stepDown(state.currentTerm, "removed");
  else if (state.diskFull && othersHaveRoom(state, leader)) state.stepDown(state.currentTerm, "diskFull");
}
