import { connect, type Socket } from "node:net";
import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import { RaftKvError } from "../../src/base/errors.ts";
import { Listener } from "../../src/rpc/listener.ts";
import type { PacedConnection } from "../../src/rpc/paced-connection.ts";
import { freePorts } from "../cluster/free-ports.ts";
import { waitFor } from "../cluster/waiting.ts";

setDefaultTimeout(60_000);

const LONG_MS = 600_000;

const closers: (() => unknown)[] = [];

afterEach(() => {
  for (const close of closers.splice(0).toReversed()) close();
});

function newListener(onConnection: (connection: PacedConnection) => void = () => {}): Listener {
  const listener = new Listener(onConnection);
  closers.push(() => listener.close());
  return listener;
}

/** Reads nothing, and hangs up when the test is over. */
function client(port: number, host = "127.0.0.1"): Socket {
  const socket = connect({ port, host, allowHalfOpen: true });
  socket.pause();
  socket.on("error", () => {});
  closers.push(() => socket.destroy());
  return socket;
}

async function failure(listening: Promise<void>): Promise<RaftKvError> {
  const error: unknown = await listening.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!(error instanceof RaftKvError)) throw new Error(`it failed with ${String(error)}`);
  return error;
}

test("F2: a port in use is told, and the other addresses are free again", async () => {
  const port = await freePorts(1);
  await newListener().listen(["::1"], port);
  const error = await failure(newListener().listen(["127.0.0.1", "::1"], port));
  expect(error.code).toBe("io");
  expect(error.message).toContain(`port ${port} on ::1 is in use by another process`);
  await newListener().listen(["127.0.0.1"], port);
});

test("F2: an address that the machine lacks is left out, unless it is the first", async () => {
  const port = await freePorts(1);
  const nowhere = "192.0.2.1";
  const error = await failure(newListener().listen([nowhere, "127.0.0.1"], port));
  expect(error.message).toContain(`port ${port} on ${nowhere} cannot be opened`);
  await newListener().listen(["127.0.0.1", nowhere], port);
});

test("F3: a port is free again once its connections have ended", async () => {
  const port = await freePorts(1);
  for (let round = 0; round < 3; round += 1) {
    const opened: PacedConnection[] = [];
    const listener = newListener((connection) => opened.push(connection));
    await listener.listen(["127.0.0.1", "::1"], port);
    const clients = [client(port), client(port, "::1")];
    await waitFor("both are there", () => opened.length === 2);
    for (const socket of clients) socket.end();
    for (const connection of opened) connection.resume();
    listener.close();
    await listener.ended(LONG_MS);
  }
});

test("F4: connections that do not end are ended by force, whatever waits in them", async () => {
  const port = await freePorts(1);
  const opened: PacedConnection[] = [];
  const listener = newListener((connection) => opened.push(connection));
  await listener.listen(["127.0.0.1"], port);
  for (let n = 0; n < 3; n += 1) client(port);
  await waitFor("all are there", () => opened.length === 3);
  const [, congested, leaving] = opened;
  congested?.write(Buffer.alloc(40_000_000));
  leaving?.write(Buffer.alloc(40_000_000));
  leaving?.destroy();
  listener.close();
  await listener.ended(10);
  expect(opened.map(({ closed }) => closed)).toEqual([true, true, true]);
});

test("I4: of a thousand connections that come and go, however they go, nothing is left", async () => {
  const port = await freePorts(1);
  let [opened, open] = [0, 0];
  const listener = newListener((connection) => {
    opened += 1;
    open += 1;
    connection.once("close", () => (open -= 1));
    connection.resume();
  });
  await listener.listen(["127.0.0.1"], port);
  for (let round = 0; round < 10; round += 1) {
    const clients = Array.from({ length: 100 }, () => client(port));
    await waitFor("all are there", () => opened === 100 * (round + 1));
    for (const [n, socket] of clients.entries()) {
      socket.write("a last word");
      if (n % 3 === 0) socket.end();
      else if (n % 3 === 1) socket.destroy();
      else socket.resetAndDestroy();
    }
    await waitFor("all are gone", () => open === 0);
  }
  listener.close();
  await listener.ended(LONG_MS);
});

test("I4: who is ours is known by its address, also over IPv6, and nobody else is taken for it", async () => {
  const port = await freePorts(1);
  const opened: PacedConnection[] = [];
  const listener = newListener((connection) => opened.push(connection));
  await listener.listen(["127.0.0.1", "::1"], port);
  for (const host of ["127.0.0.1", "::1", "::1"]) {
    const before = opened.length;
    client(port, host);
    await waitFor("it is there", () => opened.length === before + 1);
  }
  expect(opened.map(({ isOurs }) => isOurs)).toEqual([false, false, false]);
  listener.markAsOurs(`::1:${opened[1]?.remotePort}`);
  listener.markAsOurs("192.0.2.1:1");
  expect(opened.map(({ isOurs }) => isOurs)).toEqual([false, true, false]);
});
