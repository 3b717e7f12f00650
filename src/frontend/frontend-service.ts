import { RaftKvError } from "../base/errors.ts";
import type { ServerId } from "../raft/entry.ts";
import type { Handlers } from "../rpc/rpc-server.ts";
import { encodeText } from "../rpc/text.ts";
import type { ClusterStatus } from "../rpc/wire.ts";
import { refusalOf, type Reply } from "./reply.ts";
import type { Router } from "./router.ts";
import type { Supervisor } from "./supervisor.ts";

/** How long `Status` waits for a server before it calls it unreachable. */
const MEMBER_TIMEOUT_MS = 500;

export interface FrontEndServiceOptions {
  readonly supervisor: Supervisor;
  readonly router: Router;
  /** A server's "host:port". */
  readonly addressOf: (id: ServerId) => string;
  readonly version: string;
}

/** The FrontEnd service of raft.proto (contract §2). Every failure is in the answer; none is a gRPC status. */
export function frontEndService(options: FrontEndServiceOptions): Handlers<"FrontEnd"> {
  const { supervisor, router } = options;
  return {
    StartRaft: ({ arg }) => administer(() => supervisor.startRaft(arg)),
    StartServer: ({ arg }) => administer(() => supervisor.startServer(arg)),
    ReplaceServer: ({ arg }) =>
      administer(async () => ({ value: encodeText((await supervisor.replaceServer(arg)) ?? "") })),
    Get: (request, { remainingMs }) => router.get(request, remainingMs),
    Put: (request, { remainingMs }) => router.put(request, remainingMs),
    Status: () => clusterStatus(options),
  };
}

async function administer(run: () => Promise<Reply | void>): Promise<Reply> {
  try {
    return { wrongLeader: false, code: "OK", ...(await run()) };
  } catch (error) {
    if (error instanceof RaftKvError) return refusalOf(error);
    throw error;
  }
}

async function clusterStatus({ router, addressOf, version }: FrontEndServiceOptions): Promise<ClusterStatus> {
  const found = await router.statuses(MEMBER_TIMEOUT_MS);
  if (found === null) return { clusterId: "", members: [], version };
  const members = found.servers.map((server, id) => ({
    id,
    address: addressOf(id),
    reachable: server !== null,
    server,
  }));
  return { clusterId: found.cluster.clusterId, members, version };
}
