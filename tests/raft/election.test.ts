import { describe, expect, test } from "bun:test";
import { TestServer } from "./harness.ts";
import {
  accepted,
  appendEntries,
  appendsIn,
  hardState,
  logOf,
  requestVote,
  voteReply,
} from "./raft-values.ts";

/** Waits until it asks for pre-votes, which are left in the outbox. */
function preCandidate(spec: ConstructorParameters<typeof TestServer>[0] = {}): TestServer {
  const server = new TestServer(spec);
  server.tick(10);
  expect(server.status.role).toBe("preCandidate");
  return server;
}

/** A candidate in the next term, its vote for itself durable; its requests for votes are in the outbox. */
function candidate(spec: ConstructorParameters<typeof TestServer>[0] = {}): TestServer {
  const server = preCandidate(spec);
  for (const { to, request } of server.takeSent()) {
    if (server.status.role === "preCandidate") server.receive(to, request, voteReply(request.term, true));
  }
  server.persist();
  expect(server.status.role).toBe("candidate");
  return server;
}

const fiveVoters = { voters: [0, 1, 2, 3, 4] };

describe("standing for election", () => {
  test("Raft §5.2: a server starts as a follower, in the term that it saved, and waits a whole timeout", () => {
    const server = new TestServer({ log: logOf(1, 2), term: 4, votedFor: 1 });
    server.tick(9);
    expect(server.status).toMatchObject({ role: "follower", currentTerm: 4, votedFor: 1, leaderId: null });
    expect(server.outbox).toEqual([]);
  });

  test("E7, dissertation §9.6: a timeout first asks who would vote, and changes neither term nor vote", () => {
    const server = preCandidate({ log: logOf(1, 2), term: 4, votedFor: 1 });
    const request = requestVote(5, 0, [2, 2], { preVote: true });
    expect(server.takeSent()).toEqual([
      { to: 1, request },
      { to: 2, request },
    ]);
    expect(server.status).toMatchObject({ currentTerm: 4, votedFor: 1 });
    expect(server.disk.pendingCount).toBe(0);
  });

  test("E1, Raft figure 2: votes are asked for when the new term and the vote for oneself are durable", () => {
    const server = preCandidate({ log: logOf(1, 2) });
    const [first] = server.takeSent();
    if (first === undefined) throw new Error("nobody was asked");
    server.receive(1, first.request, voteReply(3, true));
    expect(server.status).toMatchObject({ role: "candidate", currentTerm: 3, votedFor: 0 });
    expect(server.outbox).toEqual([]);
    server.persist();
    const request = requestVote(3, 0, [2, 2]);
    expect(server.takeSent()).toEqual([
      { to: 1, request },
      { to: 2, request },
    ]);
  });

  test("Raft §5.2: a majority makes a leader; a denied vote, a repeated one or a stranger's does not", () => {
    const server = candidate(fiveVoters);
    const request = requestVote(1, 0, [0, 0]);
    server.receive(1, request, voteReply(1, true));
    server.receive(1, request, voteReply(1, true));
    server.receive(2, request, voteReply(1, false));
    server.receive(99, request, voteReply(1, true));
    expect(server.status.role).toBe("candidate");
    server.receive(3, request, voteReply(1, true));
    expect(server.status).toMatchObject({ role: "leader", currentTerm: 1, leaderId: 0 });
  });

  test("Raft §5.2: pre-votes are counted the same way", () => {
    const server = preCandidate(fiveVoters);
    const request = requestVote(1, 0, [0, 0], { preVote: true });
    server.receive(1, request, voteReply(1, true));
    server.receive(1, request, voteReply(1, true));
    server.receive(2, request, voteReply(0, false));
    server.receive(99, request, voteReply(1, true));
    expect(server.status.role).toBe("preCandidate");
    server.receive(3, request, voteReply(1, true));
    expect(server.status.role).toBe("candidate");
  });

  test("Raft §5.2: a candidate that times out starts over, in the next term and not twice in one", () => {
    const server = candidate();
    server.tick(10);
    expect(server.status).toMatchObject({ role: "preCandidate", currentTerm: 1 });
    server.elect();
    expect(server.status.currentTerm).toBe(2);
  });

  test("Raft §5.6: a candidate does not time out while it waits for its own disk, or it would never ask", () => {
    const server = preCandidate();
    const [first] = server.takeSent();
    if (first === undefined) throw new Error("nobody was asked");
    server.receive(1, first.request, voteReply(1, true));
    server.tick(25);
    expect(server.status).toMatchObject({ role: "candidate", currentTerm: 1 });
    server.persist();
    expect(server.takeSent().map(({ request }) => request)).toContainEqual(requestVote(1, 0, [0, 0]));
    server.tick(9);
    expect(server.status.role).toBe("candidate");
    server.tick();
    expect(server.status.role).toBe("preCandidate");
  });

  test("Raft §5.2: whoever hears the leader of its own term follows it, candidate or pre-candidate", () => {
    for (const server of [candidate(), preCandidate({ term: 1 })]) {
      expect(server.answerTo(appendEntries(1, [0, 0], { leaderId: 2 }))).toEqual(accepted(1));
      expect(server.status).toMatchObject({ role: "follower", currentTerm: 1, leaderId: 2 });
    }
  });

  test("Raft §5.2: a new leader tells everyone at once, and then at every heartbeat", () => {
    const server = candidate();
    server.receive(1, requestVote(1, 0, [0, 0]), voteReply(1, true));
    const [told, heartbeats] = [server.takeSent(), (server.tick(3), server.takeSent())];
    for (const peer of [1, 2]) {
      expect(appendsIn(told, peer).length).toBeGreaterThan(0);
      expect(appendsIn(heartbeats, peer).length).toBeGreaterThan(0);
    }
  });

  test("Raft §5.2: a cluster of one elects itself when its vote is durable, and commits when its disk has", () => {
    const server = new TestServer({ voters: [0] });
    server.tick(10);
    expect(server.status).toMatchObject({ role: "candidate", currentTerm: 1 });
    server.persist(1);
    expect(server.status).toMatchObject({ role: "leader", commitIndex: 0 });
    server.propose("a");
    server.persist();
    expect(server.status.commitIndex).toBe(2);
    server.tick(100);
    expect(server.status).toMatchObject({ role: "leader", currentTerm: 1 });
    expect(server.outbox).toEqual([]);
  });

  test("E10, Raft §5.2: every wait draws a new timeout from the range", () => {
    const asked: string[] = [];
    const draws = [15, 12, 18];
    const randomInt = (min: number, max: number) => {
      asked.push(`${min}-${max}`);
      return draws.shift() ?? min;
    };
    const server = new TestServer({ options: { randomInt } });
    for (const timeout of [15, 12, 18]) {
      server.tick(timeout - 1);
      expect(server.takeSent()).toEqual([]);
      server.tick();
      expect(server.takeSent()).toHaveLength(2);
    }
    expect(new Set(asked)).toEqual(new Set(["10-20"]));
  });
});

