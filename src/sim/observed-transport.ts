import type { Transport } from "../node/transport.ts";
import type { Safety } from "./safety.ts";
import type { SimServer } from "./sim-server.ts";
import type { Swarm } from "./swarm.ts";

/** Who sends, and who sees it. */
interface TransportObserver {
  readonly server: SimServer;
  readonly safety: Safety;
  readonly swarm: Swarm;
}

/** Shows the checks what leaves a server, and what terms it hears of in return. */
export function observeTransport(
  transport: Transport,
  { server, safety, swarm }: TransportObserver,
): Transport {
  const { id } = server;
  return {
    send: (to, request, settle) => {
      const { node } = server;
      safety.sending(id, request, swarm);
      if (request.kind === "timeoutNow" && node !== null) safety.handingOver(id, to, node.status(), node);
      transport.send(to, request, (reply) => {
        settle(reply);
        // The term of a granted pre-vote is one that was asked about; a chunk's reply goes to the core a little later.
        const tellsNothing =
          reply === null ||
          reply.kind === "snapshotChunkReply" ||
          reply.kind === "readIndexReply" ||
          (reply.kind === "requestVoteReply" && reply.voteGranted);
        if (server.node !== null && !server.isStopping)
          safety.heardOf(id, tellsNothing ? 0 : reply.term, server.node.status());
      });
    },
    setPeers: (peers) => transport.setPeers(peers),
    close: () => transport.close(),
  };
}
