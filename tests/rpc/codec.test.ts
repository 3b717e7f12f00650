import { describe, expect, test } from "bun:test";
import { RaftKvError } from "../../src/base/errors.ts";
import { commandByteLength, type Command, type PutCommand } from "../../src/kv/command.ts";
import type { Configuration } from "../../src/raft/configuration.ts";
import type { Entry } from "../../src/raft/entry.ts";
import type { AppendEntries } from "../../src/raft/message.ts";
import {
  appendEntriesFromWire,
  appendEntriesReplyFromWire,
  appendEntriesReplyToWire,
  appendEntriesToWire,
  requestVoteFromWire,
  requestVoteToWire,
} from "../../src/rpc/codec.ts";
import {
  readIndexReplyFromWire,
  timeoutNowFromWire,
  timeoutNowReplyFromWire,
  timeoutNowReplyToWire,
  timeoutNowToWire,
} from "../../src/rpc/configuration-codec.ts";
import { services } from "../../src/rpc/definition.ts";
import type { AppendEntriesArgs, WireAppendEntriesReply, WireMember } from "../../src/rpc/wire.ts";
import { encodeParts } from "../../src/rpc/write-codec.ts";

function put(index: number, term: number, command: Omit<PutCommand, "kind">): Entry<Command> {
  return entry(index, term, { kind: "put", ...command });
}

function entry(index: number, term: number, command: Command): Entry<Command> {
  return { index, term, payload: { kind: "command", command, byteLength: commandByteLength(command) } };
}

/** Through the very bytes that travel. */
function overTheWire(args: AppendEntriesArgs): AppendEntriesArgs {
  const rpc = services.KeyValueStore["AppendEntries"];
  if (rpc === undefined) throw new TypeError("no AppendEntries");
  return rpc.requestDeserialize(rpc.requestSerialize(args)) as AppendEntriesArgs;
}

function replyOverTheWire(reply: Partial<WireAppendEntriesReply>): WireAppendEntriesReply {
  const rpc = services.KeyValueStore["AppendEntries"];
  if (rpc === undefined) throw new TypeError("no AppendEntries");
  return rpc.responseDeserialize(rpc.responseSerialize(reply)) as WireAppendEntriesReply;
}

const ODD_TEXTS = [
  "__proto__",
  "constructor",
  "\0",
  "\n",
  '"',
  "\ud800",
  "\ud83d\ude00",
  "x",
  "\ufeff",
  "é".repeat(50),
];

const CONFIGURATION: Configuration = [
  { id: 0, address: "", voter: true },
  { id: 2, address: "[fd00::2]:9001", voter: true },
  { id: 7, address: "db-7.local:80", voter: false },
];

const request: AppendEntries<Command> = {
  kind: "appendEntries",
  term: 7,
  leaderId: 0,
  prevLogIndex: 3,
  prevLogTerm: 2,
  leaderCommit: 3,
  round: 0,
  entries: [
    { index: 4, term: 2, payload: { kind: "noop" } },
    put(5, 6, { key: "k", value: "", request: null, routed: null }),
    put(6, 7, {
      key: "k",
      value: "v",
      request: { clientId: -5, requestId: 0 },
      routed: { routerId: 2 ** 48, routerCall: 9, pending: 4, retried: true },
    }),
    { index: 7, term: 7, payload: { kind: "configuration", configuration: CONFIGURATION } },
    ...ODD_TEXTS.map((text, i) =>
      put(8 + i, 7, { key: text, value: text, request: { clientId: 0, requestId: i + 1 }, routed: null }),
    ),
    entry(8 + ODD_TEXTS.length, 7, {
      kind: "putMany",
      writes: [...ODD_TEXTS, "x".repeat(300)].map((text) => ({ key: text, value: text.repeat(2) })),
      request: { clientId: 3, requestId: -1 },
      routed: { routerId: 2 ** 47, routerCall: 2, pending: 1, retried: false },
    }),
    entry(9 + ODD_TEXTS.length, 7, {
      kind: "putMany",
      writes: [{ key: "k", value: "" }],
      request: null,
      routed: null,
    }),
  ],
};

const plainArgs: AppendEntriesArgs = {
  term: 2,
  leaderId: 1,
  prevLogIndex: 0,
  prevLogTerm: 0,
  entries: [],
  leaderCommit: 0,
  clusterId: "",
};

function refusal(args: Partial<AppendEntriesArgs>): string {
  try {
    appendEntriesFromWire(overTheWire({ ...plainArgs, ...args }));
  } catch (error) {
    if (error instanceof RaftKvError && error.code === "invalidArgument") return error.message;
    throw error;
  }
  return "accepted";
}

function configurationRefusal(members: readonly WireMember[]): string {
  return refusal({ entries: [{ term: 1, kind: "CONFIGURATION", members }] });
}

function batchRefusal(...batch: readonly number[]): string {
  return refusal({ entries: [{ term: 1, kind: "PUT_MANY", batch: Buffer.from(batch) }] });
}

