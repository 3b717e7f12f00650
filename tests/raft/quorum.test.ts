import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { hasMajority, majority, reachedByMajority } from "../../src/raft/quorum.ts";

const anyVoters = fc.uniqueArray(fc.nat(8), { minLength: 1, maxLength: 9 });

describe("quorums", () => {
  test("Raft §5.2: any two majorities share a server, and no smaller number has that", () => {
    for (let voters = 1; voters <= 9; voters += 1) {
      expect(2 * majority(voters)).toBeGreaterThan(voters);
      expect(2 * (majority(voters) - 1)).toBeLessThanOrEqual(voters);
    }
    expect([1, 2, 3, 4, 5].map(majority)).toEqual([1, 2, 2, 3, 3]);
  });

  test("Raft §5.2: a majority is more than half of the voters; others do not count", () => {
    fc.assert(
      fc.property(anyVoters, fc.uniqueArray(fc.nat(12)), (voters, granted) => {
        let counted = 0;
        for (const voter of voters) if (granted.includes(voter)) counted += 1;
        expect(hasMajority(voters, new Set(granted))).toBe(counted > voters.length / 2);
      }),
    );
  });

  test("Raft §5.3: what a majority has reached is the largest value that more than half are at or above", () => {
    fc.assert(
      fc.property(anyVoters, fc.array(fc.nat(10), { minLength: 9, maxLength: 9 }), (voters, values) => {
        const valueOf = (voter: number): number => values[voter] ?? 0;
        let expected = 0;
        for (let candidate = 0; candidate <= 10; candidate += 1) {
          let reached = 0;
          for (const voter of voters) if (valueOf(voter) >= candidate) reached += 1;
          if (reached > voters.length / 2) expected = candidate;
        }
        expect(reachedByMajority(voters, valueOf)).toBe(expected);
      }),
    );
  });
});
