/** What the clients of a load do: a put or a get of RaftKV, or anybody else's call. */
import type { MethodDefinition } from "@grpc/grpc-js";
import { defined } from "../../src/base/assert.ts";
import { services, type ServiceName } from "../../src/rpc/definition.ts";
import type { GenericResponse, KeyValue, WireConsistency, WireReply } from "../../src/rpc/wire.ts";

/** One turn of a client. Its ids are those of nobody else. */
export interface Turn {
  readonly key: Buffer;
  readonly value: Buffer;
  readonly clientId: number;
  readonly requestId: number;
}

export interface Answer {
  /** Why it does not count; null: it does. */
  readonly refusal: string | null;
}

/** What a client does in its turn: one unary call. */
export interface Target {
  /** "host:port". */
  readonly address: string;
  /** "/package.Service/Method". */
  readonly path: string;
  readonly write: (turn: Turn) => Buffer;
  readonly read: (bytes: Buffer) => Answer;
}

/** `refusal` says why a response does not count; null: it does. */
export function unaryTarget<Response>(
  address: string,
  rpc: MethodDefinition<object, Response>,
  request: (turn: Turn) => object,
  refusal: (response: Response) => string | null,
): Target {
  return {
    address,
    path: rpc.path,
    write: (turn) => rpc.requestSerialize(request(turn)),
    read: (bytes) => ({ refusal: refusal(rpc.responseDeserialize(bytes)) }),
  };
}

/** Puts at the leader's own port. */
export function serverPuts(address: string): Target {
  return unaryTarget(
    address,
    rpcOf<GenericResponse>("KeyValueStore", "Put"),
    (turn) => turn,
    ({ success, error }) => (success ? null : error),
  );
}

/** Puts through the frontend, as most clients send them. */
export function frontendPuts(address: string): Target {
  return unaryTarget(
    address,
    rpcOf<WireReply>("FrontEnd", "Put"),
    (turn) => turn,
    ({ error }) => error || null,
  );
}

/** Reads, of keys that exist, at one server. */
export function serverGets(address: string, consistency: WireConsistency): Target {
  return unaryTarget(
    address,
    rpcOf<KeyValue>("KeyValueStore", "Get"),
    ({ key }) => ({ arg: key, consistency }),
    ({ code, error, found }) => (code === "OK" ? absence(found) : error),
  );
}

/** Linearizable reads, of keys that exist, through the frontend. */
export function frontendGets(address: string): Target {
  return unaryTarget(
    address,
    rpcOf<WireReply>("FrontEnd", "Get"),
    ({ key }) => ({ key }),
    ({ error, found }) => error || absence(found),
  );
}

/** The refusal of an answer to a read; null: there is something. */
export function absence(found: boolean): string | null {
  return found ? null : "the key does not exist";
}

function rpcOf<Response>(service: ServiceName, name: string): MethodDefinition<object, Response> {
  return defined(services[service][name], `no RPC ${service}.${name}`);
}
