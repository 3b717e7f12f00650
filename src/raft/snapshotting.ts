/**
 * Snapshots in place of log (Raft §7 and figure 13). A server forgets entries that a snapshot of its own state
 * stands for. A follower that needs one of them gets the leader's newest snapshot instead:
 *
 *   leader   nextIndex is at or below the base --InstallSnapshot--> answered: on with AppendEntries after it
 *                                                                   lost or refused: again at the next heartbeat
 *   follower knows it all to be committed -> nothing; holds that entry -> commits it; else -> state and log go
 *
 * To the core a transfer is one request. Whoever installs has the whole snapshot, verified, before it is asked.
 */
import { assert } from "../base/assert.ts";
import type { RpcId } from "./batch.ts";
import type { LogIndex, ServerId } from "./entry.ts";
import { recognise } from "./following.ts";
import type { InstallSnapshot, InstallSnapshotReply } from "./message.ts";
import type { Progress } from "./progress.ts";
import type { SnapshotPosition } from "./snapshot-position.ts";
import type { RaftState } from "./state.ts";

/**
 * A snapshot of this server's own state is finished. Entries up to `through` go, and none that it does not stand
 * for. False, and nothing is done, when one as new is known already.
 */
export function compact<C>(state: RaftState<C>, snapshot: SnapshotPosition, through: LogIndex): boolean {
  if (snapshot.index <= state.snapshot.index) return false;
  assert(state.log.termAt(snapshot.index) === snapshot.term, `snapshot ${snapshot.index} of another history`);
  assert(
    through <= snapshot.index,
    `entries up to ${through} cannot go with a snapshot at ${snapshot.index}`,
  );
  state.compact(snapshot, Math.max(through, state.log.base.index));
  return true;
}

/** Whether the entry in front of the next one to send is gone, so that no AppendEntries can attach to it. */
export function needsSnapshot<C>(state: RaftState<C>, { nextIndex }: Progress<C>): boolean {
  return nextIndex <= state.log.base.index;
}

export function sendSnapshot<C>(state: RaftState<C>, to: ServerId, progress: Progress<C>): void {
  const { currentTerm: term, id: leaderId, snapshot } = state;
  const configuration = state.configurations.at(snapshot.index);
  const request: InstallSnapshot = { kind: "installSnapshot", term, leaderId, snapshot, configuration };
  progress.sentSnapshot(request);
  state.send(to, request);
}

/** Raft figure 13, receiver implementation. */
export function handleInstallSnapshot<C>(state: RaftState<C>, rpc: RpcId, request: InstallSnapshot): void {
  const { snapshot } = request;
  const success = recognise(state, request, [snapshot]);
  const reply = { kind: "installSnapshotReply", term: state.currentTerm, success } as const;
  if (!success) {
    state.replyWhenDurable(rpc, reply);
    return;
  }
  if (snapshot.index > state.commitIndex) {
    if (state.log.matches(snapshot)) state.commitTo(snapshot.index);
    else state.install(snapshot, request.configuration);
  }
  state.replyWhenDurable(rpc, reply, snapshot.index);
}

export function handleInstallSnapshotReply<C>(
  state: RaftState<C>,
  from: ServerId,
  request: InstallSnapshot,
  reply: InstallSnapshotReply,
): void {
  const progress = state.progressAfter(from, request.term, reply.term);
  if (progress === null) return;
  const wasAwaited = progress.settledSnapshot(request);
  if (reply.term < state.currentTerm) return;
  progress.lastContactTick = state.nowTick;
  if (reply.success) noteMatch(state, progress, request.snapshot.index);
  else if (wasAwaited) progress.paused = true;
}

/** The follower holds the log up to `index`, durably. */
export function noteMatch<C>(state: RaftState<C>, progress: Progress<C>, index: LogIndex): void {
  progress.matched(index);
  progress.catchUp.advance(progress.matchIndex, state.log.lastIndex, state.nowTick);
}

export function handleInstallSnapshotLost<C>(
  state: RaftState<C>,
  to: ServerId,
  request: InstallSnapshot,
): void {
  const progress = state.progressOf(to, request.term);
  if (progress?.settledSnapshot(request) === true) progress.paused = true;
}
