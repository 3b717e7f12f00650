import { describe, expect, test } from "bun:test";
import { readScenario, runScenario } from "./scenario.ts";

const HEADER = "# A title.\n# Covers: E1; Raft §5.2\n\n";

/** What comes of these lines, without the header. */
function resultOf(...lines: readonly string[]): string {
  return runScenario(readScenario(HEADER + lines.join("\n"))).slice(HEADER.length);
}

describe("the language of scenarios", () => {
  test("Raft §5.2: what a command shows takes the place of what was expected", () => {
    const expected = ["cluster 1", "tick 0 15", "    0: leader, term 1 (vote 0), log 1, commit 1", ""];
    expect(resultOf("cluster 1", "tick 0 15", "    0: something else", "    and more", "")).toBe(
      expected.join("\n"),
    );
    expect(resultOf(...expected)).toBe(expected.join("\n"));
  });

  test("Raft §5.2: one line may hold several commands, and shows what all of them changed", () => {
    expect(resultOf("cluster 1", "tick 0 15; crash 0; restart 0")).toBe(
      "cluster 1\ntick 0 15; crash 0; restart 0\n    0: follower, term 1 (vote 0), log 1",
    );
  });

  test("I2: a line that means nothing is an error that names it", () => {
    const wrong: readonly (readonly [string, string])[] = [
      ["fly 1", 'there is no command "fly"'],
      ["tick", "who ticks is missing"],
      ["tick 0 x", '"x" is not a number'],
      ["tick 7", "server 7"],
      ["deliver 0", '"0" is no link'],
      ["deliver 0->1", "nothing is under way there"],
      ["heal all", '"all" means nothing here'],
      ["persist 0", "nothing waits for the disk of 0"],
      ["log; cluster 3", 'there is no command "cluster"'],
    ];
    for (const [line, message] of wrong) {
      expect(() => resultOf("cluster 3", "status", line)).toThrow(`line 6, "${line}": ${message}`);
    }
    expect(() => resultOf("tick 0")).toThrow('a scenario begins with "cluster"');
    expect(() => resultOf("cluster 3 timeouts=9,15,15", "tick 0")).toThrow("10 to 20 ticks");
    expect(() => readScenario("cluster 3\n")).toThrow("opens with a sentence");
  });

  test("Raft figure 3: a command after which the servers contradict each other fails the scenario", () => {
    const forged = "ask 1 append from=0 term=1 entries=1:x commit=1";
    expect(() => resultOf("cluster 3", forged)).toThrow("durable on 1 servers");
  });

  test("Raft §5.2: a header says what is covered, and what is not built yet", () => {
    expect(readScenario(`${HEADER}# Pending: snapshots\n`)).toMatchObject({
      title: "A title",
      covers: "E1; Raft §5.2",
      pending: "snapshots",
    });
  });
});
