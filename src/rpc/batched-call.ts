/**
 * What travels in a conversation, the RPC Converse: calls of one service in batches one way, their answers in
 * batches the other way. A call is what it would be by itself, but for its cost: its request and response are
 * the method's own messages, its answer's status is the one that the call alone would have ended with.
 *
 * The server sends its headers at once. Until they are there, no call has left the client.
 */

export interface BatchedCall {
  /** The caller's own, which the answer carries; never 0. */
  readonly number: number;
  readonly method: string;
  readonly request: Buffer;
  /** Until the caller gives up; 0: never. */
  readonly timeoutMs: number;
}

export interface BatchedAnswer {
  readonly number: number;
  /** Only when the status is 0. */
  readonly response: Buffer;
  readonly status: number;
  readonly details: string;
}

export interface CallBatch {
  readonly calls: readonly BatchedCall[];
}

export interface AnswerBatch {
  readonly answers: readonly Partial<BatchedAnswer>[];
}

/** A message of a conversation is full with so many calls or answers, */
const MAX_BATCH_ITEMS = 256;
/** or with so much in them; a single larger one has a message to itself. */
const MAX_BATCH_BYTES = 512 * 1024;

/** The items in their order, in groups that are full at most. */
export function* batchesOf<T>(items: readonly T[], bytesOf: (item: T) => number): Generator<readonly T[]> {
  let [from, bytes] = [0, 0];
  for (const [at, item] of items.entries()) {
    const size = bytesOf(item);
    const isFull = at - from === MAX_BATCH_ITEMS || bytes + size > MAX_BATCH_BYTES;
    if (at > from && isFull) {
      yield items.slice(from, at);
      [from, bytes] = [at, 0];
    }
    bytes += size;
  }
  if (from < items.length) yield from === 0 ? items : items.slice(from);
}
