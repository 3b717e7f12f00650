import {
  Client,
  credentials,
  Metadata,
  status,
  type MethodDefinition,
  type ServiceError,
} from "@grpc/grpc-js";
import { isReachable } from "./reachability.ts";
import { defined } from "../base/assert.ts";
import { RaftKvError, type ErrorCode } from "../base/errors.ts";
import type { AnswerBatch, CallBatch } from "./batched-call.ts";
import { Conversation } from "./conversation.ts";
import { CONVERSE, MAX_MESSAGE_BYTES, services, type ServiceName } from "./definition.ts";
import type { Rpc, ServiceRpcs } from "./wire.ts";

type RequestOf<S extends ServiceName, M extends keyof ServiceRpcs[S]> =
  ServiceRpcs[S][M] extends Rpc<infer Request, unknown> ? Partial<Request> : never;
type ResponseOf<S extends ServiceName, M extends keyof ServiceRpcs[S]> =
  ServiceRpcs[S][M] extends Rpc<unknown, infer Response> ? Response : never;

/** The library's defaults wait up to two minutes before they look at a restarted server again (F6). */
export const CHANNEL_OPTIONS = {
  "grpc.initial_reconnect_backoff_ms": 50,
  "grpc.max_reconnect_backoff_ms": 200,
  "grpc.enable_retries": 0,
  "grpc.enable_http_proxy": 0,
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
  "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
  "grpc.use_local_subchannel_pool": 1,
};

const METADATA = new Metadata();

/**
 * A connection on which nothing was heard for so long, while a call ran out of time, is not trusted any more. What
 * the network has lost TCP sends again at ever longer intervals: as long after a cut as the cut lasted, and up to
 * seconds for a connection that was being made. A new one that is made when the other side can be reached is there
 * at once. Where that does not help, as with a process that stands still, the next one has twice as long: what was
 * given up stays open until the other side is heard.
 */
const SILENCE_MS = 500;
const MAX_SILENCE_MS = 600_000;
/** Who does not know Converse may have been replaced by a newer version after this. */
const ALONE_MS = 60_000;

/**
 * One connection to one service of one process; it connects when first used and reconnects by itself, also when
 * nothing comes through and nobody says so.
 */
export class RpcClient<S extends ServiceName> {
  readonly address: string;
  readonly #service: S;
  /** Calls the function when the calls have been made that are to travel together. */
  readonly #gather: (flush: () => void) => void;
  #client: Client;
  /** Of `#client`: when an answer last came, or when it was made. On the monotonic clock. */
  #heardAtMs = performance.now();
  /** How long to wait from then on. */
  #silenceMs = SILENCE_MS;
  /** null: every call travels alone. */
  #conversation: Conversation | null = null;
  /** When to try again whether calls can travel together. */
  #togetherAgainAtMs = Infinity;
  #looksForTheOther = false;
  #closed = false;

  /**
   * `address` is "host:port". `calls`: "few" travel alone; of "many", those of one turn of the event loop travel
   * together; of "bursts", those that are made in one go, which need not wait for others.
   */
  constructor(service: S, address: string, calls: "few" | "many" | "bursts" = "few") {
    this.address = address;
    this.#service = service;
    this.#client = connect(address);
    this.#gather = calls === "bursts" ? queueMicrotask : setImmediate;
    if (calls !== "few") this.#conversation = this.#newConversation();
  }

  /**
   * One unary call. Rejects with RaftKvError: "unavailable" when the request certainly never left,
   * "unknownOutcome" when it may have arrived and no answer came within `timeoutMs`, "invalidArgument"
   * when the other side refused the arguments, "failedPrecondition" when it does not know the call or contradicts
   * it, "internal" otherwise.
   */
  call<M extends keyof ServiceRpcs[S] & string>(
    method: M,
    request: RequestOf<S, M>,
    timeoutMs: number,
  ): Promise<ResponseOf<S, M>> {
    return new Promise((resolve, reject) => {
      this.send(method, request, timeoutMs, (outcome) => {
        if (outcome instanceof RaftKvError) reject(outcome);
        else resolve(outcome);
      });
    });
  }

