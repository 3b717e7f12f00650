import { status, type ServiceError } from "@grpc/grpc-js";
import type { ArgsDef } from "citty";
import { RaftKvError, type ErrorCode } from "../base/errors.ts";
import { RpcClient } from "../rpc/rpc-client.ts";
import type { WireCode, WireReply } from "../rpc/wire.ts";
import { JSON_OPTION } from "./command.ts";
import { parseAddress, parseTimeoutMs } from "./option-value.ts";

/** Where a frontend listens unless its config.ini says otherwise. */
export const DEFAULT_ADDRESS = "127.0.0.1:8001";

/** What every command that talks to a frontend takes. `timeoutSeconds` is the default. */
export function clientOptions(timeoutSeconds: number) {
  return {
    address: {
      type: "string",
      default: DEFAULT_ADDRESS,
      valueHint: "host:port",
      description: "Where the frontend listens",
    },
    timeout: {
      type: "string",
      default: String(timeoutSeconds),
      valueHint: "seconds",
      description: "How long to wait for the answer",
    },
    ...JSON_OPTION,
  } as const satisfies ArgsDef;
}

/**
 * Talks to the frontend at `options.address` and hangs up. Throws RaftKvError, its message made for people,
 * when the frontend cannot be talked to; what it answers is for `served` to judge.
 */
export async function askFrontEnd<Response>(
  options: { readonly address: string; readonly timeout: string },
  ask: (client: RpcClient<"FrontEnd">, timeoutMs: number) => Promise<Response>,
): Promise<Response> {
  const address = parseAddress("--address", options.address);
  const timeoutMs = parseTimeoutMs("--timeout", options.timeout);
  const client = new RpcClient("FrontEnd", address);
  try {
    return await ask(client, timeoutMs);
  } catch (error) {
    throw error instanceof RaftKvError ? explain(error, address, timeoutMs) : error;
  } finally {
    client.close();
  }
}

/** The reply, unless it says that the call was not served: then RaftKvError with the frontend's own words. */
export function served(reply: WireReply): WireReply {
  if (reply.code === "OK" && reply.error === "" && !reply.wrongLeader) return reply;
  // A frontend that knows no codes says what happened with `wrongLeader` alone.
  const code =
    reply.code === "OK" ? (reply.wrongLeader ? "unavailable" : "internal") : errorCodeOf(reply.code);
  throw new RaftKvError(code, reply.error === "" ? "the frontend gave no reason" : reply.error);
}

/** What a code of the wire is called in our errors. */
export function errorCodeOf(code: Exclude<WireCode, "OK">): ErrorCode {
  return CODES[code];
}

const CODES: Readonly<Record<Exclude<WireCode, "OK">, ErrorCode>> = {
  INVALID_ARGUMENT: "invalidArgument",
  NOT_LEADER: "notLeader",
  OVERLOADED: "overloaded",
  UNKNOWN_OUTCOME: "unknownOutcome",
  UNAVAILABLE: "unavailable",
  NO_CLUSTER: "noCluster",
  FAILED_PRECONDITION: "failedPrecondition",
  INTERNAL: "internal",
};

/** A failed call in words for people. */
export function explain(error: RaftKvError, address: string, timeoutMs: number): RaftKvError {
  const message = explanation(error, address, timeoutMs);
  return message === null ? error : new RaftKvError(error.code, message, { cause: error });
}

function explanation(error: RaftKvError, address: string, timeoutMs: number): string | null {
  if (error.code === "unavailable") return `no frontend answers at ${address}: start one with "raftkv"`;
  const code = (error.cause as ServiceError | undefined)?.code;
  if (error.code === "unknownOutcome" && code !== status.DEADLINE_EXCEEDED) {
    return `the connection to ${address} broke before the answer came: the call may still take effect, if it changes anything; ask "raftkv status"`;
  }
  if (error.code === "unknownOutcome") {
    return `no answer from ${address} within ${timeoutMs / 1000} s: the call may still take effect, if it changes anything; ask "raftkv status", or allow more with --timeout`;
  }
  if (code === status.UNIMPLEMENTED) {
    return `${address} is not a frontend, or one of an older version: give the frontend's address with --address`;
  }
  return null;
}
