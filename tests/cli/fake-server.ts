import { RpcServer, type Handlers } from "../../src/rpc/rpc-server.ts";
import type { ServerStatus } from "../../src/rpc/wire.ts";
import { freePort } from "./fake-frontend.ts";

/** A KeyValueStore service in this process. */
export interface FakeServer extends AsyncDisposable {
  readonly address: string;
}

/** Serves `handlers` on a free port, or on `port`; an RPC that is not among them fails. */
export async function fakeServer(
  handlers: Partial<Handlers<"KeyValueStore">>,
  port?: number,
): Promise<FakeServer> {
  const server = new RpcServer();
  server.add("KeyValueStore", {
    ping: missing,
    GetState: missing,
    Get: missing,
    Put: missing,
    PutMany: missing,
    AppendEntries: missing,
    RequestVote: missing,
    InstallSnapshot: missing,
    Status: missing,
    TakeSnapshot: missing,
    ReadSnapshot: missing,
    ReadIndex: missing,
    TimeoutNow: missing,
    AddMember: missing,
    PromoteMember: missing,
    RemoveMember: missing,
    TransferLeadership: missing,
    ...handlers,
  });
  const listening = port ?? (await freePort());
  await server.listen(["127.0.0.1"], listening);
  return { address: `127.0.0.1:${listening}`, [Symbol.asyncDispose]: () => server.close() };
}

async function missing(): Promise<never> {
  throw new Error("not expected");
}

/** What server 1, the leader of term 2, says of itself, unless `parts` are different. */
export function serverStatus(parts: Partial<ServerStatus> = {}): ServerStatus {
  return {
    id: 1,
    clusterId: "cluster-a",
    role: "leader",
    term: 2,
    commitIndex: 5,
    lastApplied: 5,
    lastLogIndex: 5,
    keys: 3,
    pid: 4000,
    version: "dev",
    snapshotIndex: 0,
    firstLogIndex: 1,
    diskFull: false,
    abstains: false,
    members: [],
    configurationIndex: 0,
    ...parts,
  };
}
