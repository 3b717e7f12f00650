import { describeError, RaftKvError } from "../base/errors.ts";
import type { Handlers } from "../rpc/rpc-server.ts";
import { encodeText } from "../rpc/text.ts";
import type { ClusterStatus, WireReply } from "../rpc/wire.ts";
import type { CurrentCluster } from "./current-cluster.ts";
import type { Membership } from "./membership.ts";
import { refusalOf, type Reply } from "./reply.ts";
import type { Router } from "./router.ts";
import type { ServerKeeper } from "./server-keeper.ts";

/** How long `Status` waits for a server before it calls it unreachable. */
const MEMBER_TIMEOUT_MS = 500;

export interface FrontEndServiceOptions {
  readonly clusters: CurrentCluster;
  readonly router: Router;
  readonly membership: Membership;
  readonly keeper: ServerKeeper;
  readonly version: string;
}

/** The FrontEnd service of raft.proto (contract §2). Every failure is in the answer; none is a gRPC status. */
export function frontEndService(options: FrontEndServiceOptions): Handlers<"FrontEnd"> {
  const { router, membership, keeper } = options;
  return {
    StartRaft: ({ arg }) => administer(() => keeper.startRaft(arg)),
    StartServer: ({ arg }, { remainingMs }) => administer(() => keeper.startServer(arg, remainingMs)),
    ReplaceServer: ({ arg }) =>
      administer(async () => ({ value: encodeText((await keeper.replaceServer(arg)) ?? "") })),
    Get: (request, { remainingMs }) => router.get(request, remainingMs),
    Put: (request, { remainingMs }) => router.put(request, remainingMs),
    PutMany: (request, { remainingMs }) => router.putMany(request, remainingMs),
    Status: () => clusterStatus(options),
    AddMember: (args, { remainingMs }) => membership.add(args, remainingMs),
    PromoteMember: ({ arg }, { remainingMs }) => membership.promote(arg, remainingMs),
    RemoveMember: ({ arg }, { remainingMs }) => removeMember(options, arg, remainingMs),
    TransferLeadership: ({ to }, { remainingMs }) => membership.transfer(to ?? null, remainingMs),
  };
}

async function administer(run: () => Promise<Partial<WireReply> | void>): Promise<Reply> {
  try {
    return { wrongLeader: false, code: "OK", ...(await run()) };
  } catch (error) {
    if (error instanceof RaftKvError) return refusalOf(error);
    throw error;
  }
}

/**
 * A server that was removed has nothing to do any more: it is stopped, if it runs here. When that fails no code may
 * say that nothing was done.
 */
async function removeMember(
  { membership, keeper }: FrontEndServiceOptions,
  id: number,
  callerMs: number | null,
): Promise<Reply> {
  const reply = await membership.remove(id, callerMs);
  if (reply.code !== "OK") return reply;
  return administer(async () => {
    await keeper.retire(id).catch((error: unknown) => {
      if (!(error instanceof RaftKvError)) throw error;
      const what = `server ${id} was removed, but its process was not stopped: ${describeError(error)}`;
      throw new RaftKvError("internal", what, { cause: error });
    });
  });
}

async function clusterStatus({ clusters, version }: FrontEndServiceOptions): Promise<Partial<ClusterStatus>> {
  const { link } = clusters;
  if (link === null) return { version, ...clusters.absence };
  const answers = await link.statuses(MEMBER_TIMEOUT_MS);
  const statuses = new Map(answers.map(({ id, status }) => [id, status]));
  const members = link.cluster.members.map(({ id, address, voter }) => {
    const server = statuses.get(id) ?? null;
    return { id, address, voter, reachable: server !== null, server };
  });
  return { clusterId: link.cluster.clusterId, members, version };
}
