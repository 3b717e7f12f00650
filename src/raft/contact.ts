/** Whom a leader hears, and what follows from it. */
import type { ServerId } from "./entry.ts";
import type { Progress } from "./progress.ts";
import { hasMajority } from "./quorum.ts";
import type { Leader } from "./role.ts";
import type { RaftState } from "./state.ts";

/** Whether `progress` is of a follower that has answered within an election timeout. */
export function isHeard<C>(state: RaftState<C>, progress: Progress<C>): boolean {
  return progress.lastContactTick > state.nowTick - state.options.electionTimeoutMaxTicks;
}

/** Whether the leader, where it counts, and those it hears are a majority of `voters`. */
export function hearsMajority<C>(
  state: RaftState<C>,
  leader: Leader<C>,
  voters: readonly ServerId[] = state.configurations.voters,
): boolean {
  return hasMajority(voters, new Set([state.id, ...heardBy(state, leader).map(([peer]) => peer)]));
}

/**
 * Whether those that it hears, and that know its no-op and the latest configuration to be committed, are a majority of
 * `voters`. Who does not know that may have no say in elections yet (HardState): no majority to build on.
 */
export function isKnownToMajority<C>(
  state: RaftState<C>,
  leader: Leader<C>,
  voters: readonly ServerId[],
): boolean {
  const index = Math.max(leader.noopIndex, state.configurations.latestIndex);
  const able = heardBy(state, leader).filter(([, { knownCommit }]) => knownCommit >= index);
  return hasMajority(voters, new Set([state.id, ...able.map(([peer]) => peer)]));
}

function heardBy<C>(state: RaftState<C>, leader: Leader<C>): readonly (readonly [ServerId, Progress<C>])[] {
  return [...leader.progress].filter(([, progress]) => isHeard(state, progress));
}

/** The other voters that are heard, as a round of reads asks them: first who answered the latest round, and soonest. */
export function quickestVoters<C>(
  state: RaftState<C>,
  leader: Leader<C>,
): readonly (readonly [ServerId, Progress<C>])[] {
  const { voters } = state.configurations;
  return heardBy(state, leader)
    .filter(([peer]) => voters.includes(peer))
    .toSorted(
      ([, a], [, b]) => b.confirmedRound - a.confirmedRound || a.confirmedOrdinal - b.confirmedOrdinal,
    );
}

/** The other voters that are heard and have room, so that they could take over; who has most of the log comes first. */
export function successors<C>(
  state: RaftState<C>,
  leader: Leader<C>,
): readonly (readonly [ServerId, Progress<C>])[] {
  const { voters } = state.configurations;
  return heardBy(state, leader)
    .filter(([peer, { hasRoom }]) => hasRoom && voters.includes(peer))
    .toSorted(([a, left], [b, right]) => right.matchIndex - left.matchIndex || a - b);
}

/**
 * Whether the others can go on without this server; otherwise it leads on, so that reads do. That there was
 * room says little when all disks fill at once: they have to hold what this server could not write.
 */
export function othersHaveRoom<C>(state: RaftState<C>, leader: Leader<C>): boolean {
  const able = successors(state, leader).filter(([, { matchIndex }]) => matchIndex === state.log.lastIndex);
  return hasMajority(state.configurations.voters, new Set(able.map(([peer]) => peer)));
}
