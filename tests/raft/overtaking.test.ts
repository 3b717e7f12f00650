import { describe, expect, test } from "bun:test";
import { TestServer } from "./harness.ts";
import { accepted, logOf, refused } from "./raft-values.ts";

describe("AppendEntries that overtake one another", () => {
  test("R5: a refusal that comes after the success it waited for does not lose what was refused", () => {
    const leader = new TestServer().lead();
    leader.propose("a");
    leader.propose("b");
    const [a, b] = leader.takeSent().filter(({ to }) => to === 1);
    if (a?.request.kind !== "appendEntries" || b?.request.kind !== "appendEntries")
      throw new TypeError("two to 1");
    // Server 1 got b before a, so it refused b; the answers come in the order of the requests.
    leader.receive(1, a.request, accepted(leader.status.currentTerm));
    leader.receive(1, b.request, refused(leader.status.currentTerm, [a.request.prevLogIndex + 1, 0]));
    const again = leader.takeSent().find(({ to }) => to === 1)?.request;
    expect(again).toMatchObject({ prevLogIndex: b.request.prevLogIndex, entries: b.request.entries });
  });

  test("R7: a lost probe of a new leader is sent again where it was, not from the log's beginning", () => {
    const leader = new TestServer({ log: logOf(1, 1, 1, 1) }).elect();
    const probe = leader
      .takeSent()
      .find(({ to, request }) => to === 1 && request.kind === "appendEntries")?.request;
    if (probe?.kind !== "appendEntries") throw new TypeError("a probe");
    leader.lose(1, probe);
    leader.tick(10);
    const again = leader
      .takeSent()
      .find(({ to, request }) => to === 1 && request.kind === "appendEntries" && request.entries.length > 0);
    expect(again?.request).toMatchObject({ prevLogIndex: 4 });
  });
});
