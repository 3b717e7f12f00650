import { unreachable } from "../base/assert.ts";
import type { Node } from "../node/node.ts";
import type { ReadOutcome } from "../node/reads.ts";
import type { ServerId } from "../raft/entry.ts";
import type { WireCode } from "../rpc/wire.ts";

/** How a call is refused. */
export interface Refusal {
  readonly error: string;
  readonly code: WireCode;
  readonly leaderId?: number;
}

/** `leaderId` null: it is not known. */
export function notLeader(leaderId: ServerId | null): Refusal {
  if (leaderId === null) return { error: "not the leader; no leader is known", code: "NOT_LEADER" };
  return { error: `not the leader; server ${leaderId} leads`, code: "NOT_LEADER", leaderId };
}

/** The leader that a server names; null while that is itself, which was not sure of it. */
export function otherLeader(node: Pick<Node, "status">): ServerId | null {
  const { id, leaderId } = node.status();
  return leaderId === id ? null : leaderId;
}

export const STOPPING: Refusal = { error: "the server is stopping", code: "UNAVAILABLE" };

/** Why a linearizable read is not answered; null: it is. */
export function readRefusal(outcome: ReadOutcome): Refusal | null {
  switch (outcome.kind) {
    case "ready":
      return null;
    case "notLeader":
      return notLeader(outcome.leaderId);
    case "overloaded":
      return { error: "overloaded: too many reads wait for the leader; retry later", code: "OVERLOADED" };
    case "stopping":
      return STOPPING;
    case "unavailable":
      return { error: `the read could not be confirmed: ${outcome.why}; retry`, code: "UNAVAILABLE" };
    default:
      return unreachable(outcome);
  }
}
