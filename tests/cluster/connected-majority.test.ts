import { describe, expect, test } from "bun:test";
import { hasConnectedMajority } from "./connected-majority.ts";

/** `cut`: arcs that do not pass, "from>to". */
function holds(voters: number[], down: number[], cut: string[]): boolean {
  return hasConnectedMajority(
    voters,
    (id) => !down.includes(id),
    (from, to) => !cut.includes(`${from}>${to}`),
  );
}

describe("a connected majority", () => {
  test("is more than half of the voters that are up", () => {
    expect(holds([0, 1, 2], [0], [])).toBe(true);
    expect(holds([0, 1, 2], [0, 1], [])).toBe(false);
    expect(holds([0, 1, 2, 3], [0, 1], [])).toBe(false);
    expect(holds([0], [], [])).toBe(true);
  });

  test("needs both ways between any two of them", () => {
    expect(holds([0, 1, 2], [2], ["0>1"])).toBe(false);
    expect(holds([0, 1, 2], [], ["0>1"])).toBe(true);
  });

  test("is not made of servers that all reach one and not each other", () => {
    expect(holds([0, 1, 2, 3, 4], [], ["0>3", "0>4", "1>3", "1>4"])).toBe(true);
    expect(holds([0, 1, 2, 3, 4], [2], ["0>3", "0>4", "1>3", "1>4"])).toBe(false);
  });
});
