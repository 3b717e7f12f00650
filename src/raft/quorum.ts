import { assert, defined } from "../base/assert.ts";
import type { ServerId } from "./entry.ts";

/** How many of `voterCount` servers are a majority. */
export function majority(voterCount: number): number {
  assert(voterCount >= 1, "a cluster without voters");
  return Math.floor(voterCount / 2) + 1;
}

/** Whether the servers in `granted` are a majority of `voters`; others in `granted` do not count. */
export function hasMajority(voters: readonly ServerId[], granted: ReadonlySet<ServerId>): boolean {
  return voters.filter((voter) => granted.has(voter)).length >= majority(voters.length);
}

/** The largest value that a majority of `voters` has reached. */
export function reachedByMajority(voters: readonly ServerId[], valueOf: (voter: ServerId) => number): number {
  const descending = voters.map(valueOf).toSorted((a, b) => b - a);
  return defined(descending[majority(voters.length) - 1], "a majority within the voters");
}
