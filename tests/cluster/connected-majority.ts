import type { ServerId } from "../../src/raft/entry.ts";

/**
 * Whether more than half of the voters are up and reach each other, every one of them every other: those can elect
 * a leader and commit, whatever becomes of the rest.
 */
export function hasConnectedMajority(
  voters: readonly ServerId[],
  isUp: (id: ServerId) => boolean,
  isClear: (from: ServerId, to: ServerId) => boolean,
): boolean {
  const needed = Math.floor(voters.length / 2) + 1;
  const canGrow = (group: readonly ServerId[], candidates: readonly ServerId[]): boolean => {
    if (group.length >= needed) return true;
    return candidates.some((id, at) => {
      const fits = group.every((other) => isClear(id, other) && isClear(other, id));
      return fits && canGrow([...group, id], candidates.slice(at + 1));
    });
  };
  return canGrow([], voters.filter(isUp));
}
