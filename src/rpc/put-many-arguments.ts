/** The writes of a PutMany, checked before anything is done with them: each as a Put's key and value are. */
import { RaftKvError } from "../base/errors.ts";
import type { PutManyCommand, Write } from "../kv/command.ts";
import { parseRequestId, parseRoutedCall, type TextLimits } from "./arguments.ts";
import type { PutManyArgs } from "./wire.ts";
import { decodeWrite, spanOf, type WriteSpan } from "./write-codec.ts";

/** Of one call. More would keep a server from everything else while it applies them. */
export const MAX_WRITES = 4096;

/**
 * Bytes that a write may have beside its key and value: what frames them, and what a later version adds. Nobody counts
 * them, so that they must not be many: a message that can just be taken could not be passed on, and would end the
 * conversation that it is to travel in, with everybody's calls.
 */
const MAX_OTHER_BYTES = 64;

/** Of keys and values together, where the limits on them allow no single Put that is larger. */
const MIN_BATCH_BYTES = 1024 * 1024;

/** How many bytes of keys and values one call may have: never less than a Put. */
export function maxWriteBytes({ maxKeyBytes, maxValueBytes }: TextLimits): number {
  return Math.max(MIN_BATCH_BYTES, maxKeyBytes + maxValueBytes);
}

/** The command that a PutMany asks for. Throws RaftKvError "invalidArgument", which names the first write that is wrong. */
export function parsePutMany(message: PutManyArgs, limits: TextLimits): PutManyCommand {
  const request = parseRequestId(message);
  const routed = parseRoutedCall(message);
  const writes: Write[] = [];
  checkWrites(message.writes, limits, (bytes, span, position) => {
    const write = decodeWrite(bytes, span);
    if (write === null) throw invalidWrite(position, "the key or the value is not UTF-8 text");
    writes.push(write);
  });
  return { kind: "putMany", writes, request, routed };
}

/**
 * What can be seen of it without reading its texts, as a frontend looks at it, which passes it on. Returns how many
 * bytes of keys and values it has. Throws as parsePutMany.
 */
export function checkPutMany(message: PutManyArgs, limits: TextLimits): number {
  parseRequestId(message);
  return checkWrites(message.writes, limits, () => {});
}

/** Which write of the batch an "invalidArgument" is about, counted from 1; null: it is about none of them alone. */
export function refusedWrite(message: string): number | null {
  const digits = REFUSED_WRITE.exec(message)?.[1];
  return digits === undefined ? null : Number(digits);
}

const REFUSED_WRITE = /\bwrite (\d+) of the batch: /;

function checkWrites(
  writes: readonly Buffer[],
  limits: TextLimits,
  each: (bytes: Buffer, span: WriteSpan, position: number) => void,
): number {
  if (writes.length === 0) throw invalid("the batch is empty: give it at least one write");
  if (writes.length > MAX_WRITES) {
    throw invalid(`the batch has more than ${MAX_WRITES} writes: send fewer at once`);
  }
  const maxBytes = maxWriteBytes(limits);
  let total = 0;
  for (const [position, bytes] of writes.entries()) {
    const span = spanOf(bytes);
    const keyBytes = span.keyEnd - span.keyStart;
    const valueBytes = span.valueEnd - span.valueStart;
    if (keyBytes === 0) throw invalidWrite(position, "the key is empty: give it at least one byte");
    if (keyBytes > limits.maxKeyBytes) throw tooLong(position, "key", keyBytes, limits.maxKeyBytes);
    if (valueBytes > limits.maxValueBytes) throw tooLong(position, "value", valueBytes, limits.maxValueBytes);
    const otherBytes = bytes.length - keyBytes - valueBytes;
    if (otherBytes > MAX_OTHER_BYTES) {
      throw invalidWrite(position, `it has ${otherBytes} bytes that are neither its key nor its value`);
    }
    total += keyBytes + valueBytes;
    if (total > maxBytes) {
      throw invalid(`the keys and values of the batch have more than ${maxBytes} bytes: send fewer at once`);
    }
    each(bytes, span, position);
  }
  return total;
}

function tooLong(position: number, name: string, bytes: number, maxBytes: number): RaftKvError {
  return invalidWrite(position, `the ${name} has ${bytes} bytes: at most ${maxBytes} are allowed`);
}

function invalidWrite(position: number, what: string): RaftKvError {
  return invalid(`write ${position + 1} of the batch: ${what}`);
}

function invalid(message: string): RaftKvError {
  return new RaftKvError("invalidArgument", message);
}
