/** What the frontend answers. */
import { describeError, type ErrorCode, type RaftKvError } from "../base/errors.ts";
import type { WireCode, WireReply } from "../rpc/wire.ts";

export type Reply = Partial<WireReply>;

/** The codes that say "no leader served this"; every other failure is told with wrongLeader=false (contract §2). */
const LEADERLESS: ReadonlySet<WireCode> = new Set([
  "NOT_LEADER",
  "UNKNOWN_OUTCOME",
  "UNAVAILABLE",
  "NO_CLUSTER",
]);

const WIRE_CODES: Readonly<Record<ErrorCode, WireCode>> = {
  invalidArgument: "INVALID_ARGUMENT",
  notLeader: "NOT_LEADER",
  overloaded: "OVERLOADED",
  unknownOutcome: "UNKNOWN_OUTCOME",
  unavailable: "UNAVAILABLE",
  noCluster: "NO_CLUSTER",
  failedPrecondition: "FAILED_PRECONDITION",
  corruption: "INTERNAL",
  diskFull: "UNAVAILABLE",
  io: "INTERNAL",
  internal: "INTERNAL",
};

/** `error` is one line for a person. */
export function failure(code: WireCode, error: string): Reply {
  return { wrongLeader: LEADERLESS.has(code), error, code };
}

/** A call that could not even be sent to a leader. */
export function failureOf(error: RaftKvError): Reply {
  return failure(WIRE_CODES[error.code], describeError(error));
}

/** An administrative call that failed: leaders have no part in it. */
export function refusalOf(error: RaftKvError): Reply {
  return { wrongLeader: false, error: describeError(error), code: WIRE_CODES[error.code] };
}
