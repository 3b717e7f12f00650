import { Metadata, Server, ServerCredentials, status, type ServerDuplexStream } from "@grpc/grpc-js";
import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import { defined } from "../../src/base/assert.ts";
import { RaftKvError } from "../../src/base/errors.ts";
import type { AnswerBatch, CallBatch } from "../../src/rpc/batched-call.ts";
import { CONVERSE, MAX_MESSAGE_BYTES, services } from "../../src/rpc/definition.ts";
import { RpcClient } from "../../src/rpc/rpc-client.ts";
import { RpcServer, type CallContext, type Handlers } from "../../src/rpc/rpc-server.ts";
import { encodeText } from "../../src/rpc/text.ts";
import type { KeyValue } from "../../src/rpc/wire.ts";
import { freePorts } from "../cluster/free-ports.ts";
import { waitFor } from "../cluster/waiting.ts";

setDefaultTimeout(60_000);

const TIMEOUT_MS = 20_000;

const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

type Conversed = ServerDuplexStream<CallBatch, Partial<AnswerBatch>>;

type Get = (key: string, context: CallContext) => Promise<Partial<KeyValue>>;

/** A server that answers to Get alone, on a port of its own. */
async function serve(
  get: Get,
  port?: number,
): Promise<{ readonly server: RpcServer; readonly port: number }> {
  const at = port ?? (await freePorts(1));
  const server = new RpcServer();
  server.add("KeyValueStore", {
    Get: ({ arg }, context) => get(arg.toString(), context),
    ping: async () => ({ success: true }),
  } as Partial<Handlers<"KeyValueStore">> as Handlers<"KeyValueStore">);
  await server.listen(["127.0.0.1"], at);
  closers.push(() => server.close());
  return { server, port: at };
}

function connect(port: number): RpcClient<"KeyValueStore"> {
  const client = new RpcClient("KeyValueStore", `127.0.0.1:${port}`, "many");
  closers.push(() => client.close());
  return client;
}

async function get(client: RpcClient<"KeyValueStore">, key: string, timeoutMs = TIMEOUT_MS): Promise<string> {
  try {
    return (await client.call("Get", { arg: encodeText(key) }, timeoutMs)).value.toString();
  } catch (error) {
    if (error instanceof RaftKvError) return error.code;
    throw error;
  }
}

const echo: Get = async (key) => ({ value: encodeText(`${key}!`) });

test("I4: calls that travel together are answered each for itself, a slow one holding up nobody", async () => {
  const slow = Promise.withResolvers<void>();
  const { port } = await serve(async (key) => {
    if (key === "slow") await slow.promise;
    if (key === "refused") throw new RaftKvError("invalidArgument", "no such thing");
    return echo(key, { remainingMs: null });
  });
  const client = connect(port);
  const last = get(client, "slow");
  expect(await Promise.all(["a", "refused", "b"].map((key) => get(client, key)))).toEqual([
    "a!",
    "invalidArgument",
    "b!",
  ]);
  slow.resolve();
  expect(await last).toBe("slow!");
});

test("I4: a request that is too large for a message is refused, and the calls beside it are answered", async () => {
  const slow = Promise.withResolvers<void>();
  const { port } = await serve(async (key) => {
    if (key === "slow") await slow.promise;
    return echo(`${key.length}`, { remainingMs: null });
  });
  const client = connect(port);
  const beside = get(client, "slow");
  const large = MAX_MESSAGE_BYTES - 10;
  expect(await get(client, "k".repeat(large))).toBe("invalidArgument");
  slow.resolve();
  expect(await beside).toBe("4!");
  expect(await get(client, "k".repeat(large - 1100))).toBe(`${large - 1100}!`);
});

test("I3: more calls than a server takes at once are all answered, and so are answers of many megabytes", async () => {
  let [open, most] = [0, 0];
  const { port } = await serve(async () => {
    open += 1;
    most = Math.max(most, open);
    await new Promise((resolve) => setImmediate(resolve));
    open -= 1;
    return { value: Buffer.alloc(10_000, "x") };
  });
  const client = connect(port);
  const answers = await Promise.all(Array.from({ length: 5000 }, (_, at) => get(client, `key ${at}`)));
  expect(new Set(answers.map((answer) => answer.length))).toEqual(new Set([10_000]));
  expect(most).toBeLessThan(256 + 256);
});

test("C2: a call without an answer is in doubt once it was sent, and certainly not done before", async () => {
  const { port } = await serve((_key, { remainingMs }) => {
    expect(remainingMs).toBeGreaterThan(0);
    return new Promise(() => {});
  });
  expect(await get(connect(port), "k", 300)).toBe("unknownOutcome");
  const nobody = await freePorts(1);
  expect(await get(connect(nobody), "k", 300)).toBe("unavailable");
});

