import { connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import { Intake } from "../../src/rpc/intake.ts";
import { PacedConnection } from "../../src/rpc/paced-connection.ts";
import { freePorts } from "../cluster/free-ports.ts";
import { waitFor } from "../cluster/waiting.ts";

setDefaultTimeout(30_000);

/** Longer than a test lasts. */
const LONG_MS = 600_000;
/** More than the system holds for a client that does not read. */
const MANY_BYTES = 40_000_000;

const closers: (() => unknown)[] = [];

afterEach(() => {
  for (const close of closers.splice(0).toReversed()) close();
});

interface Pair {
  readonly client: Socket;
  readonly connection: PacedConnection;
  /** Of the connection. */
  readonly socket: Socket;
}

/** A client that reads nothing yet, and its connection, from which nothing is read yet. */
async function pair(farewellMs = LONG_MS): Promise<Pair> {
  const port = await freePorts(1);
  const accepted = Promise.withResolvers<Socket>();
  const server: Server = createServer({ allowHalfOpen: true }, accepted.resolve);
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  const client = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  client.pause();
  client.on("error", () => {});
  const socket = await accepted.promise;
  const connection = new PacedConnection(socket, new Intake(), farewellMs);
  closers.push(
    () => server.close(),
    () => client.destroy(),
    () => connection.abort(),
  );
  return { client, connection, socket };
}

/** What a stream gives until it ends; rejects when it is cut off. */
async function textOf(stream: Socket | PacedConnection): Promise<string> {
  const chunks: Buffer[] = [];
  await new Promise<void>((resolve, reject) => {
    stream.on("data", (bytes: Buffer) => chunks.push(bytes));
    stream.resume();
    stream.on("end", resolve);
    stream.on("error", reject);
    stream.on("close", () => reject(new Error("it was closed before its end")));
  });
  return Buffer.concat(chunks).toString("latin1");
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

function closed(connection: PacedConnection): Promise<true> {
  return waitFor("the connection is closed", () => connection.closed);
}

const LONG_TEXT = "0123456789abcdef".repeat(100_000);

test("I4: a reader that takes nothing holds its sender up, and then gets everything, in order, and one end", async () => {
  const { client, connection, socket } = await pair();
  client.end(LONG_TEXT);
  await waitFor("the sender is held up", () => socket.isPaused());
  let ends = 0;
  connection.on("end", () => (ends += 1));
  expect(await textOf(connection)).toBe(LONG_TEXT);
  await closed(connection);
  expect(ends).toBe(1);
});

test("I4: what a client sent before it hung up is read, however long that takes", async () => {
  const { client, connection, socket } = await pair();
  const hungUp = Promise.withResolvers<void>();
  socket.on("end", hungUp.resolve);
  client.end("x".repeat(30_000));
  await hungUp.promise;
  await turns(20);
  expect(await textOf(connection)).toHaveLength(30_000);
});

test("I4: what is written in one turn of the event loop leaves in one piece", async () => {
  const { client, connection, socket } = await pair();
  const write = spyOnWrites(socket);
  for (const piece of ["a", "b", "c"]) connection.write(piece);
  expect(write).toEqual([]);
  await turns(2);
  expect(write).toEqual(["abc"]);
  connection.end("d");
  expect(await textOf(client)).toBe("abcd");
});

function spyOnWrites(socket: Socket): string[] {
  const written: string[] = [];
  const write = socket.write.bind(socket);
  socket.write = ((bytes: Buffer) => {
    written.push(bytes.toString());
    return write(bytes);
  }) as typeof socket.write;
  return written;
}

test("I4: a writer waits while a client reads nothing, goes on when it reads, and all arrives", async () => {
  const { client, connection } = await pair();
  let written = 0;
  connection.write(Buffer.alloc(MANY_BYTES), () => (written += 1));
  connection.write("end", () => (written += 1));
  await turns(50);
  expect(written).toBe(0);
  connection.end();
  expect(await textOf(client)).toHaveLength(MANY_BYTES + 3);
  expect(written).toBe(2);
});

test("F4: answers that were written before a connection was given up all leave, also to a slow reader", async () => {
  const { client, connection } = await pair();
  connection.write(Buffer.alloc(MANY_BYTES));
  connection.destroy();
  await turns(50);
  expect(await textOf(client)).toHaveLength(MANY_BYTES);
  client.end();
  await closed(connection);
});

test("F4: answers arrive although the server hangs up on requests that it has not read", async () => {
  const { client, connection, socket } = await pair();
  client.write(LONG_TEXT);
  await waitFor("the sender is held up", () => socket.isPaused());
  connection.write("answers");
  connection.destroy();
  await turns(50);
  expect(await textOf(client)).toBe("answers");
  client.end();
  await closed(connection);
});

test("I4: a client that takes no answers keeps no connection that was given up", async () => {
  const { connection, socket } = await pair(50);
  connection.write(Buffer.alloc(MANY_BYTES));
  connection.destroy();
  expect(connection.closed).toBe(false);
  await closed(connection);
  expect(socket.destroyed).toBe(true);
});

test("F4: what is aborted is closed at once, whether or not it was taking its leave", async () => {
  const [idle, leaving] = [await pair(), await pair()];
  leaving.connection.write(Buffer.alloc(MANY_BYTES));
  leaving.connection.destroy();
  for (const { connection } of [idle, leaving]) {
    connection.abort();
    await closed(connection);
  }
});

test("I4: who takes no answers is not read from, or they would pile up; who then takes them gets them all", async () => {
  const { client, connection, socket } = await pair();
  let got = 0;
  // As the library does where HTTP/2 demands an answer: it does not mind whether there is room.
  connection.on("data", (bytes: Buffer) => {
    got += bytes.length;
    connection.write(bytes);
  });
  client.end(Buffer.alloc(MANY_BYTES));
  await waitFor("the sender is held up, for good", async () => {
    for (let turn = 0; turn < 50; turn += 1) {
      await turns(1);
      if (!socket.isPaused() || !connection.writableNeedDrain) return false;
    }
    return true;
  });
  expect(got).toBeLessThan(MANY_BYTES);
  expect(connection.writableLength).toBeLessThan(1_000_000);
  expect(await textOf(client)).toHaveLength(MANY_BYTES);
  expect(got).toBe(MANY_BYTES);
});

for (const [state, prepare] of [
  ["nothing waits", () => {}],
  ["its requests wait", ({ client }: Pair) => client.write(LONG_TEXT)],
  ["its answers wait", ({ connection }: Pair) => connection.write(Buffer.alloc(MANY_BYTES))],
] as const) {
  test(`I4: a client that dies while ${state} leaves nothing behind`, async () => {
    const made = await pair();
    prepare(made);
    await turns(50);
    made.client.resetAndDestroy();
    made.connection.resume();
    await closed(made.connection);
    expect(made.socket.destroyed).toBe(true);
  });
}
