import { crc32 } from "node:zlib";
import { RpcServer, type Handlers } from "../../src/rpc/rpc-server.ts";
import type { ClusterStatus, ServerStatus, SnapshotReply } from "../../src/rpc/wire.ts";
import { fakeFrontend, freePort } from "./fake-frontend.ts";

/** What a leader may be asked by whoever saves a snapshot. */
export type SnapshotHandlers = Pick<Handlers<"KeyValueStore">, "TakeSnapshot" | "ReadSnapshot">;

/** A frontend and the one server that leads, in this process. */
export interface FakeCluster extends AsyncDisposable {
  /** The frontend's. */
  readonly address: string;
}

/** `hasLeader`: whether the frontend knows one just now; a leader without handlers answers nothing. */
export async function fakeCluster(
  handlers: Partial<SnapshotHandlers>,
  hasLeader: () => boolean = () => true,
): Promise<FakeCluster> {
  const server = new RpcServer();
  server.add("KeyValueStore", {
    ping: missing,
    GetState: missing,
    Get: missing,
    Put: missing,
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
  const port = await freePort();
  await server.listen(["127.0.0.1"], port);
  const frontend = await fakeFrontend({ Status: async () => clusterStatus(port, hasLeader()) });
  return {
    address: frontend.address,
    [Symbol.asyncDispose]: async () => {
      await frontend[Symbol.asyncDispose]();
      await server.close();
    },
  };
}

async function missing(): Promise<never> {
  throw new Error("not expected");
}

/** What TakeSnapshot answers for a file of those bytes, at entry `index` of term 2. */
export function snapshotReply(bytes: Buffer, index = 5): Partial<SnapshotReply> {
  const checksum = crc32(bytes).toString(16).padStart(8, "0");
  return { index, term: 2, totalBytes: bytes.length, checksum };
}

/** A leader that has that snapshot, and gives it in pieces of `chunkBytes`. */
export function leaderWith(bytes: Buffer, chunkBytes = 100): SnapshotHandlers {
  return {
    TakeSnapshot: async () => snapshotReply(bytes),
    ReadSnapshot: async ({ offset }) => ({ data: bytes.subarray(offset, offset + chunkBytes) }),
  };
}

function clusterStatus(port: number, hasLeader: boolean): ClusterStatus {
  const server: ServerStatus = {
    id: 1,
    clusterId: "cluster-a",
    role: hasLeader ? "leader" : "follower",
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
  };
  const member = { id: 1, address: `127.0.0.1:${port}`, reachable: true, voter: true, server };
  return { clusterId: "cluster-a", members: [member], version: "dev", error: "", code: "OK" };
}