test("C2: calls to a server that reads no more stay here, and are given up for not done", async () => {
  let open = 0;
  const { port } = await serve(() => {
    open += 1;
    return new Promise(() => {});
  });
  const client = connect(port);
  await client.call("ping", {}, TIMEOUT_MS);
  const text = "x".repeat(20_000);
  const outcomes = await Promise.all(Array.from({ length: 4000 }, () => get(client, text, 3000)));
  expect(new Set(outcomes)).toEqual(new Set(["unavailable", "unknownOutcome"]));
  const inDoubt = outcomes.filter((outcome) => outcome === "unknownOutcome").length;
  expect(inDoubt).toBeGreaterThanOrEqual(open);
  // What it took, and some messages on their way.
  expect(inDoubt).toBeLessThan(3000);
});

test("F6: what was under way when the server died is in doubt, and the next one is served by who comes after it", async () => {
  const asked: string[] = [];
  const { server, port } = await serve((key) => {
    asked.push(key);
    return new Promise(() => {});
  });
  const client = connect(port);
  const doubtful = get(client, "a");
  await waitFor("the call has arrived", async () => asked.length > 0);
  const closed = server.close();
  expect(await doubtful).toBe("unknownOutcome");
  await closed;
  await serve(echo, port);
  await waitFor("the next server answers", async () => (await get(client, "b")) === "b!");
});

test("I4: a server that stops answers what it has, refuses what comes, and does not wait for idle conversations", async () => {
  const hold = Promise.withResolvers<void>();
  const asked: string[] = [];
  const { server, port } = await serve(async (key) => {
    asked.push(key);
    await hold.promise;
    return { value: encodeText(key) };
  });
  const [busy, idle] = [connect(port), connect(port)];
  const answered = get(busy, "a");
  expect((await idle.call("ping", {}, TIMEOUT_MS)).success).toBe(true);
  await waitFor("the call has arrived", async () => asked.length > 0);
  const closed = server.close();
  const late = get(busy, "b");
  hold.resolve();
  expect(await answered).toBe("a");
  expect(["unavailable", "unknownOutcome"]).toContain(await late);
  await closed;
  expect(asked).toEqual(["a"]);
});

/** A server that does with conversations what the test says. */
async function serveConversations(converse: (stream: Conversed) => void): Promise<number> {
  const port = await freePorts(1);
  const server = new Server();
  server.addService(
    { [CONVERSE]: defined(services.KeyValueStore[CONVERSE], "Converse") },
    { [CONVERSE]: converse },
  );
  await new Promise((resolve) => {
    server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), resolve);
  });
  closers.push(() => server.forceShutdown());
  return port;
}

test("C2: an answer that cannot be read leaves its call in doubt, and those beside it are answered", async () => {
  const readable = defined(services.KeyValueStore["Get"], "Get").responseSerialize({
    value: encodeText("v"),
  });
  const port = await serveConversations((stream) => {
    stream.sendMetadata(new Metadata());
    stream.on("data", ({ calls }: CallBatch) => {
      const answers = calls.map(({ number, method }, at) => {
        const response = at === 0 && method === "Get" ? Buffer.from([0x0a, 0x7f]) : readable;
        return { number, response };
      });
      stream.write({ answers });
    });
  });
  const client = connect(port);
  expect(await Promise.all(["a", "b"].map((key) => get(client, key)))).toEqual(["unknownOutcome", "v"]);
});

test("C2: however a conversation ends, the calls that it carried are in doubt, and not refused", async () => {
  const port = await serveConversations((stream) => {
    stream.sendMetadata(new Metadata());
    stream.on("data", () => {
      stream.emit("error", { code: status.RESOURCE_EXHAUSTED, details: "too much" });
    });
  });
  expect(await get(connect(port), "a")).toBe("unknownOutcome");
});

test("who calls again when told that a call failed is not told at once that this one failed, too", async () => {
  const client = connect(await freePorts(1));
  const call = (done: (outcome: unknown) => void): void => {
    client.send("Get", { arg: encodeText("k") }, TIMEOUT_MS, done);
  };
  const isAtOnce = await new Promise((resolve) => {
    call(() => {
      let atOnce = true;
      call(() => resolve(atOnce));
      queueMicrotask(() => {
        atOnce = false;
      });
    });
  });
  expect(isAtOnce).toBe(false);
});

test("a server of an earlier version, which knows no conversations, is talked to call by call", async () => {
  const port = await freePorts(1);
  const { [CONVERSE]: _unknown, ...known } = services.KeyValueStore;
  const server = new Server();
  server.addService(known, {
    Get: (
      { request }: { request: { arg: Buffer } },
      done: (error: null, response: Partial<KeyValue>) => void,
    ) => done(null, { value: Buffer.concat([request.arg, encodeText("?")]) }),
  });
  await new Promise((resolve) => {
    server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), resolve);
  });
  closers.push(() => server.forceShutdown());
  const client = connect(port);
  expect(await Promise.all(["a", "b"].map((key) => get(client, key)))).toEqual(["a?", "b?"]);
  expect(await get(client, "c")).toBe("c?");
});
