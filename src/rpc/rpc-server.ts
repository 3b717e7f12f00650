import {
  Server,
  ServerCredentials,
  status,
  type MethodDefinition,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerUnaryCall,
} from "@grpc/grpc-js";
import { defined } from "../base/assert.ts";
import { describeError, RaftKvError } from "../base/errors.ts";
import type { AnswerBatch, CallBatch } from "./batched-call.ts";
import { CallDesk, type DeskMethod } from "./call-desk.ts";
import { CallLoad } from "./call-load.ts";
import { CONVERSE, MAX_MESSAGE_BYTES, services, type ServiceName } from "./definition.ts";
import { Listener } from "./listener.ts";
import type { Rpc, ServiceRpcs } from "./wire.ts";

/** What a handler may know of its call beside the request. */
export interface CallContext {
  /** Milliseconds until the caller gives up; null when it set no deadline. */
  readonly remainingMs: number | null;
}

/** One function an RPC. A thrown RaftKvError becomes a gRPC status; anything else thrown is a bug. */
export type Handlers<S extends ServiceName> = {
  readonly [M in keyof ServiceRpcs[S]]: ServiceRpcs[S][M] extends Rpc<infer Request, infer Response>
    ? (request: Request, context: CallContext) => Promise<Partial<Response>>
    : never;
};

type UnaryHandler = (request: unknown, context: CallContext) => Promise<object>;

/**
 * Calls under way on one connection; the client keeps further ones back. Without it a flood on one
 * connection is read in one go, and heartbeats wait behind it.
 */
const MAX_CONCURRENT_CALLS = 256;

/** How long open calls may take to end when the server closes. */
const CLOSE_GRACE_MS = 500;

/** A gRPC server on a set of addresses. */
export class RpcServer {
  readonly #server = new Server({
    "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
    "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
    "grpc.max_concurrent_streams": MAX_CONCURRENT_CALLS,
  });
  /** The library takes connections instead of ports. */
  readonly #connections = this.#server.createConnectionInjector(ServerCredentials.createInsecure());
  readonly #listener = new Listener((connection) => this.#connections.injectConnection(connection));
  readonly #desks = new Set<CallDesk>();
  readonly load = new CallLoad();

  add<S extends ServiceName>(name: S, handlers: Handlers<S>): void {
    const { load } = this;
    const implementation = Object.fromEntries(
      Object.entries(handlers).map(([method, handler]) => [method, unary(handler as UnaryHandler, load)]),
    );
    const definition = services[name];
    if (definition[CONVERSE] === undefined) {
      this.#server.addService(definition, implementation);
      return;
    }
    const methods = new Map(
      Object.entries(handlers).map(([method, handler]) => [
        method,
        deskMethod(defined(definition[method], `no RPC ${name}.${method}`), handler as UnaryHandler, load),
      ]),
    );
    const converse = (stream: ServerDuplexStream<CallBatch, AnswerBatch>): void => {
      this.#listener.markAsOurs(stream.getPeer());
      this.#desks.add(new CallDesk(stream, methods, (desk) => this.#desks.delete(desk)));
    };
    this.#server.addService(definition, { ...implementation, [CONVERSE]: converse });
  }

  /** As Listener.listen. */
  listen(hosts: readonly string[], port: number): Promise<void> {
    return this.#listener.listen(hosts, port);
  }

  /** Takes no new calls, gives the open ones a moment, then ends them. */
  async close(): Promise<void> {
    this.#listener.close();
    for (const desk of this.#desks) desk.close();
    this.#connections.drain(CLOSE_GRACE_MS);
    await this.#listener.ended(CLOSE_GRACE_MS);
    this.#server.forceShutdown();
  }
}

function unary(handler: UnaryHandler, load: CallLoad) {
  return (call: ServerUnaryCall<unknown, object>, done: sendUnaryData<object>): void => {
    void answer(handler, call, done, load);
  };
}

async function answer(
  handler: UnaryHandler,
  call: ServerUnaryCall<unknown, object>,
  done: sendUnaryData<object>,
  load: CallLoad,
): Promise<void> {
  load.begin();
  try {
    done(null, await handler(call.request, { remainingMs: remainingMs(call) }));
  } catch (error) {
    done(refusal(error));
  } finally {
    load.end();
  }
}

function deskMethod(
  definition: MethodDefinition<unknown, object>,
  handler: UnaryHandler,
  load: CallLoad,
): DeskMethod {
  return {
    decode: definition.requestDeserialize,
    encode: definition.responseSerialize,
    answer: async (request, remainingMs) => {
      load.begin();
      try {
        return { response: await handler(request, { remainingMs }) };
      } catch (error) {
        const { code, details } = refusal(error);
        return { status: code, details };
      } finally {
        load.end();
      }
    },
  };
}

function refusal(error: unknown): { readonly code: status; readonly details: string } {
  // A bug must end the process, not hide behind one failed call.
  if (!(error instanceof RaftKvError)) setImmediate(() => raise(error));
  return { code: statusOf(error), details: describeError(error) };
}

function raise(error: unknown): never {
  throw error;
}

function remainingMs(call: ServerUnaryCall<unknown, object>): number | null {
  const deadline = call.getDeadline();
  if (deadline === Infinity) return null;
  return Math.max(0, (deadline instanceof Date ? deadline.getTime() : deadline) - Date.now());
}

function statusOf(error: unknown): status {
  if (!(error instanceof RaftKvError)) return status.INTERNAL;
  switch (error.code) {
    case "invalidArgument":
      return status.INVALID_ARGUMENT;
    case "overloaded":
      return status.RESOURCE_EXHAUSTED;
    case "notLeader":
    case "noCluster":
    case "failedPrecondition":
      return status.FAILED_PRECONDITION;
    case "unavailable":
    case "diskFull":
      return status.UNAVAILABLE;
    case "unknownOutcome":
      return status.DEADLINE_EXCEEDED;
    case "corruption":
    case "io":
    case "internal":
      return status.INTERNAL;
  }
}
