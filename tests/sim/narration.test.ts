import { expect, test } from "bun:test";
import { isNoise, narrate } from "../../src/sim/narration.ts";
import type { TraceEvent } from "../../src/sim/trace.ts";

function carried(what: string, detail: object): TraceEvent {
  return { atUs: 1_500_000, who: "network", what, detail };
}

const APPEND = { term: 3, leaderId: 2, prevLogIndex: 4, prevLogTerm: 2, leaderCommit: 4 };

test("messages and events are told in words", () => {
  const entries = [{ index: 5, term: 3, payload: { kind: "noop" } }];
  const append = carried("appendEntries 2->0 is lost", { kind: "appendEntries", ...APPEND, entries });
  expect(narrate(append)).toBe(
    "   1.500000  2 -> 0    sends entry 5 in term 3, after 4 of term 2; commit 4 (is lost)",
  );
  const refusal = {
    kind: "appendEntriesReply",
    term: 3,
    success: false,
    conflict: { index: 2, term: 1 },
    diskFull: false,
  };
  expect(narrate(carried("appendEntriesReply 0->2 arrives", refusal))).toEndWith(
    "0 -> 2    refuses them, term 3: look at 2, term 1",
  );
  const detail = { kind: "becameLeader", term: 4 };
  expect(narrate({ atUs: 0, who: "server 1", what: "becameLeader", detail })).toEndWith(
    "server 1  becameLeader: term 4",
  );
  expect(narrate({ atUs: 0, who: "server 1", what: "starts" })).toEndWith("server 1  starts");
});

test("a snapshot on its way is told by its first and last chunk", () => {
  const info = { position: { index: 8, term: 2 }, totalBytes: 900, checksum: "00000000" };
  const chunk = (offset: number): TraceEvent => {
    const data = new Uint8Array(300);
    return carried("snapshotChunk 2->0 arrives", {
      kind: "snapshotChunk",
      term: 3,
      leaderId: 2,
      info,
      offset,
      data,
    });
  };
  expect(narrate(chunk(600))).toEndWith("2 -> 0    sends bytes 600 to 900 of 900 of snapshot 8 in term 3");
  expect([0, 300, 600].map((offset) => isNoise(chunk(offset)))).toEqual([false, true, false]);
  const reply = { kind: "snapshotChunkReply", term: 3, nextOffset: 300, installed: false };
  expect(narrate(carried("snapshotChunkReply 0->2 arrives", reply))).toEndWith("wants byte 300, term 3");
  expect(isNoise(carried("snapshotChunkReply 0->2 arrives", reply))).toBe(true);
  expect(isNoise(carried("snapshotChunkReply 0->2 arrives", { ...reply, installed: true }))).toBe(false);
});

test("heartbeats and agreement are noise; entries, refusals, votes and all else are not", () => {
  const heartbeat = { kind: "appendEntries", ...APPEND, entries: [] };
  const success = { kind: "appendEntriesReply", term: 3, success: true, conflict: null, diskFull: false };
  expect(isNoise(carried("appendEntries 2->0 arrives", heartbeat))).toBe(true);
  expect(isNoise(carried("appendEntriesReply 0->2 arrives", success))).toBe(true);
  expect(isNoise(carried("appendEntriesReply 0->2 arrives", { ...success, success: false }))).toBe(false);
  expect(isNoise(carried("requestVoteReply 0->2 arrives", { kind: "requestVoteReply" }))).toBe(false);
  expect(isNoise({ atUs: 0, who: "client 0", what: "puts", detail: { key: "k" } })).toBe(false);
});
