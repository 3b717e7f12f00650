/**
 * What a leader does (Raft figure 2, "Rules for Servers: Leaders"): it replicates its log, counts who
 * has it, and gives up when it no longer hears a majority.
 */
import { assert, defined } from "../base/assert.ts";
import { hearsMajority, quickestVoters } from "./contact.ts";
import type { LogIndex, ServerId } from "./entry.ts";
import type { AppendEntries, AppendEntriesReply } from "./message.ts";
import { Progress } from "./progress.ts";
import { majority, reachedByMajority } from "./quorum.ts";
import { ReadRounds } from "./read-rounds.ts";
import type { Leader } from "./role.ts";
import { needsSnapshot, noteMatch, sendSnapshot } from "./snapshotting.ts";
import type { RaftState } from "./state.ts";
import { tickTransfer } from "./transfer.ts";

/** The winner of an election. Its first entry is a no-op of its own term (Raft §8). */
export function becomeLeader<C>(state: RaftState<C>): void {
  assert(state.role.kind === "candidate", `a ${state.role.kind} cannot become leader`);
  const nextIndex = state.log.lastIndex + 1;
  state.role = {
    kind: "leader",
    noopIndex: nextIndex,
    progress: new Map(state.peers.map((peer) => [peer, new Progress<C>(nextIndex, state.nowTick)])),
    heartbeatElapsedTicks: 0,
    reads: new ReadRounds(),
    transfer: null,
  };
  state.events.push({ kind: "becameLeader", term: state.currentTerm });
  state.append([{ kind: "noop" }]);
}

export function tickLeader<C>(state: RaftState<C>, leader: Leader<C>): void {
  // Dissertation §6.2: a leader that hears no majority for an election timeout makes way.
  if (!hearsMajority(state, leader)) {
    state.stepDown(state.currentTerm, "noQuorum");
    return;
  }
  tickTransfer(state, leader);
  if (state.role !== leader) return;
  leader.heartbeatElapsedTicks += 1;
  if (leader.heartbeatElapsedTicks < state.options.heartbeatTicks) {
    if (leader.reads.isOverdue(state.nowTick)) askVoters(state, leader, Infinity);
    return;
  }
  for (const progress of leader.progress.values()) progress.paused = false;
  sendHeartbeats(state, leader);
}

/** A heartbeat speaks of what is known to match, so it does not probe, and no sound log refuses it. */
export function sendHeartbeats<C>(state: RaftState<C>, leader: Leader<C>): void {
  leader.heartbeatElapsedTicks = 0;
  leader.reads.begin(state.nowTick);
  if (leader.transfer !== null) leader.transfer.isDue = true;
  for (const [peer, progress] of leader.progress) {
    progress.heartbeat = heartbeat(state, leader, progress);
    sendAppendEntries(state, peer, progress, progress.heartbeat);
  }
}

/** Beside what is due: asks as many voters as a majority lacks whether this server still leads (ReadRounds). */
export function sendRound<C>(state: RaftState<C>, leader: Leader<C>): void {
  const { voters } = state.configurations;
  askVoters(state, leader, majority(voters.length) - Number(voters.includes(state.id)));
}

function askVoters<C>(state: RaftState<C>, leader: Leader<C>, count: number): void {
  for (const [voter, progress] of quickestVoters(state, leader).slice(0, count)) {
    sendAppendEntries(state, voter, progress, heartbeat(state, leader, progress));
  }
}

function heartbeat<C>(state: RaftState<C>, leader: Leader<C>, progress: Progress<C>): AppendEntries<C> {
  return appendEntries(state, leader, heartbeatIndex(state, progress), 0);
}

/** What matches, and has not gone from the leader's own log; 0, where all logs agree, when there is no such entry. */
function heartbeatIndex<C>(state: RaftState<C>, { matchIndex }: Progress<C>): LogIndex {
  return matchIndex < state.log.base.index ? 0 : matchIndex;
}

/** At most `maxEntries` entries that follow `prevLogIndex`. */
function appendEntries<C>(
  state: RaftState<C>,
  leader: Leader<C>,
  prevLogIndex: LogIndex,
  maxEntries: number,
): AppendEntries<C> {
  return {
    kind: "appendEntries",
    term: state.currentTerm,
    leaderId: state.id,
    prevLogIndex,
    prevLogTerm: defined(state.log.termAt(prevLogIndex), `a leader has no entry ${prevLogIndex}`),
    entries:
      maxEntries === 0 ? [] : state.log.slice(prevLogIndex + 1, maxEntries, state.options.maxBatchBytes),
    leaderCommit: state.commitIndex,
    round: leader.reads.latest,
  };
}

function sendAppendEntries<C>(
  state: RaftState<C>,
  peer: ServerId,
  progress: Progress<C>,
  request: AppendEntries<C>,
): void {
  progress.sentCommit = Math.max(progress.sentCommit, usableCommit(request));
  state.send(peer, request);
}

/** What the follower knows to be committed if the request succeeds. */
function usableCommit(request: AppendEntries<unknown>): LogIndex {
  return Math.min(request.leaderCommit, lastIndexOf(request));
}

