import { connect as connectSocket, type Socket } from "node:net";
import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import { defined } from "../../src/base/assert.ts";
import { RaftKvError } from "../../src/base/errors.ts";
import { CONVERSE, services } from "../../src/rpc/definition.ts";
import { RpcClient } from "../../src/rpc/rpc-client.ts";
import { RpcServer, type Handlers } from "../../src/rpc/rpc-server.ts";
import { encodeText } from "../../src/rpc/text.ts";
import { freePorts } from "../cluster/free-ports.ts";
import { waitFor } from "../cluster/waiting.ts";
import { callFrames, GREEDY_PREFACE, PING_FRAME, PREFACE } from "./http2-frames.ts";

setDefaultTimeout(60_000);

const TIMEOUT_MS = 30_000;
/** Fewer than a server takes of one connection at once. */
const MAX_OPEN_CALLS = 250;

const GET = defined(services.KeyValueStore["Get"], "Get");
const CONVERSATION = defined(services.KeyValueStore[CONVERSE], CONVERSE);

const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

/** A server that answers to Get and ping alone, on a port of its own. */
async function serve(get: (key: string) => Buffer | Promise<Buffer>, onPing: () => void = () => {}) {
  const port = await freePorts(1);
  const server = new RpcServer();
  server.add("KeyValueStore", {
    Get: async ({ arg }) => ({ value: await get(arg.toString()) }),
    ping: async () => {
      onPing();
      return { success: true };
    },
  } as Partial<Handlers<"KeyValueStore">> as Handlers<"KeyValueStore">);
  await server.listen(["127.0.0.1"], port);
  closers.push(() => server.close());
  return { server, port };
}

function connect(port: number, calls: "few" | "bursts" = "few"): RpcClient<"KeyValueStore"> {
  const client = new RpcClient("KeyValueStore", `127.0.0.1:${port}`, calls);
  closers.push(() => client.close());
  return client;
}

function getBy(client: RpcClient<"KeyValueStore">, key: string): Promise<unknown> {
  return client.call("Get", { arg: encodeText(key) }, TIMEOUT_MS);
}

/** A client that writes bytes, and reads only when the test says so. */
function rawClient(port: number, bytes: Uint8Array): Socket {
  const socket = connectSocket(port, "127.0.0.1");
  socket.pause();
  socket.on("error", () => {});
  closers.push(() => socket.destroy());
  socket.write(bytes);
  return socket;
}

function gets(count: number, key = "k"): Buffer {
  const request = GET.requestSerialize({ arg: encodeText(key) });
  return Buffer.concat(Array.from({ length: count }, (_, n) => callFrames(2 * n + 1, GET.path, request)));
}

async function ping(client: RpcClient<"KeyValueStore">): Promise<void> {
  expect((await client.call("ping", {}, TIMEOUT_MS)).success).toBe(true);
}

test("I3: while many connections flood a server, what another server asks is answered before the flood is through", async () => {
  const [connections, callsOfEach] = [40, 100];
  const journal: ("flood" | "peer")[] = [];
  let asked = false;
  const { port } = await serve(
    () => {
      journal.push("flood");
      if (!asked) void ping(peer);
      asked = true;
      return Buffer.from("v");
    },
    () => asked && journal.push("peer"),
  );
  const peer = connect(port, "bursts");
  await ping(peer);
  const flood = Buffer.concat([PREFACE, gets(callsOfEach)]);
  for (let n = 0; n < connections; n += 1) rawClient(port, flood).resume();
  await waitFor("all is served", () => journal.length === connections * callsOfEach + 1, 2 * TIMEOUT_MS);
  expect(journal.indexOf("peer")).toBeLessThan(journal.length / 2);
});

test("I4: a conversation whose first calls come with its headers gets them all answered, in order", async () => {
  const keys: string[] = [];
  const { port } = await serve((key) => {
    keys.push(key);
    return Buffer.from("v");
  });
  const calls = Array.from({ length: 1500 }, (_, n) => ({
    number: n + 1,
    method: "Get",
    request: GET.requestSerialize({ arg: encodeText(`k${n}`) }),
    timeoutMs: TIMEOUT_MS,
  }));
  const bytes = callFrames(1, CONVERSATION.path, CONVERSATION.requestSerialize({ calls }), false);
  rawClient(port, Buffer.concat([PREFACE, bytes])).resume();
  await waitFor("all are served", () => keys.length === calls.length);
  expect(keys).toEqual(calls.map((_, n) => `k${n}`));
});

