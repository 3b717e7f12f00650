/**
 * What a client sends, checked before anything is done with it: the one place where the bytes and numbers
 * of a Put or Get become the values that the rest of the program works with.
 */
import { RaftKvError } from "../base/errors.ts";
import type { PutCommand, RequestId, RoutedCall } from "../kv/command.ts";
import { decodeText } from "./text.ts";
import type { KeyValue } from "./wire.ts";

/** In bytes of UTF-8. */
export interface TextLimits {
  readonly maxKeyBytes: number;
  readonly maxValueBytes: number;
}

/** The part of a message that names a client's request. */
type Requested = Pick<KeyValue, "clientId" | "requestId">;

/** The part of a message that names a frontend's call. */
type Routed = Pick<KeyValue, "routerId" | "routerCall" | "routerPending" | "routerRetried">;

/** Throws RaftKvError "invalidArgument" for a key that is empty, too long or not text. */
export function parseKey(key: Uint8Array, limits: TextLimits): string {
  if (key.length === 0) throw invalid("the key is empty: give it at least one byte");
  return parseText("key", key, limits.maxKeyBytes);
}

/** null when both ids are 0, which proto3 cannot tell from absent. Throws RaftKvError "invalidArgument". */
export function parseRequestId({ clientId, requestId }: Requested): RequestId | null {
  checkInteger("clientId", clientId);
  checkInteger("requestId", requestId);
  return clientId === 0 && requestId === 0 ? null : { clientId, requestId };
}

/** The command that a Put asks for. Throws RaftKvError "invalidArgument". */
export function parsePut(message: KeyValue, limits: TextLimits): PutCommand {
  return {
    kind: "put",
    key: parseKey(message.key, limits),
    value: parseText("value", message.value, limits.maxValueBytes),
    request: parseRequestId(message),
    routed: parseRoutedCall(message),
  };
}

/** null when no frontend sent it. Throws RaftKvError "invalidArgument". */
export function parseRoutedCall(message: Routed): RoutedCall | null {
  const { routerId, routerCall, routerPending: pending, routerRetried: retried } = message;
  checkInteger("routerId", routerId);
  checkInteger("routerCall", routerCall);
  checkInteger("routerPending", pending);
  if (routerId === 0) return null;
  if (pending < 0 || (pending > 0 && pending > routerCall)) {
    throw invalid(
      `routerPending is ${pending}: it must lie between 1 and routerCall, ${routerCall}, or be 0`,
    );
  }
  return { routerId, routerCall, pending, retried };
}

function parseText(name: string, bytes: Uint8Array, maxBytes: number): string {
  if (bytes.length > maxBytes) {
    throw invalid(`the ${name} has ${bytes.length} bytes: at most ${maxBytes} are allowed`);
  }
  const text = decodeText(bytes);
  if (text === null) throw invalid(`the ${name} is not UTF-8 text`);
  return text;
}

/** The wire's 64-bit integers reach us as doubles, which are exact up to 2^53 only. */
function checkInteger(name: string, value: number): void {
  if (!Number.isSafeInteger(value)) throw invalid(`${name} must lie between -(2^53 - 1) and 2^53 - 1`);
}

function invalid(message: string): RaftKvError {
  return new RaftKvError("invalidArgument", message);
}
