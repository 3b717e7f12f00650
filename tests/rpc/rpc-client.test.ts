import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { RpcClient } from "../../src/rpc/rpc-client.ts";
import { freePorts } from "../cluster/free-ports.ts";
import { waitFor } from "../cluster/waiting.ts";
import { FakeMember } from "../server/fake-member.ts";

setDefaultTimeout(60_000);

const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

/** A way to a server whose connections can go deaf and dumb, without anybody being told. */
class Forwarder {
  /** Those that are open, in the order in which they came. */
  readonly pairs: (readonly [Socket, Socket])[] = [];
  readonly #server: Server;

  constructor(from: number, to: number) {
    this.#server = createServer((incoming) => {
      const outgoing = createConnection(to, "127.0.0.1");
      for (const socket of [incoming, outgoing]) socket.on("error", () => {});
      incoming.pipe(outgoing).pipe(incoming);
      this.pairs.push([incoming, outgoing]);
    }).listen(from, "127.0.0.1");
  }

  /** Nothing passes any more on the connections of today. */
  swallow(): void {
    for (const [incoming, outgoing] of this.pairs) {
      incoming.unpipe(outgoing).resume();
      outgoing.unpipe(incoming).resume();
    }
  }

  close(): void {
    this.#server.close();
    for (const socket of this.pairs.flat()) socket.destroy();
  }
}

test("F6: a connection on which nothing comes through is given up for a new one", async () => {
  const port = await freePorts(2);
  const member = await FakeMember.start(port, { id: 7 });
  closers.push(() => member.close());
  const forwarder = new Forwarder(port + 1, port);
  closers.push(() => forwarder.close());
  const client = new RpcClient("KeyValueStore", `127.0.0.1:${port + 1}`);
  closers.push(() => client.close());
  expect(await client.call("Status", {}, 5000)).toMatchObject({ id: 7 });

  forwarder.swallow();
  const answer = await waitFor("it is answered again", () => client.call("Status", {}, 200), 30_000);
  expect(answer).toMatchObject({ id: 7 });
  expect(forwarder.pairs.length).toBeGreaterThan(1);
});

test("I4: a slow answer costs no connection as long as others come", async () => {
  const port = await freePorts(2);
  const member = await FakeMember.start(port, { id: 7 });
  closers.push(() => member.close());
  member.delayReadIndexMs = 2000;
  const forwarder = new Forwarder(port + 1, port);
  closers.push(() => forwarder.close());
  const client = new RpcClient("KeyValueStore", `127.0.0.1:${port + 1}`);
  closers.push(() => client.close());
  const slow = client.call("ReadIndex", { clusterId: "" }, 1000).catch((error: unknown) => error);
  let over = false;
  void slow.then(() => (over = true));
  await waitFor("the slow call is over", async () => {
    await client.call("Status", {}, 5000);
    return over;
  });
  expect(await slow).toMatchObject({ code: "unknownOutcome" });
  expect(forwarder.pairs).toHaveLength(1);
});
