import { crc32 } from "node:zlib";
import type { Handlers } from "../../src/rpc/rpc-server.ts";
import type { ClusterStatus, SnapshotReply } from "../../src/rpc/wire.ts";
import { fakeFrontend } from "./fake-frontend.ts";
import { fakeServer, serverStatus } from "./fake-server.ts";

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
  const server = await fakeServer(handlers);
  const frontend = await fakeFrontend({ Status: async () => clusterStatus(server.address, hasLeader()) });
  return {
    address: frontend.address,
    [Symbol.asyncDispose]: async () => {
      await frontend[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
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

function clusterStatus(address: string, hasLeader: boolean): ClusterStatus {
  const server = serverStatus({ role: hasLeader ? "leader" : "follower" });
  const member = { id: server.id, address, reachable: true, voter: true, server };
  return { clusterId: server.clusterId, members: [member], version: "dev", error: "", code: "OK" };
}
