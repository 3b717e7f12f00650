import type { ServerId } from "../raft/entry.ts";
import type { WireCode } from "../rpc/wire.ts";

/** How a call is refused that only the leader serves. */
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

/** Elected a moment ago, it does not yet know all that was committed before. */
export const NOT_READY: Refusal = { error: "the leader has just been elected; retry", code: "UNAVAILABLE" };