  /** As `call`, without a promise: `done` gets the response or the error. */
  send<M extends keyof ServiceRpcs[S] & string>(
    method: M,
    request: RequestOf<S, M>,
    timeoutMs: number,
    done: (outcome: ResponseOf<S, M> | RaftKvError) => void,
  ): void {
    if (performance.now() >= this.#togetherAgainAtMs) this.#conversation = this.#newConversation();
    if (this.#conversation === null) this.#sendAlone(method, request, timeoutMs, done);
    else this.#converse(this.#conversation, method, request, timeoutMs, done);
  }

  /** Calls under way still end. */
  close(): void {
    this.#closed = true;
    this.#conversation?.close();
    this.#client.close();
  }

  #sendAlone<M extends keyof ServiceRpcs[S] & string>(
    method: M,
    request: RequestOf<S, M>,
    timeoutMs: number,
    done: (outcome: ResponseOf<S, M> | RaftKvError) => void,
  ): void {
    const definition = this.#definitionOf(method);
    const client = this.#client;
    client.makeUnaryRequest(
      definition.path,
      definition.requestSerialize,
      definition.responseDeserialize as (bytes: Buffer) => ResponseOf<S, M>,
      request,
      METADATA,
      { deadline: Date.now() + timeoutMs },
      (error, response) => {
        this.#noteEnd(client, error?.code ?? status.OK);
        if (error !== null) done(asRaftKvError(error, neverLeft(error), this.address));
        else done(defined(response, "neither response nor error"));
      },
    );
  }

  #converse<M extends keyof ServiceRpcs[S] & string>(
    conversation: Conversation,
    method: M,
    request: RequestOf<S, M>,
    timeoutMs: number,
    done: (outcome: ResponseOf<S, M> | RaftKvError) => void,
  ): void {
    const client = this.#client;
    const { requestSerialize, responseDeserialize } = this.#definitionOf(method);
    const untilMs = performance.now() + timeoutMs;
    conversation.call(method, requestSerialize(request), timeoutMs, (outcome) => {
      if (!("neverLeft" in outcome)) {
        this.#noteEnd(client, status.OK);
        done(this.#decode(outcome, responseDeserialize) as ResponseOf<S, M> | RaftKvError);
      } else if (outcome.neverLeft && outcome.code === status.UNIMPLEMENTED) {
        this.#sendAlone(method, request, Math.max(1, untilMs - performance.now()), done);
      } else {
        this.#noteEnd(client, outcome.code);
        done(asRaftKvError(outcome, outcome.neverLeft, this.address));
      }
    });
  }

  #definitionOf(method: string): MethodDefinition<unknown, unknown> {
    return defined(services[this.#service][method], `no RPC ${this.#service}.${method}`);
  }

  /** An answer that nobody can read leaves open what was done. */
  #decode(response: Buffer, deserialize: (bytes: Buffer) => unknown): unknown {
    try {
      return deserialize(response);
    } catch (error) {
      return new RaftKvError("unknownOutcome", `${this.address}: the answer cannot be read`, {
        cause: error,
      });
    }
  }

  /** A call over `client` has ended. */
  #noteEnd(client: Client, code: status): void {
    if (client !== this.#client || this.#closed) return;
    if (code !== status.DEADLINE_EXCEEDED) {
      this.#heardAtMs = performance.now();
      this.#silenceMs = SILENCE_MS;
    } else if (this.#isSilent && !this.#looksForTheOther) {
      void this.#renewIfReachable(client);
    }
  }

  #newConversation(): Conversation {
    this.#togetherAgainAtMs = Infinity;
    const definition = this.#definitionOf(CONVERSE) as MethodDefinition<CallBatch, AnswerBatch>;
    const conversation: Conversation = new Conversation(this.#client, definition, this.#gather, () => {
      // The other side is an older version, until it is replaced by a newer one.
      if (this.#conversation !== conversation) return;
      this.#conversation = null;
      this.#togetherAgainAtMs = performance.now() + ALONE_MS;
    });
    return conversation;
  }

  get #isSilent(): boolean {
    return performance.now() - this.#heardAtMs >= this.#silenceMs;
  }

  async #renewIfReachable(client: Client): Promise<void> {
    this.#looksForTheOther = true;
    const reachable = await isReachable(this.address);
    this.#looksForTheOther = false;
    if (!reachable || this.#closed || !this.#isSilent) return;
    this.#client = connect(this.address);
    const former = this.#conversation;
    if (former !== null) this.#conversation = this.#newConversation();
    former?.close();
    this.#heardAtMs = performance.now();
    this.#silenceMs = Math.min(2 * this.#silenceMs, MAX_SILENCE_MS);
    client.close();
  }
}

function connect(address: string): Client {
  return new Client(address, credentials.createInsecure(), CHANNEL_OPTIONS);
}

function asRaftKvError(
  failure: Pick<ServiceError, "code" | "details">,
  hasNeverLeft: boolean,
  address: string,
): RaftKvError {
  const hint = failure.code === status.UNIMPLEMENTED ? ": is it of an older version?" : "";
  const message = `${address}: ${failure.details}${hint}`;
  return new RaftKvError(codeOf(failure.code, hasNeverLeft), message, { cause: failure });
}

function codeOf(code: status, hasNeverLeft: boolean): ErrorCode {
  switch (code) {
    case status.UNAVAILABLE:
    case status.DEADLINE_EXCEEDED:
      return hasNeverLeft ? "unavailable" : "unknownOutcome";
    case status.CANCELLED:
      return "unknownOutcome";
    case status.INVALID_ARGUMENT:
    case status.RESOURCE_EXHAUSTED:
      return "invalidArgument";
    case status.FAILED_PRECONDITION:
    // The other side is of a version that does not know the call, or another program: nothing was done.
    case status.UNIMPLEMENTED:
      return "failedPrecondition";
    default:
      return "internal";
  }
}

/** Whether no connection was ever there to carry the request. */
function neverLeft(error: ServiceError): boolean {
  return /^No connection established|Waiting for LB pick|ECONNREFUSED|Name resolution failed|^Channel closed before call started/.test(
    error.details,
  );
}
