/** What became of one call, from what the wire said. */
import { status, type ServiceError } from "@grpc/grpc-js";
import { RaftKvError } from "../../base/errors.ts";
import type { GenericResponse, KeyValue, WireReply } from "../../rpc/wire.ts";

export type CallOutcome = AnsweredCall | FailedCall;

export interface AnsweredCall {
  readonly kind: "answered";
  /** Of a get: whether the key exists. */
  readonly found: boolean;
}

export interface FailedCall {
  readonly kind: "failed";
  /** A Code of raft.proto, as "OVERLOADED", or "grpc:" and the name of a status, as "grpc:DEADLINE_EXCEEDED". */
  readonly error: string;
  /** In words. */
  readonly message: string;
  /** Of an answer that names the leader: its id. */
  readonly leaderId: number | null;
}

/** Of a put or get at a frontend. One that knows no codes says what happened with `wrongLeader` alone. */
export function frontEndOutcome(reply: WireReply | RaftKvError): CallOutcome {
  if (reply instanceof RaftKvError) return rpcFailure(reply);
  const { code, error, wrongLeader, found } = reply;
  if (code === "OK" && error === "" && !wrongLeader) return { kind: "answered", found };
  const unnamed = wrongLeader ? "UNAVAILABLE" : "INTERNAL";
  return { kind: "failed", error: code === "OK" ? unnamed : code, message: error, leaderId: null };
}

/** Of a put at a server. */
export function putOutcome(reply: GenericResponse | RaftKvError): CallOutcome {
  if (reply instanceof RaftKvError) return rpcFailure(reply);
  if (reply.success) return { kind: "answered", found: false };
  const error = reply.code === "OK" ? "INTERNAL" : reply.code;
  return { kind: "failed", error, message: reply.error, leaderId: reply.leaderId ?? null };
}

/** Of a get at a server. */
export function getOutcome(reply: KeyValue | RaftKvError): CallOutcome {
  if (reply instanceof RaftKvError) return rpcFailure(reply);
  const { code: error, error: message, leaderId = null } = reply;
  if (error === "OK") return { kind: "answered", found: reply.found };
  return { kind: "failed", error, message, leaderId };
}

function rpcFailure({ code, message, cause }: RaftKvError): FailedCall {
  const name = status[(cause as Partial<ServiceError> | undefined)?.code ?? -1] ?? code;
  return { kind: "failed", error: `grpc:${name}`, message, leaderId: null };
}