describe("late replies", () => {
  test("E6: a vote of an earlier term does not count", () => {
    const server = candidate();
    server.tick(10);
    const [preVote] = server.takeSent().slice(-1);
    if (preVote === undefined) throw new Error("nobody was asked");
    server.receive(2, preVote.request, voteReply(2, true));
    server.persist();
    expect(server.status).toMatchObject({ role: "candidate", currentTerm: 2 });
    server.receive(1, requestVote(1, 0, [0, 0]), voteReply(1, true));
    expect(server.status.role).toBe("candidate");
    server.receive(1, requestVote(2, 0, [0, 0]), voteReply(2, true));
    expect(server.status.role).toBe("leader");
  });

  test("E6: a pre-vote never counts as a vote, nor a vote as a pre-vote", () => {
    const server = candidate();
    server.receive(1, requestVote(1, 0, [0, 0], { preVote: true }), voteReply(1, true));
    expect(server.status.role).toBe("candidate");
    server.tick(10);
    server.receive(1, requestVote(1, 0, [0, 0]), voteReply(1, true));
    server.receive(1, requestVote(2, 0, [0, 0]), voteReply(2, true));
    expect(server.status).toMatchObject({ role: "preCandidate", currentTerm: 1 });
  });

  test("E6: votes that come after the election, or after stepping down, change nothing", () => {
    const leader = candidate();
    for (const peer of [1, 2]) leader.receive(peer, requestVote(1, 0, [0, 0]), voteReply(1, true));
    expect(leader.status).toMatchObject({ role: "leader", currentTerm: 1, lastLogIndex: 1 });
    const follower = candidate();
    follower.answerTo(appendEntries(1, [0, 0]));
    follower.receive(2, requestVote(1, 0, [0, 0]), voteReply(1, true));
    expect(follower.status).toMatchObject({ role: "follower", leaderId: 1 });
  });
});

