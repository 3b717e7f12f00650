import { Metadata, status, type Client, type ClientDuplexStream, type ServiceError } from "@grpc/grpc-js";
import { defined } from "../base/assert.ts";
import { batchesOf, type AnswerBatch, type BatchedCall, type CallBatch } from "./batched-call.ts";
import type { MethodDefinition } from "@grpc/grpc-js";
import { MAX_MESSAGE_BYTES } from "./definition.ts";

/** A call that ended without a response. */
export interface CallFailure {
  /** UNIMPLEMENTED for a call that never left: the other side knows no conversations. */
  readonly code: status;
  readonly details: string;
  /** It certainly never left this process. */
  readonly neverLeft: boolean;
}

/** One call, from when it was asked for until it has its outcome. */
interface Call {
  readonly method: string;
  readonly request: Buffer;
  /** On the clock of `performance.now()`. */
  readonly deadlineMs: number;
  readonly timer: ReturnType<typeof setTimeout>;
  sent: boolean;
  readonly done: (outcome: Buffer | CallFailure) => void;
}

/** More than a call has in a message beside its request. */
const FRAME_BYTES = 1024;

type Stream = ClientDuplexStream<CallBatch, AnswerBatch>;

const METADATA = new Metadata();

/**
 * The client's end of Converse (batched-call.ts) over one connection: calls that are made together leave
 * together. The stream is opened by the first call, and anew by the first after it has ended.
 */
export class Conversation {
  readonly #client: Client;
  readonly #definition: MethodDefinition<CallBatch, AnswerBatch>;
  readonly #gather: (flush: () => void) => void;
  readonly #onUnknown: () => void;
  #stream: Stream | null = null;
  /** Its headers are there. */
  #isOpen = false;
  /** What was written to it has not got away; until it has, calls wait here, where they can still be given up. */
  #isCongested = false;
  #lastNumber = 0;
  /** Those that have no outcome. */
  readonly #calls = new Map<number, Call>();
  /** Those of them that have not been sent, in their order. */
  readonly #waiting = new Set<number>();
  #flushIsDue = false;
  #closed = false;

  /**
   * `gather` calls what it gets, later, when the calls that are to leave together have been made.
   * `onUnknown`: the other side does not know the RPC; calls fail with UNIMPLEMENTED, and have not left.
   */
  constructor(
    client: Client,
    definition: MethodDefinition<CallBatch, AnswerBatch>,
    gather: (flush: () => void) => void,
    onUnknown: () => void,
  ) {
    this.#client = client;
    this.#definition = definition;
    this.#gather = gather;
    this.#onUnknown = onUnknown;
  }

  /** `done` is called once, later: with the response, or why there is none. */
  call(
    method: string,
    request: Buffer,
    timeoutMs: number,
    done: (outcome: Buffer | CallFailure) => void,
  ): void {
    const number = (this.#lastNumber += 1);
    const timer = setTimeout(() => this.#expire(number), timeoutMs);
    const deadlineMs = performance.now() + timeoutMs;
    this.#calls.set(number, { method, request, deadlineMs, timer, sent: false, done });
    if (request.length > MAX_MESSAGE_BYTES - FRAME_BYTES) {
      // Sent, it would end the conversation, and with it every other call.
      const details = `the request has ${request.length} bytes, which is too many`;
      queueMicrotask(() =>
        this.#settle(number, { code: status.RESOURCE_EXHAUSTED, details, neverLeft: true }),
      );
      return;
    }
    this.#waiting.add(number);
    this.#stream ??= this.#converse();
    this.#flushLater();
  }

  /** Ends when the calls under way have ended. */
  close(): void {
    this.#closed = true;
    this.#endIfIdle();
  }

  #converse(): Stream {
    const { path, requestSerialize, responseDeserialize } = this.#definition;
    const stream = this.#client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, METADATA);
    stream.on("metadata", () => {
      if (this.#stream !== stream) return;
      this.#isOpen = true;
      this.#flushLater();
    });
    stream.on("drain", () => {
      if (this.#stream !== stream) return;
      this.#isCongested = false;
      this.#flushLater();
    });
    stream.on("data", (batch: AnswerBatch) => this.#answered(batch));
    stream.on("error", (error: ServiceError) => this.#ended(stream, error.code, error.details));
    stream.on("end", () => this.#ended(stream, status.UNAVAILABLE, "the conversation was ended"));
    return stream;
  }

  #flushLater(): void {
    if (this.#flushIsDue || !this.#isOpen || this.#isCongested || this.#waiting.size === 0) return;
    this.#flushIsDue = true;
    this.#gather(() => {
      this.#flushIsDue = false;
      this.#flush();
    });
  }

  #flush(): void {
    const stream = this.#stream;
    if (stream === null || !this.#isOpen || this.#isCongested) return;
    const waiting = Array.from(this.#waiting, (number) => ({ number, call: this.#callOf(number) }));
    const nowMs = performance.now();
    for (const batch of batchesOf(waiting, ({ call }) => call.request.length)) {
      const calls = batch.map(({ number, call }) => this.#send(number, call, nowMs));
      this.#isCongested = !stream.write({ calls });
      if (this.#isCongested) return;
    }
  }

  #callOf(number: number): Call {
    return defined(this.#calls.get(number), "a call that waits has no outcome");
  }

  #send(number: number, call: Call, nowMs: number): BatchedCall {
    this.#waiting.delete(number);
    call.sent = true;
    const { method, request, deadlineMs } = call;
    return { number, method, request, timeoutMs: Math.max(1, Math.ceil(deadlineMs - nowMs)) };
  }

  #answered({ answers }: AnswerBatch): void {
    for (const { number = 0, status: code = status.OK, details = "", response } of answers) {
      const isServed = code === status.OK && response !== undefined;
      this.#settle(number, isServed ? response : { code, details, neverLeft: false });
    }
  }

  #expire(number: number): void {
    const neverLeft = this.#calls.get(number)?.sent === false;
    this.#settle(number, { code: status.DEADLINE_EXCEEDED, details: "no answer in time", neverLeft });
  }

  /** What was sent may have been carried out. What was not waits for the next stream, if there was this one and is to be one. */
  #ended(stream: Stream, code: status, details: string): void {
    if (this.#stream !== stream) return;
    const wasOpen = this.#isOpen;
    [this.#stream, this.#isOpen, this.#isCongested] = [null, false, false];
    const isUnknown = code === status.UNIMPLEMENTED;
    if (isUnknown) this.#onUnknown();
    // Whoever hears of a failure may call again: that call is none of these.
    const before = Array.from(this.#calls);
    for (const [number, { sent }] of before) {
      if (!sent && wasOpen && !this.#closed) continue;
      // What the stream ended with says nothing of a call that it carried.
      const ofCall = isUnknown && !sent && !this.#closed ? code : status.UNAVAILABLE;
      this.#settle(number, { code: ofCall, details, neverLeft: !sent });
    }
    if (this.#calls.size > 0) this.#stream ??= this.#converse();
  }

  #settle(number: number, outcome: Buffer | CallFailure): void {
    const call = this.#calls.get(number);
    if (call === undefined) return;
    this.#calls.delete(number);
    this.#waiting.delete(number);
    clearTimeout(call.timer);
    call.done(outcome);
    this.#endIfIdle();
  }

  #endIfIdle(): void {
    if (!this.#closed || this.#calls.size > 0) return;
    // Nothing is lost with it. To end it would wait for what a stopped process will never read.
    this.#stream?.cancel();
    this.#stream = null;
  }
}
