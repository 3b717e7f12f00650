/** What one attempt at a server means for the call that it was made for. Pure. */
import { RaftKvError } from "../base/errors.ts";
import { encodeText } from "../rpc/text.ts";
import type { GenericResponse, KeyValue, WireCode } from "../rpc/wire.ts";
import { failure, type Reply } from "./reply.ts";

export type AttemptOutcome =
  /** The call has its answer. */
  | { readonly kind: "answered"; readonly reply: Reply }
  /**
   * It has none yet. `doubtful`: the write may have taken effect, or may yet (C2). `reason`: why the leader
   * cannot serve it now, in its own words, as when its disk is full; null: it gave none worth telling.
   */
  | { readonly kind: "unserved"; readonly doubtful: boolean; readonly reason: string | null };

export const CERTAINLY_NOT_DONE: AttemptOutcome = { kind: "unserved", doubtful: false, reason: null };
export const MAYBE_DONE: AttemptOutcome = { kind: "unserved", doubtful: true, reason: null };

export function putOutcome(result: GenericResponse | RaftKvError): AttemptOutcome {
  if (result instanceof RaftKvError) return transportOutcome(result);
  if (result.success) return { kind: "answered", reply: { wrongLeader: false, code: "OK" } };
  return refusalOutcome(result.code, result.error);
}

/** A read changes nothing, so that it is never doubtful. */
export function getOutcome(result: KeyValue | RaftKvError): AttemptOutcome {
  if (!(result instanceof RaftKvError) && result.code === "OK") {
    const { value, found } = result;
    return { kind: "answered", reply: { wrongLeader: false, code: "OK", value, found } };
  }
  const outcome =
    result instanceof RaftKvError ? transportOutcome(result) : refusalOutcome(result.code, result.error);
  return outcome.kind === "answered" ? outcome : { ...outcome, doubtful: false };
}

/** Of a change of the cluster; in doubt, the server has said what it knows. */
export function changeOutcome(result: GenericResponse | RaftKvError): AttemptOutcome {
  const outcome = putOutcome(result);
  const isKnowing = !(result instanceof RaftKvError) && result.code === "UNKNOWN_OUTCOME";
  return isKnowing ? { kind: "unserved", doubtful: true, reason: result.error } : outcome;
}

/** As changeOutcome. One that failed is not tried again: while it is tried, no write is served. */
export function transferOutcome(result: GenericResponse | RaftKvError): AttemptOutcome {
  if (!(result instanceof RaftKvError) && result.code === "UNAVAILABLE") {
    return { kind: "answered", reply: failure(result.code, result.error) };
  }
  const outcome = changeOutcome(result);
  if (outcome.kind === "unserved" || result instanceof RaftKvError || !result.success) return outcome;
  const value = encodeText(result.leaderId === undefined ? "" : String(result.leaderId));
  return { kind: "answered", reply: { ...outcome.reply, value } };
}

function transportOutcome(error: RaftKvError): AttemptOutcome {
  switch (error.code) {
    case "unavailable":
      return CERTAINLY_NOT_DONE;
    case "invalidArgument":
      return { kind: "answered", reply: failure("INVALID_ARGUMENT", error.message) };
    // The server is of a version that does not know the call.
    case "failedPrecondition":
      return { kind: "answered", reply: failure("FAILED_PRECONDITION", error.message) };
    default:
      return MAYBE_DONE;
  }
}

function refusalOutcome(code: WireCode, error: string): AttemptOutcome {
  switch (code) {
    // A server that knows no codes refuses a write only because it does not lead.
    case "OK":
    case "NOT_LEADER":
    case "NO_CLUSTER":
      return CERTAINLY_NOT_DONE;
    case "UNAVAILABLE":
      return { kind: "unserved", doubtful: false, reason: error };
    case "OVERLOADED":
    case "INVALID_ARGUMENT":
    case "FAILED_PRECONDITION":
      return { kind: "answered", reply: failure(code, error) };
    case "UNKNOWN_OUTCOME":
    case "INTERNAL":
      return MAYBE_DONE;
  }
}
