import type { Command } from "../kv/command.ts";
import type { ServerId } from "../raft/entry.ts";
import type { Reply, Request } from "../raft/message.ts";

/** How requests reach the other servers. Order and delivery are not promised, an outcome is. */
export interface Transport {
  /** `settle` is called once, later: with the reply, or with null when none will come. */
  send(to: ServerId, request: Request<Command>, settle: (reply: Reply | null) => void): void;
  /** Nothing is sent any more. */
  close(): void;
}
