/**
 * Leader election: Raft §5.2 and §5.4.1, with pre-vote (dissertation §9.6).
 *
 *   follower --timeout--> preCandidate --majority would vote--> candidate --majority voted--> leader
 *
 * A pre-candidate has changed nothing, so a server that comes back from isolation disturbs nobody. A
 * candidate asks for votes only when its new term and its vote for itself are durable.
 */
import type { RpcId } from "./batch.ts";
import { memberOf } from "./configuration.ts";
import type { ServerId } from "./entry.ts";
import type { RequestVote, RequestVoteReply, TimeoutNow } from "./message.ts";
import { hasMajority } from "./quorum.ts";
import { becomeLeader } from "./leadership.ts";
import type { RaftState } from "./state.ts";

export function tickElection<C>(state: RaftState<C>): void {
  // A disk slower than the timeout must not start one election after the other and announce none.
  if (state.role.kind === "candidate" && !state.role.announced) return;
  state.electionElapsedTicks += 1;
  if (!state.electionTimedOut) return;
  // After having forgotten votes and entries it has no say.
  if (state.abstains || !mayStand(state)) forgetLeader(state);
  else becomePreCandidate(state);
}

/**
 * Voters do, and so do those that a change removes while it may still be undone: they can be all that keeps the others
 * from committing it (dissertation §4.2.2, figure 4.6). Their own votes do not count.
 */
function mayStand<C>({ id, isVoter, configurations, commitIndex }: RaftState<C>): boolean {
  const { latestIndex } = configurations;
  if (isVoter || latestIndex <= commitIndex) return isVoter;
  return memberOf(configurations.at(latestIndex - 1), id)?.voter === true;
}

/** The leader is silent, and this server cannot take its place. */
function forgetLeader<C>(state: RaftState<C>): void {
  state.resetElectionTimer();
  state.role = { kind: "follower", leaderId: null };
}

function becomePreCandidate<C>(state: RaftState<C>): void {
  state.resetElectionTimer();
  state.role = { kind: "preCandidate", granted: new Set([state.id]) };
  state.events.push({ kind: "becamePreCandidate", term: state.currentTerm });
  if (hasMajority(state.configurations.voters, state.role.granted)) becomeCandidate(state);
  else askForVotes(state, state.currentTerm + 1, true);
}

function becomeCandidate<C>(state: RaftState<C>): void {
  state.enterTerm(state.currentTerm + 1);
  state.vote(state.id);
  state.resetElectionTimer();
  state.role = { kind: "candidate", announced: false, granted: new Set() };
  state.events.push({ kind: "becameCandidate", term: state.currentTerm });
}

/** Called when something became durable: a candidate's own vote counts, and others are asked, only then. */
export function announceCandidacy<C>(state: RaftState<C>): void {
  const { role } = state;
  if (role.kind !== "candidate" || role.announced || !state.durability.hardStateIsDurable) return;
  role.announced = true;
  state.resetElectionTimer();
  role.granted.add(state.id);
  if (hasMajority(state.configurations.voters, role.granted)) becomeLeader(state);
  else askForVotes(state, state.currentTerm, false);
}

function askForVotes<C>(state: RaftState<C>, term: number, preVote: boolean): void {
  const { lastIndex: lastLogIndex, lastTerm: lastLogTerm } = state.log;
  const request: RequestVote = {
    kind: "requestVote",
    term,
    candidateId: state.id,
    lastLogIndex,
    lastLogTerm,
    preVote,
  };
  for (const voter of state.configurations.voters) if (voter !== state.id) state.send(voter, request);
}

export function handleRequestVote<C>(state: RaftState<C>, rpc: RpcId, request: RequestVote): void {
  if (!state.isPlausible(request.term)) {
    state.replyWhenDurable(rpc, { kind: "requestVoteReply", term: state.currentTerm, voteGranted: false });
    return;
  }
  if (request.preVote) {
    // Nothing is promised, so nothing has to be durable first.
    state.replies.push({ rpc, reply: preVoteReply(state, request) });
    return;
  }
  if (request.term > state.currentTerm) state.stepDown(request.term, "higherTerm");
  const voteGranted = mayVoteFor(state, request);
  if (voteGranted) {
    state.vote(request.candidateId);
    state.resetElectionTimer();
  }
  state.replyWhenDurable(rpc, { kind: "requestVoteReply", term: state.currentTerm, voteGranted });
}

/** Granted, it carries the term that was asked about; refused, our own, from which the other may learn. */
function preVoteReply<C>(state: RaftState<C>, request: RequestVote): RequestVoteReply {
  const voteGranted =
    !state.abstains &&
    !hearsLeader(state) &&
    (request.term > state.currentTerm
      ? state.log.isUpToDate(request.lastLogIndex, request.lastLogTerm)
      : mayVoteFor(state, request));
  const term = voteGranted ? request.term : state.currentTerm;
  return { kind: "requestVoteReply", term, voteGranted };
}

/** Raft figure 2, RequestVote RPC, receiver implementation. */
function mayVoteFor<C>(state: RaftState<C>, request: RequestVote): boolean {
  if (state.abstains || request.term !== state.currentTerm) return false;
  if (state.votedFor !== null && state.votedFor !== request.candidateId) return false;
  return state.log.isUpToDate(request.lastLogIndex, request.lastLogTerm);
}

/** Whether there is a leader that this server has heard within the minimum election timeout. */
function hearsLeader<C>(state: RaftState<C>): boolean {
  if (state.role.kind === "leader") return true;
  return state.leaderId !== null && state.electionElapsedTicks < state.options.electionTimeoutMinTicks;
}

export function handleRequestVoteReply<C>(
  state: RaftState<C>,
  from: ServerId,
  request: RequestVote,
  reply: RequestVoteReply,
): void {
  const { role } = state;
  if (reply.voteGranted && reply.term === request.term) {
    if (request.preVote && role.kind === "preCandidate" && request.term === state.currentTerm + 1) {
      role.granted.add(from);
      if (hasMajority(state.configurations.voters, role.granted)) becomeCandidate(state);
    } else if (!request.preVote && role.kind === "candidate" && request.term === state.currentTerm) {
      role.granted.add(from);
      if (hasMajority(state.configurations.voters, role.granted)) becomeLeader(state);
    }
  } else if (reply.term > state.currentTerm && state.isPlausible(reply.term)) {
    state.stepDown(reply.term, "higherTerm");
  }
}

/** The leader makes way, and this server stands at once: a pre-vote would find that a leader is heard. */
export function handleTimeoutNow<C>(state: RaftState<C>, rpc: RpcId, request: TimeoutNow): void {
  const { term, leaderId } = request;
  if (term > state.currentTerm && state.isPlausible(term)) state.stepDown(term, "higherTerm");
  const isFromLeader =
    term === state.currentTerm && state.role.kind === "follower" && state.leaderId === leaderId;
  const success = isFromLeader && !state.diskFull && !state.abstains && mayStand(state);
  state.replyWhenDurable(rpc, { kind: "timeoutNowReply", term: state.currentTerm, success });
  if (success) becomeCandidate(state);
}
