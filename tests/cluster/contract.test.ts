import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { Client, credentials, status, type ServiceError } from "@grpc/grpc-js";
import { decodeText, encodeText } from "../../src/rpc/text.ts";
import { Deployment } from "./deployment.ts";
import { waitFor } from "./waiting.ts";

setDefaultTimeout(60_000);

const TIMEOUT_MS = 10_000;
const ODD_TEXTS = [
  "__proto__",
  "constructor",
  "a\0b",
  "line\nbreak\r\n",
  `"quotes" and \\`,
  "\ud800 alone",
  "\udc00",
  "\u{1f600}".repeat(50),
  "\ufeffmark",
  " ",
  "x",
];

let cluster: Deployment;

beforeAll(async () => {
  cluster = await Deployment.create();
  await cluster.startFrontend();
  await cluster.startRaft(3);
});

afterAll(() => cluster.close());

function asIs(bytes: Buffer): Buffer {
  return bytes;
}

function rejection(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    () => "no error",
    (error: unknown) => error,
  );
}

async function follower(): Promise<number> {
  const { id } = await cluster.leader(3);
  return (id + 1) % 3;
}

describe("the contract over real sockets", () => {
  test("a put through the frontend is read back, from it and from every server", async () => {
    await cluster.put("greeting", "hello");
    expect(await cluster.get("greeting")).toBe("hello");
    for (const id of [0, 1, 2]) {
      await waitFor(`server ${id} has it`, async () => (await cluster.getOn(id, "greeting")) === "hello");
    }
  });

  test("C4: a missing key reads as the empty string, and the found field tells it from an empty value", async () => {
    await cluster.put("empty", "");
    const missing = await cluster.frontend.call("Get", { key: encodeText("missing") }, TIMEOUT_MS);
    const empty = await cluster.frontend.call("Get", { key: encodeText("empty") }, TIMEOUT_MS);
    expect([missing, empty].map(({ value, found, error }) => [value.length, found, error])).toEqual([
      [0, false, ""],
      [0, true, ""],
    ]);
  });

  test("I1: odd keys and values come back exactly", async () => {
    for (const text of ODD_TEXTS) await cluster.put(text, text);
    for (const text of ODD_TEXTS) expect(await cluster.get(text)).toBe(text);
  });

  test("I1: the largest key and value allowed come back exactly; one byte more is refused", async () => {
    const [key, value] = ["k".repeat(4096), "v".repeat(1024 * 1024)];
    await cluster.put(key, value);
    expect(await cluster.get(key)).toBe(value);
    expect(String(await rejection(cluster.put(`${key}k`, "v")))).toMatch(/key has 4097 bytes/);
    expect(String(await rejection(cluster.put("k", `${value}v`)))).toMatch(/value has 1048577 bytes/);
  });

  test("I2: an empty key and ids past 2^53 get a clear error in the answer, and nothing is logged", async () => {
    const { id } = await cluster.leader(3);
    const before = (await cluster.status(id)).lastLogIndex;
    const wrong = [{ key: encodeText("") }, { key: encodeText("k"), clientId: 2 ** 60 }];
    for (const request of wrong) {
      const routed = await cluster.frontend.call("Put", request, TIMEOUT_MS);
      expect([routed.wrongLeader, routed.error === "", routed.code]).toEqual([
        false,
        false,
        "INVALID_ARGUMENT",
      ]);
      const direct = await cluster.server(id).call("Put", request, TIMEOUT_MS);
      expect([direct.success, direct.error === "", direct.code]).toEqual([false, false, "INVALID_ARGUMENT"]);
    }
    expect((await cluster.status(id)).lastLogIndex).toBe(before);
  });

  test("I2: bytes that are no message get an error and crash nothing", async () => {
    const client = new Client(cluster.server(0).address, credentials.createInsecure());
    const error = await new Promise<ServiceError | null>((resolve) => {
      const garbage = Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x01]);
      client.makeUnaryRequest("/raft.KeyValueStore/Put", asIs, asIs, garbage, (reason) => resolve(reason));
    });
    client.close();
    expect(error?.code).toBe(status.INTERNAL);
    expect((await cluster.server(0).call("ping", {}, TIMEOUT_MS)).success).toBe(true);
  });

  test("a put on a follower is refused and names the leader", async () => {
    const id = await follower();
    const reply = await cluster.putOn(id, "k", "v");
    const leader = await cluster.leader(3);
    expect(reply).toMatchObject({ success: false, code: "NOT_LEADER", leaderId: leader.id });
    expect(reply.error).toContain(`server ${leader.id}`);
  });

  test("R6: AppendEntries by hand, in the leader's own term or against the committed log, is refused and harms nothing", async () => {
    const { id, term } = await cluster.leader(3);
    await cluster.put("before", "hand");
    const mine = { term, leaderId: 99, prevLogIndex: 0, prevLogTerm: 0, entries: [], leaderCommit: 0 };
    expect(await cluster.server(id).call("AppendEntries", mine, TIMEOUT_MS)).toMatchObject({
      success: false,
    });
    const other = (id + 1) % 3;
    await waitFor(
      "the follower has committed",
      async () => (await cluster.getOn(other, "before")) === "hand",
    );
    const entries = [{ term: term + 1, key: encodeText("before"), value: encodeText("overwritten") }];
    const usurper = { ...mine, term: term + 1, entries };
    expect(await cluster.server(other).call("AppendEntries", usurper, TIMEOUT_MS)).toMatchObject({
      success: false,
    });
    expect(await cluster.get("before")).toBe("hand");
  });

  test("E5: a RequestVote by hand with a higher term makes the leader step down, and the cluster recovers", async () => {
    const { id, term } = await cluster.leader(3);
    const request = { term: term + 100, candidateId: 1, lastLogIndex: 0, lastLogTerm: 0 };
    const reply = await cluster.server(id).call("RequestVote", request, TIMEOUT_MS);
    expect(reply).toMatchObject({ term: term + 100, voteGranted: false });
    await cluster.put("after", "hand");
    expect((await cluster.leader(3)).term).toBeGreaterThan(term + 100);
  });

  test("C1: the same request twice is applied once; one pair for different writes loses none of them", async () => {
    const send = (key: string, value: string): Promise<unknown> =>
      cluster.frontend.call(
        "Put",
        { key: encodeText(key), value: encodeText(value), clientId: 1, requestId: 1 },
        TIMEOUT_MS,
      );
    for (const value of ["a", "b", "a"]) await send("pair", value);
    expect(await cluster.get("pair")).toBe("a");
    await cluster.put("pair", "other");
    await send("pair", "a");
    expect(await cluster.get("pair")).toBe("other");
  });

  test("P10: a message of another cluster is refused", async () => {
    const args = { term: 1, candidateId: 1, lastLogIndex: 0, lastLogTerm: 0, clusterId: "another" };
    const error = await rejection(cluster.server(0).call("RequestVote", args, TIMEOUT_MS));
    expect(error).toMatchObject({ code: "failedPrecondition" });
  });

  test("localhost, 127.0.0.1 and [::1] reach frontend and servers", async () => {
    const port = cluster.basePort;
    for (const host of ["localhost", "127.0.0.1", "[::1]"]) {
      const client = new Client(`${host}:${port}`, credentials.createInsecure());
      const ready = new Promise((resolve) => client.waitForReady(Date.now() + TIMEOUT_MS, resolve));
      expect(await ready).toBeUndefined();
      client.close();
    }
  });

  test("I3, I4: ten thousand puts at once on one connection are all answered, and the leader stays", async () => {
    const { id, term } = await cluster.leader(3);
    const value = encodeText("x".repeat(100));
    const replies = await Promise.all(
      Array.from({ length: 10_000 }, (_, i) =>
        cluster.server(id).call("Put", { key: encodeText(`flood-${i}`), value }, 30_000),
      ),
    );
    const codes = new Set(replies.map(({ success, code }) => (success ? "done" : code)));
    expect([...codes].filter((code) => code !== "done" && code !== "OVERLOADED")).toEqual([]);
    expect((await cluster.leader(3)).term).toBe(term);
  });

  test("the state file holds what the contract's readers look for, as JSON", async () => {
    const text = await Bun.file(`${cluster.stateDirectory}/server_0.json`).text();
    const { term } = await cluster.status(0);
    expect(JSON.parse(text)).toMatchObject({ currentTerm: term, serverId: 0, servers: [0, 1, 2] });
    expect(decodeText(Buffer.from(text))).toBe(text);
  });
});
