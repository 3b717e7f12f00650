import { createServer } from "node:net";
import { RpcServer, type Handlers } from "../../src/rpc/rpc-server.ts";

/** A FrontEnd service in this process, for the command line to talk to. */
export interface FakeFrontend extends AsyncDisposable {
  readonly address: string;
}

/** Serves `handlers` on a free port; an RPC that is not among them fails. */
export async function fakeFrontend(handlers: Partial<Handlers<"FrontEnd">>): Promise<FakeFrontend> {
  const server = new RpcServer();
  server.add("FrontEnd", {
    StartRaft: missing,
    StartServer: missing,
    ReplaceServer: missing,
    Get: missing,
    Put: missing,
    PutMany: missing,
    Status: missing,
    AddMember: missing,
    PromoteMember: missing,
    RemoveMember: missing,
    TransferLeadership: missing,
    ...handlers,
  });
  const port = await freePort();
  await server.listen(["127.0.0.1"], port);
  return { address: `127.0.0.1:${port}`, [Symbol.asyncDispose]: () => server.close() };
}

async function missing(): Promise<never> {
  throw new Error("not expected");
}

/** A port of 127.0.0.1 that nobody used a moment ago. */
export async function freePort(): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const probe = createServer();
  probe.once("error", reject);
  probe.listen(0, "127.0.0.1", () => {
    const address = probe.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    probe.close(() => resolve(port));
  });
  return promise;
}