describe("E5: a higher term", () => {
  const roles: readonly (readonly [string, () => TestServer])[] = [
    ["follower", () => new TestServer({ term: 1 })],
    ["pre-candidate", () => preCandidate({ term: 1 })],
    ["candidate", () => candidate()],
    ["leader", () => new TestServer().lead()],
  ];

  for (const [role, make] of roles) {
    const fromReplies: readonly (readonly [string, (server: TestServer) => void])[] = [
      ["a vote reply", (s) => s.receive(1, requestVote(1, 0, [0, 0]), voteReply(7, false))],
      [
        "a pre-vote reply",
        (s) => s.receive(1, requestVote(2, 0, [0, 0], { preVote: true }), voteReply(7, false)),
      ],
      [
        "an append reply",
        (s) => s.receive(1, appendEntries(1, [0, 0], { leaderId: 0 }), { ...accepted(7), success: false }),
      ],
    ];
    for (const [what, receive] of fromReplies) {
      test(`E5, Raft §5.1: in ${what} to a ${role} is saved, and the server steps down`, () => {
        const server = make();
        receive(server);
        expect(server.status).toMatchObject({ role: "follower", currentTerm: 7, votedFor: null });
        server.persist();
        expect(server.disk.hardState).toEqual(hardState(7));
      });
    }

    test(`E5, Raft §5.1: in a denied vote request to a ${role} is saved before it is answered`, () => {
      const server = make();
      server.answerTo(appendEntries(1, [0, 0], { terms: role === "leader" ? [] : [1] }));
      const rpc = server.ask(requestVote(7, 99, [0, 0]));
      expect(server.status).toMatchObject({ role: "follower", currentTerm: 7, votedFor: null });
      expect(server.replies.get(rpc)).toBeUndefined();
      server.persist();
      expect(server.replies.get(rpc)).toEqual(voteReply(7, false));
      expect(server.disk.hardState).toEqual(hardState(7));
    });

    test(`E5, Raft §5.1: in an AppendEntries to a ${role} is saved, and its sender followed`, () => {
      const server = make();
      expect(server.answerTo(appendEntries(7, [0, 0], { leaderId: 99 }))).toEqual(accepted(7));
      expect(server.status).toMatchObject({ role: "follower", currentTerm: 7, leaderId: 99 });
      expect(server.disk.hardState).toEqual(hardState(7));
    });

    test(`E7, dissertation §9.6: in a pre-vote request to a ${role} changes nothing`, () => {
      const server = make();
      const before = server.status;
      server.ask(requestVote(7, 2, [9, 6], { preVote: true }));
      expect(server.status).toEqual(before);
    });
  }

  test("Raft §5.1: a request of an earlier term is refused with the current one", () => {
    const server = new TestServer({ term: 7 });
    expect(server.answerTo(requestVote(6, 1, [9, 6]))).toEqual(voteReply(7, false));
    expect(server.answerTo(requestVote(6, 1, [9, 6], { preVote: true }))).toEqual(voteReply(7, false));
    expect(server.answerTo(appendEntries(6, [0, 0]))).toEqual({ ...accepted(7), success: false });
    expect(server.status).toMatchObject({ currentTerm: 7, votedFor: null, leaderId: null });
  });
});
