import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { connect, createServer, type Socket } from "node:net";
import { isPortTaken, isTakenAt } from "../../src/frontend/listening-port.ts";
import { freePorts } from "../cluster/free-ports.ts";
import { waitFor } from "../cluster/waiting.ts";

setDefaultTimeout(30_000);

/** Connections to a listener that hangs. */
const BATCH = 64;
const MAX_WAITING = 768;
const FULL_AFTER_MS = 500;

const LOOPBACK = ["127.0.0.1", "::1"];

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function listen(host: string, port: number): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, ipv6Only: false }, resolve);
  });
  cleanups.push(() => new Promise((resolve) => server.close(resolve)));
}

/** A process that listens and is stopped, with as many connections waiting as it lets wait. */
async function listenAndHang(port: number): Promise<void> {
  const code = `require("node:net").createServer().listen({ host: "127.0.0.1", port: ${port}, backlog: 1 })`;
  const child = Bun.spawn([process.execPath, "-e", code]);
  cleanups.push(async () => {
    child.kill("SIGKILL");
    await child.exited;
  });
  await waitFor("it listens", () => isTakenAt("127.0.0.1", port));
  child.kill("SIGSTOP");
  const sockets: Socket[] = [];
  cleanups.push(() => sockets.forEach((socket) => socket.destroy()));
  let connected = 0;
  // How many may wait, the system decides: the backlog is full when not all of a batch get in.
  while (connected === sockets.length && sockets.length < MAX_WAITING) {
    for (let added = 0; added < BATCH; added++) {
      const socket = connect({ host: "127.0.0.1", port });
      socket.on("connect", () => (connected += 1));
      socket.on("error", () => {});
      sockets.push(socket);
    }
    const deadline = performance.now() + FULL_AFTER_MS;
    while (connected < sockets.length && performance.now() < deadline) await Bun.sleep(10);
  }
}

test("F2: a port is free, then taken while somebody listens", async () => {
  const port = await freePorts(1);
  expect(await isPortTaken(LOOPBACK, port)).toBe(false);
  await listen("127.0.0.1", port);
  expect(await isPortTaken(LOOPBACK, port)).toBe(true);
  expect(await isPortTaken(["::1"], port)).toBe(false);
  expect(await isPortTaken(["0.0.0.0"], port)).toBe(true);
  expect(await isPortTaken(["::"], port)).toBe(true);
});

test("F2: a listener that hangs with a full backlog has its port", async () => {
  const port = await freePorts(1);
  await listenAndHang(port);
  expect(await isPortTaken(LOOPBACK, port)).toBe(true);
  // Whether the system lets it wait or not, it is not free.
  expect(await isTakenAt("127.0.0.1", port)).toBe(true);
});

describe.if(process.platform === "linux")("who listens elsewhere", () => {
  test.each(["0.0.0.0", "::"])("F2: a listener on %s takes the port everywhere", async (host) => {
    const port = await freePorts(1);
    await listen(host, port);
    expect(await isPortTaken(["127.0.0.1"], port)).toBe(true);
    expect(await isPortTaken(["::1"], port)).toBe(host === "::");
    expect(await isPortTaken(LOOPBACK, port)).toBe(true);
  });

  test("a listener on another address leaves ours free", async () => {
    const port = await freePorts(1);
    await listen("127.0.0.2", port);
    expect(await isPortTaken(LOOPBACK, port)).toBe(false);
    expect(await isPortTaken(["127.0.0.2"], port)).toBe(true);
  });

  test("every spelling of an address is the same address", async () => {
    const port = await freePorts(1);
    await listen("::1", port);
    for (const host of ["::1", "0:0:0:0:0:0:0:1", "0::0.0.0.1"]) {
      expect(await isPortTaken([host], port)).toBe(true);
    }
    expect(await isPortTaken(["::2", "1::", "127.0.0.1"], port)).toBe(false);
  });
});

test("where only a connection tells, nobody there is free", async () => {
  const port = await freePorts(1);
  expect(await isTakenAt("127.0.0.1", port)).toBe(false);
});
