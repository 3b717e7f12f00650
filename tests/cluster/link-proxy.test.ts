import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { LinkProxy, PASS } from "./link-proxy.ts";
import { waitFor } from "./waiting.ts";

/** Long enough for bytes that pass to arrive; nothing fails when a machine needs longer. */
const MOMENT_MS = 50;

let target: Server;
/** The far ends, in the order of their arrival. */
let accepted: Socket[];
/** What arrived there. */
let received: string;
let proxy: LinkProxy;
let near: Client;

/** The near end of one connection through the proxy. */
class Client {
  readonly socket: Socket;
  received = "";
  closed = false;

  constructor(port: number) {
    this.socket = connect(port, "127.0.0.1");
    this.socket.on("data", (bytes: Buffer) => (this.received += bytes.toString()));
    this.socket.on("error", () => {});
    this.socket.on("close", () => (this.closed = true));
  }
}

beforeEach(async () => {
  accepted = [];
  received = "";
  target = createServer((socket) => {
    accepted.push(socket);
    socket.on("error", () => {});
    socket.on("data", (bytes: Buffer) => (received += bytes.toString()));
  });
  await new Promise<void>((resolve) => target.listen(0, "127.0.0.1", resolve));
  proxy = await LinkProxy.to((target.address() as AddressInfo).port);
  near = new Client(proxy.port);
  await waitFor("the connection goes through", () => accepted.length === 1);
});

afterEach(async () => {
  near.socket.destroy();
  await proxy.close();
  target.close();
});

describe("a link's proxy", () => {
  test("passes bytes both ways, and what one side ends is ended for the other", async () => {
    near.socket.write("there");
    accepted[0]?.write("back");
    await waitFor("both arrive", () => received === "there" && near.received === "back");
    accepted[0]?.end();
    await waitFor("the near end is closed", () => near.closed);
  });

  test("passes more than fits into any buffer, whole and in order", async () => {
    const text = Array.from({ length: 400_000 }, (_, i) => String(i)).join(",");
    near.socket.write(text);
    await waitFor("all of it arrives", () => received.length === text.length);
    expect(received === text).toBe(true);
  });

  test("holds one way alone, and delivers in order what was held", async () => {
    proxy.treat("forward", { kind: "hold" });
    near.socket.write("a");
    accepted[0]?.write("back");
    await waitFor("the other way passes", () => near.received === "back");
    near.socket.write("b");
    await Bun.sleep(MOMENT_MS);
    expect(received).toBe("");
    proxy.treat("forward", PASS);
    await waitFor("what was held arrives", () => received === "ab");
  });

  test("swallows bytes, hides the end of a side meanwhile, and resets the connection afterwards", async () => {
    proxy.treat("backward", { kind: "swallow" });
    accepted[0]?.write("lost");
    accepted[0]?.end();
    near.socket.write("there");
    await waitFor("the other way passes", () => received === "there");
    await Bun.sleep(MOMENT_MS);
    expect([near.received, near.closed]).toEqual(["", false]);
    proxy.treat("backward", PASS);
    await waitFor("the connection is reset", () => near.closed);
    expect(near.received).toBe("");
  });

  test("treats a connection that comes later as those that are there", async () => {
    proxy.treat("forward", { kind: "hold" });
    const later = new Client(proxy.port);
    later.socket.write("later");
    await waitFor("it is accepted", () => accepted.length === 2);
    await Bun.sleep(MOMENT_MS);
    expect(received).toBe("");
    proxy.treat("forward", PASS);
    await waitFor("it arrives", () => received === "later");
    later.socket.destroy();
  });

  test("delays every byte by at least so much", async () => {
    proxy.treat("forward", { kind: "delay", delayMs: 80 });
    const fromMs = performance.now();
    near.socket.write("slow");
    await waitFor("it arrives", () => received === "slow");
    expect(performance.now() - fromMs).toBeGreaterThanOrEqual(80);
  });

  test("throttles to so many bytes a second", async () => {
    proxy.treat("forward", { kind: "throttle", bytesPerSecond: 50_000 });
    const fromMs = performance.now();
    near.socket.write("x".repeat(20_000));
    await waitFor("all of it arrives", () => received.length === 20_000);
    expect(performance.now() - fromMs).toBeGreaterThanOrEqual(200);
  });

  test("resets what is connected, and lets new connections through", async () => {
    proxy.reset();
    await waitFor("the near end is closed", () => near.closed);
    near = new Client(proxy.port);
    near.socket.write("again");
    await waitFor("it arrives", () => received === "again");
  });

  test("ends a connection to nobody, and its port is free once it is closed", async () => {
    for (const socket of accepted) socket.destroy();
    await new Promise((resolve) => target.close(resolve));
    await waitFor("the near end is closed", () => near.closed);
    near = new Client(proxy.port);
    await waitFor("the new one is closed, too", () => near.closed);
    const { port } = proxy;
    await proxy.close();
    const refused = new Client(port);
    await waitFor("nobody listens", () => refused.closed);
    proxy = await LinkProxy.to(1);
  });
});