describe("Raft's messages on the wire", () => {
  test("I1: an AppendEntries arrives as it was sent, whatever its keys and values are", () => {
    expect(appendEntriesFromWire(overTheWire(appendEntriesToWire(request, "c")))).toEqual(request);
  });

  test("L3: the round of a request does not travel: only its sender knows which round a reply confirms", () => {
    const received = appendEntriesFromWire(overTheWire(appendEntriesToWire({ ...request, round: 9 }, "c")));
    expect(received.round).toBe(0);
  });

  test("I2: a configuration that no leader can have written is refused", () => {
    const one = { id: 1, address: "", voter: true };
    expect(configurationRefusal([one])).toBe("accepted");
    expect(configurationRefusal([])).toMatch(/nobody votes/);
    expect(configurationRefusal([{ ...one, voter: false }])).toMatch(/nobody votes/);
    expect(configurationRefusal([one, one])).toMatch(/do not ascend/);
    expect(configurationRefusal([one, { ...one, id: 0 }])).toMatch(/do not ascend/);
    expect(configurationRefusal([{ ...one, id: -1 }])).toMatch(/member id is -1/);
    expect(configurationRefusal([{ ...one, address: "a b:1" }])).toMatch(
      /member 1 has no address but "a b:1"/,
    );
    expect(configurationRefusal([{ ...one, address: "a".repeat(301) }])).toMatch(/member 1 has no address/);
  });

  test("TimeoutNow and its reply arrive as they were sent", () => {
    const request = { kind: "timeoutNow", term: 3, leaderId: 0 } as const;
    expect(timeoutNowFromWire(timeoutNowToWire(request, "c"))).toEqual(request);
    const reply = { kind: "timeoutNowReply", term: 4, success: true } as const;
    expect(timeoutNowReplyFromWire(timeoutNowReplyToWire(reply))).toEqual(reply);
    expect(() => timeoutNowFromWire({ term: -3, leaderId: 0, clusterId: "" })).toThrow(/term is -3/);
  });

  test("L1: a read index counts only without an error", () => {
    expect(readIndexReplyFromWire({ index: 9, error: "", code: "OK" }).readIndex).toBe(9);
    expect(readIndexReplyFromWire({ index: 9, error: "no", code: "NOT_LEADER" }).readIndex).toBeNull();
  });

  test("a RequestVote arrives as it was sent", () => {
    const vote = {
      kind: "requestVote",
      term: 3,
      candidateId: 0,
      lastLogIndex: 9,
      lastLogTerm: 2,
      preVote: true,
    } as const;
    expect(requestVoteFromWire(requestVoteToWire(vote, "c"))).toEqual(vote);
  });

  test("R10, P6: an append reply carries the conflict hint, or none, and whether its sender's disk is full", () => {
    for (const conflict of [{ index: 4, term: 0 }, { index: 2, term: 1 }, null]) {
      for (const diskFull of [false, true]) {
        const reply = { kind: "appendEntriesReply", term: 4, success: false, conflict, diskFull } as const;
        expect(appendEntriesReplyFromWire(replyOverTheWire(appendEntriesReplyToWire(reply)))).toEqual(reply);
      }
    }
  });

  test("an entry from a client that knows only the original fields is a put", () => {
    const entry = { term: 1, key: Buffer.from("k"), value: Buffer.from("v"), clientId: 0, requestId: 0 };
    const decoded = appendEntriesFromWire(overTheWire({ ...plainArgs, entries: [entry] }));
    expect(decoded.entries).toEqual([put(1, 1, { key: "k", value: "v", request: null, routed: null })]);
  });

  test("I2: negative and absurd numbers are refused with a clear error", () => {
    expect(refusal({ term: -1 })).toMatch(/term is -1/);
    expect(refusal({ prevLogIndex: 2 ** 60 })).toMatch(/prevLogIndex/);
    expect(refusal({ leaderCommit: -7 })).toMatch(/leaderCommit/);
  });

  test("I2: a batch without writes, with one that is no message, or that is not text is refused", () => {
    const write = [...encodeParts(Buffer.from("k"), Buffer.from("v"))];
    const noText = [...encodeParts(Buffer.from("k"), Buffer.from([0xff]))];
    expect(batchRefusal(0x0a, write.length, ...write)).toBe("accepted");
    expect(batchRefusal()).toMatch(/has no writes/);
    expect(batchRefusal(0x0a, 3, 0x0a, 9, 1)).toMatch(/not a message Write/);
    expect(batchRefusal(0x0a, write.length + 1, ...write)).toMatch(/not a message Write/);
    expect(batchRefusal(0x0a, noText.length, ...noText)).toMatch(/not text/);
  });

  test("I2: an entry of a kind that only a later version knows is refused, not passed over", () => {
    const kind = 99 as unknown as "PUT";
    expect(refusal({ entries: [{ term: 1, kind }] })).toMatch(/entry kind 99 is not known to this version/);
  });

  test("I2: an entry that is not text is refused", () => {
    expect(refusal({ entries: [{ term: 1, key: Buffer.from([0xff]), value: Buffer.from("") }] })).toMatch(
      /not text/,
    );
  });
});
