/**
 * Changes of the configuration, one server at a time (dissertation chapter 4). A leader makes one only when
 *
 *   M1  its no-op is committed, so that no change of an earlier leader can come back beside it (Ongaro, "bug in
 *       single-server membership changes", raft-dev, July 2015), and
 *   M2  the change before is committed, so that two majorities always meet.
 *
 * It counts from the moment it is in the log, and is done when it is committed. A new server begins as a non-voter and
 * is promoted when it has caught up (M5). A leader that removes itself goes on, uncounted, until that is committed (M4).
 */
import { unreachable } from "../base/assert.ts";
import {
  type ChangeRefusal,
  type Configuration,
  type ConfigurationChange,
  MAX_MEMBERS,
  memberOf,
  votersOf,
} from "./configuration.ts";
import { hearsMajority, isHeard, isKnownToMajority } from "./contact.ts";
import type { LogIndex, ServerId, Term } from "./entry.ts";
import { Progress } from "./progress.ts";
import type { Leader } from "./role.ts";
import type { RaftState } from "./state.ts";

/** What became of a change. Accepted is in effect at once, and done when it comes back in `committed`. */
export type ChangeResult =
  | { readonly kind: "accepted"; readonly index: LogIndex; readonly term: Term }
  | { readonly kind: "notLeader"; readonly leaderId: ServerId | null }
  | { readonly kind: "diskFull" }
  | { readonly kind: "refused"; readonly why: ChangeRefusal };

export function changeConfiguration<C>(state: RaftState<C>, change: ConfigurationChange): ChangeResult {
  const { role: leader } = state;
  if (leader.kind !== "leader") return { kind: "notLeader", leaderId: state.leaderId };
  if (state.diskFull) return { kind: "diskFull" };
  const why = untimely(state, leader) ?? impossible(state, leader, change);
  if (why !== null) return { kind: "refused", why };
  const configuration = changed(state.configurations.latest, change);
  const voters = votersOf(configuration);
  if (!hearsMajority(state, leader, voters)) return { kind: "refused", why: "noQuorum" };
  if (!isKnownToMajority(state, leader, voters)) return { kind: "refused", why: "notReady" };
  state.append([{ kind: "configuration", configuration }]);
  followMembers(state, leader);
  return { kind: "accepted", index: state.log.lastIndex, term: state.currentTerm };
}

/** Why no change at all can be made now. */
function untimely<C>({ commitIndex, configurations }: RaftState<C>, leader: Leader<C>): ChangeRefusal | null {
  if (commitIndex < leader.noopIndex) return "notReady";
  if (configurations.latestIndex > commitIndex) return "underWay";
  return leader.transfer === null ? null : "transferring";
}

/** Why this one cannot be made. */
function impossible<C>(
  state: RaftState<C>,
  leader: Leader<C>,
  change: ConfigurationChange,
): ChangeRefusal | null {
  const { latest, voters } = state.configurations;
  const member = memberOf(latest, change.id);
  switch (change.kind) {
    case "add": {
      if (member !== null) return "member";
      const isTaken = change.address !== "" && latest.some(({ address }) => address === change.address);
      if (isTaken) return "addressTaken";
      return latest.length < MAX_MEMBERS ? null : "tooMany";
    }
    case "promote":
      if (member === null) return "unknownMember";
      if (member.voter) return "voter";
      return isCaughtUp(state, leader.progress.get(change.id)) ? null : "notCaughtUp";
    case "remove":
      if (member === null) return "unknownMember";
      return member.voter && voters.length === 1 ? "lastVoter" : null;
    default:
      return unreachable(change);
  }
}

/** Whether a follower would keep up as a voter (CatchUp), and is there; undefined: it is none. */
export function isCaughtUp<C>(state: RaftState<C>, progress: Progress<C> | undefined): boolean {
  if (progress === undefined || !isHeard(state, progress)) return false;
  return progress.catchUp.isWithin(state.options.electionTimeoutMinTicks, state.nowTick);
}

function changed(configuration: Configuration, change: ConfigurationChange): Configuration {
  const { id } = change;
  switch (change.kind) {
    case "add":
      return [...configuration, { id, address: change.address, voter: false }].toSorted(
        (a, b) => a.id - b.id,
      );
    case "promote":
      return configuration.map((member) => (member.id === id ? { ...member, voter: true } : member));
    case "remove":
      return configuration.filter((member) => member.id !== id);
    default:
      return unreachable(change);
  }
}

/** The leader follows up on every other member, and on nobody else; who is new is not heard yet. */
function followMembers<C>(state: RaftState<C>, { progress }: Leader<C>): void {
  const { peers } = state;
  for (const peer of progress.keys()) if (!peers.includes(peer)) progress.delete(peer);
  for (const peer of peers) {
    if (progress.has(peer)) continue;
    const added = new Progress<C>(state.log.lastIndex + 1, state.nowTick);
    added.lastContactTick = -Infinity;
    progress.set(peer, added);
  }
}
