/** The ways to a leader, and what their answers mean for a write. */
import { RaftKvError } from "../../src/base/errors.ts";
import { encodeText } from "../../src/rpc/text.ts";
import type { WireCode } from "../../src/rpc/wire.ts";
import type { Deployment } from "./deployment.ts";
import type { PendingWrite, PutOutcome } from "./ledger.ts";

/** Sends a write once and tells how it ended; never rejects. */
export type PutRoute = (write: PendingWrite, clientId: number, requestId: number) => Promise<PutOutcome>;

const TIMEOUT_MS = 3000;

/** Through the frontend, which looks for the leader as long as the caller waits. */
export function frontendRoute({ frontend }: Deployment): PutRoute {
  return async ({ key, value }, clientId, requestId) => {
    const request = { key: encodeText(key), value: encodeText(value), clientId, requestId };
    const reply = await frontend.call("Put", request, TIMEOUT_MS).catch(codeOf);
    return typeof reply === "string" ? outcomeOf(reply) : outcomeOf(reply.error === "" ? "OK" : reply.code);
  };
}

/** Straight to the server that is thought to lead, one of 0 to `servers` - 1. */
export function leaderRoute(deployment: Deployment, servers: number): PutRoute {
  let leader = 0;
  return async ({ key, value }, clientId, requestId) => {
    const asked = leader;
    const request = { key: encodeText(key), value: encodeText(value), clientId, requestId };
    const reply = await deployment.server(asked).call("Put", request, TIMEOUT_MS).catch(codeOf);
    if (typeof reply === "string") {
      if (leader === asked) leader = (asked + 1) % servers;
      return outcomeOf(reply);
    }
    if (!reply.success && leader === asked) leader = reply.leaderId ?? (asked + 1) % servers;
    return outcomeOf(reply.success ? "OK" : reply.code);
  };
}

/** What a call that failed means in the words of an answer. */
function codeOf(error: unknown): WireCode {
  return error instanceof RaftKvError && error.code === "unavailable" ? "UNAVAILABLE" : "UNKNOWN_OUTCOME";
}

function outcomeOf(code: WireCode): PutOutcome {
  if (code === "OK") return "acknowledged";
  return code === "UNKNOWN_OUTCOME" || code === "INTERNAL" ? "unknown" : "notDone";
}
