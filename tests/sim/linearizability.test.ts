/**
 * Histories by hand, a line each: whether it is linearizable, why, and what the clients did (the notation is
 * history-notation.ts). The brute-force double has to agree with every line.
 */
import { describe, expect, test } from "bun:test";

import { assert } from "../../src/base/assert.ts";
import { checkLinearizability } from "../../src/sim/linearizability.ts";
import { parseHistory } from "./history-notation.ts";
import { isLinearizable } from "./linearizability-double.ts";

const TABLE = `
# One client at a time
yes | nothing happened                                     |
yes | L4: a key that nobody wrote is missing               | a: get - [0,1]
no  | L4: a key that nobody wrote holds nothing            | a: get 1 [0,1]
yes | a put needs no reader                                | a: put 1 [0,1]
yes | a get sees the put before it                         | a: put 1 [0,1]  a: get 1 [2,3]
no  | L1: a get misses the put before it                   | a: put 1 [0,1]  a: get - [2,3]
no  | a get sees another value than the one put            | a: put 1 [0,1]  a: get 2 [2,3]
yes | a get sees the last of two puts                      | a: put 1 [0,1]  a: put 2 [2,3]  a: get 2 [4,5]
no  | L1: a get sees the first of two puts                 | a: put 1 [0,1]  a: put 2 [2,3]  a: get 1 [4,5]
yes | every get sees the put before it                     | a: put 1 [0,1]  a: get 1 [2,3]  a: put 2 [4,5]  a: get 2 [6,7]
yes | the same value twice, seen after each                | a: put 1 [0,1]  a: get 1 [2,3]  a: put 1 [4,5]  a: get 1 [6,7]
yes | a value comes back because it is put again           | a: put 1 [0,1]  a: put 2 [2,3]  a: put 1 [4,5]  a: get 1 [6,7]
no  | a value comes back by itself                         | a: put 1 [0,1]  a: put 2 [2,3]  a: get 2 [4,5]  a: get 1 [6,7]
no  | a key never goes missing again                       | a: put 1 [0,1]  a: get 1 [2,3]  a: get - [4,5]
yes | a history need not be in the order of time           | a: get 1 [2,3]  a: put 1 [0,1]

# Stale reads
no  | L1: another client reads what is overwritten         | a: put 1 [0,1]  a: put 2 [2,3]  b: get 1 [4,5]
no  | L1: another client misses a completed put            | a: put 1 [0,1]  b: get - [2,3]
no  | L1: a deposed leader serves the value from before    | a: put 1 [0,1]  b: get 1 [2,3]  a: put 2 [4,5]  b: get 1 [6,7]
no  | L1: stale after the new value was seen               | a: put 1 [0,1]  a: put 2 [2,9]  b: get 2 [3,4]  c: get 1 [5,6]
yes | the old value while the put is under way             | a: put 1 [0,1]  a: put 2 [2,9]  b: get 1 [3,4]  c: get 2 [5,6]
yes | the old value until the very end of the put          | a: put 1 [0,1]  a: put 2 [2,9]  b: get 1 [7,8]
yes | the new value from the very start of the put         | a: put 1 [0,1]  a: put 2 [2,9]  b: get 2 [3,4]  b: get 2 [5,6]
no  | L3: a read that began after the put ended is stale   | a: put 1 [0,1]  a: put 2 [2,5]  b: get 1 [6,20]
yes | a read that began before the put ended may be stale  | a: put 1 [0,1]  a: put 2 [2,5]  b: get 1 [4,20]
no  | stale by two puts                                    | a: put 1 [0,1]  a: put 2 [2,3]  a: put 3 [4,9]  b: get 1 [5,6]
no  | a long read cannot be stale by what ended before it  | a: put 1 [0,3]  b: put 2 [4,6]  c: get 2 [7,8]  d: get 1 [7,30]
no  | L4: a restarted server answers from an empty state   | a: put 1 [0,1]  b: get 1 [2,3]  c: get - [4,5]

# Reads from nowhere
no  | a value that nobody wrote                            | a: put 1 [0,1]  b: get 7 [0,5]
no  | a value before anybody begins to write it            | b: get 1 [0,1]  a: put 1 [2,3]
no  | a value before an unknown put begins                 | b: get 1 [0,1]  a: put 1 [2,?]
no  | a value before the second put of it begins           | a: put 1 [0,1]  a: put 2 [2,3]  b: get 1 [4,5]  a: put 1 [6,7]
yes | a value that is under way                            | a: put 1 [0,9]  b: get 1 [1,2]
no  | a value from another key                             | a: put y=1 [0,1]  b: get x=1 [2,3]
no  | a value among right ones                             | a: put 1 [0,1]  b: get 1 [2,3]  b: get 4 [4,5]  b: get 1 [6,7]

# Lost updates
no  | the first put is lost                                | a: put 1 [0,1]  b: get - [2,3]  b: get - [4,5]
no  | the second put is lost                               | a: put 1 [0,1]  b: put 2 [2,3]  c: get 1 [4,5]  c: get 1 [6,7]
no  | a put that was seen is lost                          | a: put 1 [0,9]  b: get 1 [1,2]  c: get - [3,4]
no  | an unknown put that was seen is lost                 | a: put 1 [0,?]  b: get 1 [1,2]  c: get - [3,4]
no  | R1: a put that was seen is rolled back               | a: put 1 [0,1]  b: put 2 [2,20]  c: get 2 [3,4]  c: get 1 [5,6]
yes | of two puts at once, one is overwritten              | a: put 1 [0,9]  b: put 2 [0,9]  c: get 1 [10,11]
yes | of two puts at once, the other is overwritten        | a: put 1 [0,9]  b: put 2 [0,9]  c: get 2 [10,11]
no  | of two puts at once, neither is there                | a: put 1 [0,9]  b: put 2 [0,9]  c: get - [10,11]
no  | of two puts at once, both are there in turn          | a: put 1 [0,9]  b: put 2 [0,9]  c: get 1 [10,11]  c: get 2 [12,13]

# Two readers
no  | two readers see two puts in different orders         | a: put 1 [0,20]  b: put 2 [0,20]  c: get 1 [1,2]  c: get 2 [3,4]  d: get 2 [1,2]  d: get 1 [3,4]
yes | two readers see two puts in the same order           | a: put 1 [0,20]  b: put 2 [0,20]  c: get 1 [1,2]  c: get 2 [3,4]  d: get 1 [1,2]  d: get 2 [3,4]
yes | one reader is behind, both within the puts           | a: put 1 [0,20]  b: put 2 [0,20]  c: get 1 [1,5]  c: get 2 [6,9]  d: get 1 [4,8]  d: get 2 [8,9]
no  | one reader sees it, a later one does not             | a: put 1 [0,20]  b: get 1 [1,2]  c: get - [3,4]
yes | one reader sees it, one at the same time does not    | a: put 1 [0,20]  b: get 1 [1,3]  c: get - [2,4]
no  | two puts back and forth                              | a: put 1 [0,20]  b: put 2 [0,20]  c: get 1 [1,2]  c: get 2 [3,4]  c: get 1 [5,6]
yes | three puts, so back and forth is right               | a: put 1 [0,20]  b: put 2 [0,20]  d: put 1 [0,20]  c: get 1 [1,2]  c: get 2 [3,4]  c: get 1 [5,6]
no  | a reader goes back from the new to the old           | a: put 1 [0,1]  b: put 2 [2,20]  c: get 2 [3,4]  d: get 1 [5,7]
yes | readers that overlap may see new, then old           | a: put 1 [0,1]  b: put 2 [2,20]  c: get 2 [3,6]  d: get 1 [5,7]
no  | readers see three puts in a circle                   | a: put 1 [0,30]  b: put 2 [0,30]  c: put 3 [0,30]  d: get 1 [1,2]  d: get 2 [3,4]  e: get 2 [5,6]  e: get 3 [7,8]  f: get 1 [9,10]

# Writes of unknown outcome
yes | C2: an unknown put that never takes effect           | a: put 1 [0,?]  b: get - [5,6]
yes | C2: an unknown put that takes effect                 | a: put 1 [0,?]  b: get 1 [5,6]
yes | C2: an unknown put that takes effect much later      | a: put 1 [0,?]  b: get - [5,6]  b: get - [50,60]  b: get 1 [500,600]
yes | C2: it overwrites a put that came after it           | a: put 1 [0,?]  b: put 2 [5,6]  b: get 2 [7,8]  b: get 1 [9,10]
no  | C1: it takes effect twice                            | a: put 1 [0,?]  b: get 1 [1,2]  b: put 2 [3,4]  b: get 1 [5,6]
no  | C1: it takes effect, is overwritten, comes back      | a: put 1 [0,?]  b: put 2 [3,4]  b: get 1 [5,6]  b: put 3 [7,8]  b: get 1 [9,10]
no  | C1: a completed put takes effect twice               | a: put 1 [0,1]  b: put 2 [2,3]  b: get 2 [4,5]  b: get 1 [6,7]
yes | two unknown puts of one value take effect twice      | a: put 1 [0,?]  c: put 1 [0,?]  b: get 1 [1,2]  b: put 2 [3,4]  b: get 1 [5,6]
no  | two unknown puts of one value take effect thrice     | a: put 1 [0,?]  c: put 1 [0,?]  b: get 1 [1,2]  b: put 2 [3,4]  b: get 1 [5,6]  b: put 3 [7,8]  b: get 1 [9,10]
no  | an unknown put overwrites before it is invoked       | a: put 1 [0,1]  b: get 2 [2,3]  c: put 2 [4,?]
yes | unknown puts in any order                            | a: put 1 [0,?]  b: put 2 [0,?]  c: get 2 [1,2]  c: get 1 [3,4]
no  | unknown puts, each once                              | a: put 1 [0,?]  b: put 2 [0,?]  c: get 2 [1,2]  c: get 1 [3,4]  c: get 2 [5,6]
yes | unknown puts among known ones, all late              | a: put 1 [0,?]  b: put 2 [0,?]  c: put 3 [1,2]  c: get 3 [3,4]  c: get 1 [5,6]  c: get 2 [7,8]
yes | many unknown puts that nobody saw                    | a: put 1 [0,?]  b: put 2 [0,?]  c: put 3 [0,?]  d: put 4 [0,?]  e: get - [9,10]
yes | an unknown put is seen while it still runs           | a: put 1 [0,?]  b: get - [1,5]  c: get 1 [2,3]
no  | an unknown put makes no reader go back               | a: put 1 [0,1]  b: put 2 [2,?]  c: get 2 [3,4]  c: get 1 [5,6]
yes | an unknown put of the value that is there already    | a: put 1 [0,1]  b: put 1 [2,?]  c: put 2 [3,4]  c: get 1 [5,6]
no  | only one of two puts of a value is open-ended        | a: put 1 [0,1]  b: put 1 [2,?]  c: put 2 [3,4]  c: get 1 [5,6]  c: put 3 [7,8]  c: get 1 [9,10]

# Writes that failed
yes | a failed put is not there                            | a: put 1 [0,!]  b: get - [5,6]
no  | a failed put shows up                                | a: put 1 [0,!]  b: get 1 [5,6]
no  | a failed put shows up while it is tried              | a: put 1 [0,!]  b: get 1 [0,1]
no  | a failed put overwrites                              | a: put 1 [0,1]  b: put 2 [2,!]  c: get 2 [3,4]
yes | a failed put overwrites nothing                      | a: put 1 [0,1]  b: put 2 [2,!]  c: get 1 [3,4]
yes | a failed put of a value that another one put         | a: put 1 [0,!]  b: put 1 [2,3]  c: get 1 [4,5]
no  | a failed put of a value that is overwritten          | a: put 1 [0,1]  b: put 2 [2,3]  c: put 1 [4,!]  d: get 1 [5,6]

# Reads without an answer
yes | a get without an answer tells nothing                | a: put 1 [0,1]  b: get [2,?]  b: get 1 [3,4]
yes | only gets without an answer                          | a: get [0,?]  b: get [0,?]
no  | a get without an answer excuses nothing              | a: put 1 [0,1]  b: get [2,?]  c: get - [3,4]

# Missing and empty
yes | C4: the empty string is a value                      | a: put "" [0,1]  b: get "" [2,3]
no  | C4: a missing key is not the empty string            | a: get "" [0,1]
no  | C4: the empty string is not a missing key            | a: put "" [0,1]  b: get - [2,3]
yes | C4: missing, then empty                              | a: put "" [2,9]  b: get - [0,3]  b: get "" [4,5]
no  | C4: empty, then missing                              | a: put "" [2,9]  b: get "" [3,4]  b: get - [5,6]
yes | C4: empty overwrites a value                         | a: put 1 [0,1]  a: put "" [2,3]  b: get "" [4,5]
no  | C4: empty does not remove a value                    | a: put 1 [0,1]  a: put "" [2,3]  b: get - [4,5]
no  | C4: a failed put of the empty string shows up        | a: put "" [0,!]  b: get "" [2,3]
yes | C4: an unknown put of the empty string               | a: put "" [0,?]  b: get - [2,3]  b: get "" [4,5]

# Everything at once
yes | all gets fall between all puts                       | a: put 1 [0,9]  b: put 2 [0,9]  c: put 3 [0,9]  d: get 1 [0,9]  e: get 2 [0,9]  f: get 3 [0,9]  g: get - [0,9]
no  | one value among them is from nowhere                 | a: put 1 [0,9]  b: put 2 [0,9]  c: put 3 [0,9]  d: get 1 [0,9]  e: get 2 [0,9]  f: get 4 [0,9]
yes | many gets of one value at once                       | a: put 1 [0,9]  b: get 1 [0,9]  c: get 1 [0,9]  d: get 1 [0,9]  e: get - [0,9]
yes | a long get over many puts takes one of them          | a: put 1 [0,1]  a: put 2 [2,3]  a: put 3 [4,5]  b: get 2 [0,9]
yes | long gets over many puts each take one               | a: put 1 [0,1]  a: put 2 [2,3]  a: put 3 [4,5]  b: get 3 [0,9]  c: get 1 [0,9]  d: get - [0,9]
yes | a long put is last                                   | a: put 1 [0,9]  b: put 2 [1,2]  b: put 3 [3,4]  c: get 1 [10,11]
yes | a long put is between two others                     | a: put 1 [0,9]  b: put 2 [1,2]  c: get 1 [3,4]  b: put 3 [5,6]  c: get 3 [10,11]
no  | a long put is between two others, and last           | a: put 1 [0,9]  b: put 2 [1,2]  c: get 1 [3,4]  b: put 3 [5,6]  c: get 3 [7,8]  c: get 1 [10,11]
no  | a put that was seen cannot hide from a long one      | a: put 1 [0,9]  b: put 2 [1,2]  c: get 1 [3,4]  c: get 2 [5,6]
yes | repeated values, the right one is chosen             | a: put 1 [0,9]  b: put 1 [0,3]  c: put 2 [1,4]  d: get 2 [5,6]  d: get 1 [7,8]
no  | repeated values, but all of them are over            | a: put 1 [0,2]  b: put 1 [0,3]  c: put 2 [4,5]  d: get 2 [6,7]  d: get 1 [8,9]
yes | repeated values, two rounds                          | a: put 1 [0,20]  b: put 2 [0,20]  c: put 1 [0,20]  d: put 2 [0,20]  e: get 1 [1,2]  e: get 2 [3,4]  e: get 1 [5,6]
no  | repeated values, a round too many                    | a: put 1 [0,20]  b: put 2 [0,20]  c: put 1 [0,20]  e: get 2 [1,2]  e: get 1 [3,4]  e: get 2 [5,6]

# The same moment counts as concurrent
yes | a get at the moment at which the put completes       | a: put 1 [0,5]  b: get - [5,6]
yes | a get that completes as the put is invoked           | a: put 1 [5,6]  b: get 1 [0,5]
no  | one moment later it is too late                      | a: put 1 [0,5]  b: get - [6,7]
no  | one moment before it is too early                    | a: put 1 [6,7]  b: get 1 [0,5]
yes | operations that take no time, at one moment          | a: put 1 [5,5]  b: get - [5,5]  c: get 1 [5,5]  d: put 2 [5,5]  e: get 2 [5,5]
yes | puts that touch, in either order                     | a: put 1 [0,5]  b: put 2 [5,9]  c: get 1 [10,11]
no  | puts that do not touch, in the wrong order           | a: put 1 [0,4]  b: put 2 [5,9]  c: get 1 [10,11]
no  | a chain of touches is no touch                       | a: put 1 [0,3]  b: get 1 [3,5]  c: get - [5,6]

# Several keys
yes | keys do not mix                                      | a: put x=1 [0,1]  b: put y=2 [0,1]  a: get x=1 [2,3]  b: get y=2 [2,3]
yes | a put of one key leaves another missing              | a: put x=1 [0,1]  b: get y=- [2,3]
no  | one key is wrong among right ones                    | a: put x=1 [0,1]  b: put y=2 [0,1]  a: get x=1 [2,3]  b: get y=- [2,3]
yes | each key has its own order of the same clients       | a: put x=1 [0,9]  b: put y=1 [0,9]  c: get x=1 [1,2]  c: get y=- [3,4]  d: get y=1 [5,6]
no  | a stale read of one key beside puts of another       | a: put x=1 [0,1]  a: put x=2 [2,3]  b: put y=3 [4,5]  c: get x=1 [6,7]
yes | I1: keys that objects inherit are keys like others   | a: put __proto__=1 [0,1]  b: get __proto__=1 [2,3]  b: get constructor=- [4,5]

# Compare-and-swap
yes | a swap finds what it expects                         | a: put 1 [0,1]  b: swap 1 2 [2,3]  c: get 2 [4,5]
no  | a swap finds what is not there                       | a: put 1 [0,1]  b: swap 2 3 [2,3]
yes | a swap of a missing key creates it                   | a: swap - 1 [0,1]  b: get 1 [2,3]
no  | C4: a swap of the empty string finds it missing      | a: swap "" 1 [0,1]
no  | two swaps of one value both succeed                  | a: put 1 [0,1]  b: swap 1 2 [2,9]  c: swap 1 3 [2,9]
yes | of two swaps one succeeds                            | a: put 1 [0,1]  b: swap 1 2 [2,9]  c: swap 1 3 saw 2 [2,9]
no  | a swap fails though it finds what it expects         | a: put 1 [0,1]  b: swap 1 2 saw 1 [2,3]
no  | a swap that failed has an effect                     | a: put 1 [0,1]  b: swap 3 2 saw 1 [2,3]  c: get 2 [4,5]
yes | swaps in a chain                                     | a: put 1 [0,1]  d: swap 3 4 [2,9]  c: swap 2 3 [2,9]  b: swap 1 2 [2,9]  e: get 4 [10,11]
no  | swaps in a chain with a link missing                 | a: put 1 [0,1]  d: swap 3 4 [2,9]  b: swap 1 2 [2,9]  e: get 4 [10,11]
yes | swaps in a circle                                    | a: put 1 [0,1]  b: swap 1 2 [2,9]  c: swap 2 1 [2,9]  d: get 1 [10,11]
no  | C1: an unknown swap takes effect twice               | a: put 1 [0,1]  b: swap 1 2 [2,?]  c: get 2 [3,4]  a: put 1 [5,6]  c: get 2 [7,8]
yes | C2: an unknown swap takes effect late                | a: put 1 [0,1]  b: swap 1 2 [2,?]  c: get 1 [3,4]  c: get 2 [5,6]
yes | C2: an unknown swap never takes effect               | a: put 1 [0,1]  b: swap 1 2 [2,?]  c: get 1 [3,4]  a: put 3 [5,6]  c: get 3 [7,8]
no  | an unknown swap without what it expects              | a: put 3 [0,1]  b: swap 1 2 [2,?]  c: get 2 [3,4]
yes | unknown swaps in a chain                             | a: put 1 [0,1]  b: swap 2 3 [0,?]  c: swap 1 2 [0,?]  d: get 3 [2,3]
no  | a swap that certainly failed shows up                | a: put 1 [0,1]  b: swap 1 2 [2,!]  c: get 2 [3,4]
yes | a swap of a value for itself changes nothing         | a: put 1 [0,1]  b: swap 1 1 [2,3]  c: get 1 [4,5]
no  | a lost update shows in the swaps                     | a: put 1 [0,1]  b: swap 1 2 [2,3]  c: swap 1 3 [4,5]
`;