test("I4: a client that never reads what it asked for is held up, others are served, and the server can stop", async () => {
  let asked = 0;
  const { server, port } = await serve(() => {
    asked += 1;
    return Buffer.alloc(200_000);
  });
  rawClient(port, Buffer.concat([GREEDY_PREFACE, gets(MAX_OPEN_CALLS)]));
  await waitFor("it is served", () => asked > 0, TIMEOUT_MS);
  await ping(connect(port));
  await ping(connect(port, "bursts"));
  await server.close();
});

test("I4: while a client pings on and reads nothing, others are served; it is answered when it reads", async () => {
  const { port } = await serve(() => Buffer.from("v"));
  const [times, count] = [20, 60_000];
  const pings = Buffer.concat(Array.from({ length: count }, () => PING_FRAME));
  const flood = rawClient(port, PREFACE);
  // More than the system holds for both of them.
  for (let n = 0; n < times; n += 1) flood.write(pings);
  await ping(connect(port));
  await ping(connect(port, "bursts"));
  let bytes = 0;
  flood.on("data", (answer: Buffer) => (bytes += answer.length));
  flood.resume();
  await waitFor("all pings are answered", () => bytes >= times * pings.length, TIMEOUT_MS);
});

test("I2: bytes that are no HTTP/2 end their connection, and nothing else", async () => {
  const { port } = await serve(() => Buffer.from("v"));
  const client = connect(port);
  for (const bytes of [
    Buffer.from("GET / HTTP/1.1\r\n\r\n"),
    Buffer.alloc(100_000, "z"),
    Buffer.concat([PREFACE, Buffer.alloc(5000, 0xff)]),
  ]) {
    const socket = rawClient(port, bytes);
    socket.resume();
    await waitFor("it was hung up on", () => socket.closed);
    await ping(client);
  }
});

test("I2: messages of many megabytes go both ways", async () => {
  const { port } = await serve((key) => Buffer.from(key));
  const text = "x".repeat(8_000_000);
  for (const calls of ["few", "bursts"] as const) {
    const { value } = await connect(port, calls).call("Get", { arg: encodeText(text) }, TIMEOUT_MS);
    expect(value.toString() === text).toBe(true);
  }
});

test("F4: a server that stops answers what is under way, and ends what cannot end", async () => {
  const hold = Promise.withResolvers<Buffer>();
  const asked: string[] = [];
  const { server, port } = await serve((key) => {
    asked.push(key);
    return key === "held" ? hold.promise : new Promise<Buffer>(() => {});
  });
  const [held, stuck] = ["held", "stuck"].map((key) =>
    connect(port)
      .call("Get", { arg: encodeText(key) }, TIMEOUT_MS)
      .then(
        ({ value }) => value.toString(),
        () => "no answer",
      ),
  );
  rawClient(port, Buffer.from("PRI"));
  await waitFor("both are under way", () => asked.length === 2);
  const closed = server.close();
  hold.resolve(Buffer.from("an answer"));
  expect(await held).toBe("an answer");
  expect(await stuck).toBe("no answer");
  await closed;
});

test("a server tells how many calls came, however they travelled and ended, and how many it had at once", async () => {
  const refused = new RaftKvError("unavailable", "not now");
  const answers = Promise.withResolvers<Buffer>();
  const { server, port } = await serve((key) => (key === "wait" ? answers.promise : Promise.reject(refused)));
  const [alone, together] = [connect(port), connect(port, "bursts")];
  for (const client of [alone, together]) await expect(getBy(client, "refused")).rejects.toThrow("not now");
  expect([server.load.calls, server.load.together]).toEqual([2, 2]);
  const waiting = [alone, together, together].map((client) => getBy(client, "wait"));
  await waitFor("three more calls", () => server.load.calls === 5);
  expect(server.load.together - 2).toBe(1 + 2 + 3);
  answers.resolve(Buffer.from("v"));
  await Promise.all(waiting);
});
