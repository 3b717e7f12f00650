import { describe, expect, test } from "bun:test";
import { TestServer } from "./harness.ts";
import { appendEntries, hardState, logOf, type Position, requestVote, voteReply } from "./raft-values.ts";
import { SeededRandom } from "./random.ts";

/** Lets 9 of 10 ticks pass before `input`, and one after it. */
function roleAfter(input: (server: TestServer) => void): string {
  const server = new TestServer({ log: logOf(1, 2), term: 5, votedFor: 2 });
  server.tick(9);
  input(server);
  server.persist();
  server.tick();
  return server.status.role;
}

describe("one vote a term", () => {
  test("E1, Raft §5.2: first come, first served; the same candidate may ask again", () => {
    const server = new TestServer();
    expect(server.answerTo(requestVote(1, 1, [0, 0]))).toEqual(voteReply(1, true));
    expect(server.answerTo(requestVote(1, 2, [9, 1]))).toEqual(voteReply(1, false));
    expect(server.answerTo(requestVote(1, 1, [0, 0]))).toEqual(voteReply(1, true));
    expect(server.answerTo(requestVote(2, 2, [0, 0]))).toEqual(voteReply(2, true));
  });

  test("E1: a candidate votes for nobody else in its term", () => {
    const server = new TestServer({ term: 3, votedFor: 0 });
    expect(server.answerTo(requestVote(3, 1, [9, 3]))).toEqual(voteReply(3, false));
  });

  test("E1: the vote outlives a restart", () => {
    const server = new TestServer();
    server.answerTo(requestVote(1, 1, [0, 0]));
    server.restart();
    expect(server.answerTo(requestVote(1, 2, [9, 1]))).toEqual(voteReply(1, false));
    expect(server.answerTo(requestVote(1, 1, [0, 0]))).toEqual(voteReply(1, true));
  });

  test("E1: two requests in one turn get one grant", () => {
    const server = new TestServer();
    const [first, second] = server.turn((raft) => [
      server.feed(raft, requestVote(1, 1, [0, 0])),
      server.feed(raft, requestVote(1, 2, [0, 0])),
    ]);
    server.persist();
    expect(server.replies.get(first ?? 0)).toEqual(voteReply(1, true));
    expect(server.replies.get(second ?? 0)).toEqual(voteReply(1, false));
  });

  test("E2: the vote is answered only when it is durable", () => {
    const server = new TestServer();
    const rpc = server.ask(requestVote(1, 1, [0, 0]));
    server.tick(3);
    expect(server.replies.get(rpc)).toBeUndefined();
    server.persist();
    expect(server.replies.get(rpc)).toEqual(voteReply(1, true));
  });

  test("E2: killed between saving a vote and answering, it never votes differently in that term", () => {
    const outcomes = new Set<boolean>();
    for (let seed = 1; seed <= 20; seed += 1) {
      const server = new TestServer();
      const rpc = server.ask(requestVote(1, 1, [0, 0]));
      server.restart(new SeededRandom(seed));
      expect(server.replies.get(rpc)).toBeUndefined();
      const saved = server.disk.hardState.votedFor === 1;
      outcomes.add(saved);
      expect(server.answerTo(requestVote(1, 2, [0, 0]))).toEqual(voteReply(1, !saved));
    }
    expect(outcomes).toEqual(new Set([true, false]));
  });

  test("E2: a vote whose term has passed before it was durable is not granted any more", () => {
    const server = new TestServer();
    const rpc = server.ask(requestVote(1, 1, [0, 0]));
    server.ask(requestVote(2, 2, [0, 0]));
    server.persist(1);
    expect(server.replies.get(rpc)).toBeUndefined();
    server.persist();
    expect(server.replies.get(rpc)).toEqual(voteReply(2, false));
  });

  test("Raft §5.2: a candidate that is no member is judged like any other", () => {
    const server = new TestServer({ log: logOf(1, 1) });
    expect(server.answerTo(requestVote(2, 99, [1, 1]))).toEqual(voteReply(2, false));
    expect(server.answerTo(requestVote(2, 99, [2, 1]))).toEqual(voteReply(2, true));
    expect(server.disk.hardState).toEqual(hardState(2, 99));
    const leader = new TestServer().lead();
    expect(leader.answerTo(requestVote(2, 99, [1, 1]))).toEqual(voteReply(2, true));
    expect(leader.status.role).toBe("follower");
  });
});