interface Row {
  readonly group: string;
  readonly linearizable: boolean;
  readonly why: string;
  readonly history: string;
}

function parseTable(table: string): readonly Row[] {
  const rows: Row[] = [];
  let group = "";
  for (const line of table.split("\n").filter((line) => line !== "")) {
    if (line.startsWith("# ")) group = line.slice(2);
    else {
      const [verdict = "", why = "", history = ""] = line.split("|").map((part) => part.trim());
      assert(verdict === "yes" || verdict === "no", `no verdict: ${line}`);
      rows.push({ group, linearizable: verdict === "yes", why, history });
    }
  }
  return rows;
}

const rows = parseTable(TABLE);

for (const [group, ofGroup = []] of Map.groupBy(rows, ({ group }) => group)) {
  describe(group, () => {
    for (const { linearizable, why, history } of ofGroup) {
      test(`${why}: ${linearizable ? "linearizable" : "a violation"}`, () => {
        const operations = parseHistory(history);
        expect(checkLinearizability(operations).kind).toBe(linearizable ? "linearizable" : "violation");
        expect(isLinearizable(operations)).toBe(linearizable);
      });
    }
  });
}

describe("The table", () => {
  test("Simulation: it holds more than a hundred histories, different ones, and enough of either kind", () => {
    expect(new Set(rows.map(({ history }) => history)).size).toBe(rows.length);
    expect(rows.length).toBeGreaterThan(100);
    expect(rows.filter(({ linearizable }) => linearizable).length).toBeGreaterThan(rows.length / 3);
    expect(rows.filter(({ linearizable }) => !linearizable).length).toBeGreaterThan(rows.length / 3);
  });
});