/** Up to where the follower's log is the leader's if the request succeeds. */
function lastIndexOf(request: AppendEntries<unknown>): LogIndex {
  return request.prevLogIndex + request.entries.length;
}

/** Once a turn: sends every follower what it lacks, within its window. */
export function replicate<C>(state: RaftState<C>, leader: Leader<C>): void {
  for (const [peer, progress] of leader.progress) {
    while (progress.mayReplicate(progress.hasRoom ? state.options.maxInflight : 1)) {
      if (needsSnapshot(state, progress)) {
        sendSnapshot(state, peer, progress);
        break;
      }
      const isProbe = progress.state === "probe";
      if (!isProbe && progress.nextIndex > state.log.lastIndex) break;
      const request = appendEntries(
        state,
        leader,
        progress.nextIndex - 1,
        maxEntries(state, leader, progress),
      );
      progress.sent(request);
      sendAppendEntries(state, peer, progress, request);
    }
    const usable = Math.min(state.commitIndex, heartbeatIndex(state, progress));
    if (!progress.paused && progress.inflight === 0 && progress.sentCommit < usable) {
      sendAppendEntries(state, peer, progress, heartbeat(state, leader, progress));
    }
  }
}

/** The no-op ends its batch, so that a follower with little room can say that it has it (Durability). */
function maxEntries<C>(
  { options }: RaftState<C>,
  { noopIndex }: Leader<C>,
  { nextIndex }: Progress<C>,
): number {
  const upToNoop = noopIndex - nextIndex + 1;
  return upToNoop > 0 ? Math.min(upToNoop, options.maxBatchEntries) : options.maxBatchEntries;
}

export function handleAppendEntriesReply<C>(
  state: RaftState<C>,
  from: ServerId,
  request: AppendEntries<C>,
  reply: AppendEntriesReply,
): void {
  const progress = state.progressAfter(from, request.term, reply.term);
  if (progress === null) return;
  const settled = progress.settled(request);
  if (reply.term < state.currentTerm) return;
  progress.lastContactTick = state.nowTick;
  if (state.role.kind === "leader") state.role.reads.answered(progress, request.round);
  progress.hasRoom = !reply.diskFull;
  // That it is there is no reason to try again at once what it could not take: a snapshot, or anything at all.
  if (progress.hasRoom && !needsSnapshot(state, progress)) progress.paused = false;
  const lostFrom = reply.success ? null : progress.lostFrom(request, reply);
  if (lostFrom !== null) {
    progress.lostEntries(lostFrom - 1);
    state.events.push({ kind: "followerLostEntries", followerId: from, matchIndex: lostFrom - 1 });
  } else if (reply.success) {
    progress.knownCommit = Math.max(progress.knownCommit, usableCommit(request));
    noteMatch(state, progress, lastIndexOf(request));
    advanceCommitIndex(state);
  } else if (
    settled === "probe" ||
    (progress.state === "replicate" && lastIndexOf(request) > progress.matchIndex)
  ) {
    // Overtaken by one that succeeded, it may speak of the past; but what it carried did not arrive.
    progress.backOff(nextIndexAfterConflict(state, request, reply));
    if (!progress.hasRoom) progress.paused = true;
  }
}

/** The follower could not be reached, or did not answer in time. */
export function handleAppendEntriesLost<C>(
  state: RaftState<C>,
  to: ServerId,
  request: AppendEntries<C>,
): void {
  const progress = state.progressOf(to, request.term);
  if (progress === null) return;
  const settled = progress.settled(request);
  if (settled === "nothing" || (settled === "inflight" && lastIndexOf(request) <= progress.matchIndex))
    return;
  // What came before the request was not lost with it.
  progress.backOff(Math.min(progress.nextIndex, request.prevLogIndex + 1));
  progress.paused = true;
}

/** Raft §5.3, last paragraph: one step back a term, not one an entry; none where there was merely no room. */
function nextIndexAfterConflict<C>(
  state: RaftState<C>,
  request: AppendEntries<C>,
  reply: AppendEntriesReply,
): LogIndex {
  if (reply.conflict === null) return request.prevLogIndex + (reply.diskFull ? 1 : 0);
  const { index, term } = reply.conflict;
  const afterTerm = state.log.firstIndexOfTerm(term + 1);
  const leaderHasTerm = term > 0 && state.log.termAt(afterTerm - 1) === term;
  return Math.max(1, Math.min(request.prevLogIndex, leaderHasTerm ? afterTerm : index));
}

/**
 * Raft §5.3, §5.4.2: what a majority holds is committed, but only an entry of the leader's own term by
 * counting; earlier ones follow from it. The leader counts itself as far as its own disk has got.
 */
export function advanceCommitIndex<C>(state: RaftState<C>): void {
  if (state.role.kind !== "leader") return;
  const { progress } = state.role;
  const reached = reachedByMajority(state.configurations.voters, (voter) =>
    voter === state.id ? state.durability.durableIndex : (progress.get(voter)?.matchIndex ?? 0),
  );
  if (reached > state.commitIndex && state.log.termAt(reached) === state.currentTerm) state.commitTo(reached);
}
