import { Metadata, status, type ServerDuplexStream } from "@grpc/grpc-js";
import {
  batchesOf,
  type AnswerBatch,
  type BatchedAnswer,
  type BatchedCall,
  type CallBatch,
} from "./batched-call.ts";

/** A method as a conversation calls it. */
export interface DeskMethod {
  /** Throws for bytes that are no request. */
  readonly decode: (request: Buffer) => unknown;
  readonly encode: (response: object) => Buffer;
  /** Rejects never: what a call comes to is in the outcome. */
  readonly answer: (request: unknown, remainingMs: number | null) => Promise<Response | Refusal>;
}

interface Response {
  readonly response: object;
}

interface Refusal {
  readonly status: status;
  readonly details: string;
}

type Stream = ServerDuplexStream<CallBatch, AnswerBatch>;

/**
 * Calls of one conversation under way: no further message of them is read until some have been answered. As many as
 * of a connection whose calls travel alone (rpc-server.ts).
 */
const MAX_OPEN_CALLS = 256;

/**
 * The server's end of one conversation (batched-call.ts): carries calls out side by side, and sends the answers
 * that came in one go together.
 */
export class CallDesk {
  readonly #stream: Stream;
  readonly #methods: ReadonlyMap<string, DeskMethod>;
  readonly #onEnd: (desk: CallDesk) => void;
  #openCalls = 0;
  #answers: Partial<BatchedAnswer>[] = [];
  #flushIsDue = false;
  /** What was written has not got away. */
  #isCongested = false;
  #closing = false;
  #ended = false;

  /** `onEnd`: the conversation is over. */
  constructor(stream: Stream, methods: ReadonlyMap<string, DeskMethod>, onEnd: (desk: CallDesk) => void) {
    this.#stream = stream;
    this.#methods = methods;
    this.#onEnd = onEnd;
    stream.sendMetadata(new Metadata());
    stream.on("data", ({ calls }: CallBatch) => {
      for (const call of calls) void this.#take(call);
      this.#readOn();
    });
    stream.on("drain", () => {
      this.#isCongested = false;
      this.#readOn();
    });
    stream.on("end", () => this.close());
    for (const event of ["cancelled", "error", "close"]) stream.on(event, () => this.#over());
  }

  /** Ends when the calls under way have been answered; what comes meanwhile is refused. */
  close(): void {
    this.#closing = true;
    this.#endIfIdle();
  }

  async #take({ number, method, request, timeoutMs }: BatchedCall): Promise<void> {
    if (this.#closing) {
      this.#answer({ number, status: status.UNAVAILABLE, details: "the server is stopping" });
      return;
    }
    this.#openCalls += 1;
    const answer = await this.#carryOut(method, request, timeoutMs === 0 ? null : Math.max(0, timeoutMs));
    this.#openCalls -= 1;
    this.#answer({ number, ...answer });
  }

  async #carryOut(name: string, bytes: Buffer, remainingMs: number | null): Promise<Partial<BatchedAnswer>> {
    const method = this.#methods.get(name);
    if (method === undefined) return { status: status.UNIMPLEMENTED, details: `there is no method ${name}` };
    let request: unknown;
    try {
      request = method.decode(bytes);
    } catch (error) {
      return { status: status.INTERNAL, details: `the request cannot be read: ${String(error)}` };
    }
    const outcome = await method.answer(request, remainingMs);
    return "response" in outcome ? { response: method.encode(outcome.response) } : outcome;
  }

  #answer(answer: Partial<BatchedAnswer>): void {
    this.#answers.push(answer);
    if (this.#flushIsDue) return;
    this.#flushIsDue = true;
    // Those who are answered in one turn of the node come here in one go.
    queueMicrotask(() => {
      this.#flushIsDue = false;
      this.#flush();
    });
  }

  #flush(): void {
    const answers = this.#answers.splice(0);
    if (this.#ended) return;
    for (const batch of batchesOf(answers, ({ response }) => response?.length ?? 0)) {
      this.#isCongested = !this.#stream.write({ answers: batch });
    }
    this.#readOn();
    this.#endIfIdle();
  }

  #readOn(): void {
    const isFull = this.#isCongested || this.#openCalls >= MAX_OPEN_CALLS;
    if (isFull) this.#stream.pause();
    else if (this.#stream.isPaused()) this.#stream.resume();
  }

  #endIfIdle(): void {
    if (!this.#closing || this.#openCalls > 0 || this.#answers.length > 0 || this.#ended) return;
    this.#stream.end();
    this.#over();
  }

  #over(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#onEnd(this);
  }
}
