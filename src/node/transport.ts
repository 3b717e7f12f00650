import type { Configuration } from "../raft/configuration.ts";
import type { ServerId } from "../raft/entry.ts";
import type { PeerReply, PeerRequest } from "./peer-message.ts";

/** How requests reach the other servers. Order and delivery are not promised, an outcome is. */
export interface Transport {
  /** `settle` is called once, later: with the reply, or with null when none will come. */
  send(to: ServerId, request: PeerRequest, settle: (reply: PeerReply | null) => void): void;
  /**
   * Who there is to send to, and where, from now on: every member but this server. A member that is here no more
   * is not sent to; what was sent is settled all the same.
   */
  setPeers(peers: Configuration): void;
  /** Nothing is sent any more. */
  close(): void;
}
