import { describe, expect, test } from "bun:test";
import { TestServer } from "./harness.ts";
import { accepted, refused } from "./raft-values.ts";

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
});