describe("the election restriction", () => {
  const cases: readonly (readonly [why: string, candidate: Position, granted: boolean])[] = [
    ["an earlier last term, longer (E3)", [9, 2], false],
    ["an earlier last term, of the same length", [3, 2], false],
    ["the same last term, shorter", [2, 3], false],
    ["an empty log", [0, 0], false],
    ["the same log", [3, 3], true],
    ["the same last term, longer", [4, 3], true],
    ["a later last term, shorter", [1, 4], true],
  ];
  for (const [why, last, granted] of cases) {
    test(`E3, Raft §5.4.1: a candidate with ${why} is ${granted ? "granted" : "denied"} vote and pre-vote`, () => {
      const server = new TestServer({ log: logOf(1, 3, 3), term: 5 });
      const preVote = server.answerTo(requestVote(6, 1, last, { preVote: true }));
      expect(preVote).toEqual(voteReply(granted ? 6 : 5, granted));
      expect(server.answerTo(requestVote(6, 1, last))).toEqual(voteReply(6, granted));
    });
  }
});

describe("the election timer", () => {
  const kept: readonly (readonly [string, (server: TestServer) => void])[] = [
    ["a denied vote", (s) => void s.ask(requestVote(5, 1, [9, 9]))],
    ["a vote denied in a later term", (s) => void s.ask(requestVote(6, 1, [9, 1]))],
    ["a vote request of an earlier term", (s) => void s.ask(requestVote(4, 2, [9, 9]))],
    ["a stale AppendEntries", (s) => void s.ask(appendEntries(4, [2, 2]))],
    ["a granted pre-vote", (s) => void s.ask(requestVote(6, 1, [9, 9], { preVote: true }))],
    ["a denied pre-vote", (s) => void s.ask(requestVote(6, 1, [9, 1], { preVote: true }))],
    ["a later term in a reply", (s) => s.receive(1, requestVote(5, 0, [2, 2]), voteReply(6, false))],
  ];
  for (const [what, input] of kept) {
    test(`E4, Raft §5.2: is not reset by ${what}`, () => expect(roleAfter(input)).toBe("preCandidate"));
  }
  const reset: readonly (readonly [string, (server: TestServer) => void])[] = [
    ["a granted vote", (s) => void s.ask(requestVote(6, 1, [9, 9]))],
    ["a vote granted again", (s) => void s.ask(requestVote(5, 2, [9, 9]))],
    ["an AppendEntries of the term's leader", (s) => void s.ask(appendEntries(5, [2, 2]))],
    ["an AppendEntries that does not match", (s) => void s.ask(appendEntries(5, [9, 5]))],
  ];
  for (const [what, input] of reset) {
    test(`E4, Raft §5.2: is reset by ${what}`, () => expect(roleAfter(input)).toBe("follower"));
  }
});

describe("pre-votes", () => {
  test("E7, dissertation §4.2.3: none while a leader was heard within the minimum timeout; then again", () => {
    const server = new TestServer({ options: { randomInt: (_, max) => max } });
    server.answerTo(appendEntries(1, [0, 0]));
    server.tick(9);
    expect(server.answerTo(requestVote(2, 2, [9, 1], { preVote: true }))).toEqual(voteReply(1, false));
    server.tick();
    expect(server.answerTo(requestVote(2, 2, [9, 1], { preVote: true }))).toEqual(voteReply(2, true));
  });

  test("E7: a leader grants none", () => {
    const leader = new TestServer().lead();
    expect(leader.answerTo(requestVote(9, 2, [9, 8], { preVote: true }))).toEqual(voteReply(1, false));
    expect(leader.status).toMatchObject({ role: "leader", currentTerm: 1 });
  });

  test("E7: granting one promises nothing: another candidate may have the vote", () => {
    const server = new TestServer();
    expect(server.answerTo(requestVote(1, 1, [0, 0], { preVote: true }))).toEqual(voteReply(1, true));
    expect(server.answerTo(requestVote(1, 2, [0, 0], { preVote: true }))).toEqual(voteReply(1, true));
    expect(server.answerTo(requestVote(1, 2, [0, 0]))).toEqual(voteReply(1, true));
  });

  test("E7: one that is granted lifts nobody's term, and one of an earlier term is refused", () => {
    const server = new TestServer({ term: 5 });
    expect(server.answerTo(requestVote(9, 1, [0, 0], { preVote: true }))).toEqual(voteReply(9, true));
    expect(server.answerTo(requestVote(4, 1, [9, 4], { preVote: true }))).toEqual(voteReply(5, false));
    expect(server.status).toMatchObject({ currentTerm: 5, votedFor: null });
    expect(server.disk.pendingCount).toBe(0);
  });
});
