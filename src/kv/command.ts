import { unreachable } from "../base/assert.ts";

/**
 * Everything that can change the store. A command stands in the log for ever: a member of this union
 * may be added, never changed.
 */
export type Command = PutCommand | PutManyCommand;

/** Sets a key. */
export interface PutCommand extends Write, Names {
  readonly kind: "put";
}

/** Sets many keys, all or none. It is one request and one call. */
export interface PutManyCommand extends Names {
  readonly kind: "putMany";
  /** At least one. They take effect in this order, so that a later one to the same key wins. */
  readonly writes: readonly Write[];
}

/** A key and the value that it is to have. */
export interface Write {
  readonly key: string;
  readonly value: string;
}

/** What a command is called, so that it is applied once however often it comes. */
export interface Names {
  /** The client's name for its request; null when it gave none, and then nothing is deduplicated by it. */
  readonly request: RequestId | null;
  /** The frontend's name for the call; null when the write came from a client directly. */
  readonly routed: RoutedCall | null;
}

/** What a client calls its request. Existing clients reuse one pair for different writes. */
export interface RequestId {
  readonly clientId: number;
  readonly requestId: number;
}

/** What a frontend calls one client call, whatever number of times it sends it. Never reused. */
export interface RoutedCall {
  /** Names one life of a frontend; never 0. */
  readonly routerId: number;
  /** Counts its calls, from 1 on. */
  readonly routerCall: number;
  /**
   * The lowest call of this frontend that had no answer yet when this one got its number, from 1 to routerCall, and
   * the same however often this one is sent: no lower one is ever sent again. 0: the frontend keeps no session.
   */
  readonly pending: number;
  /** It was sent before, and may have taken effect then. */
  readonly retried: boolean;
}

/** What the command costs in memory and in messages, in bytes, roughly. */
export function commandByteLength(command: Command): number {
  switch (command.kind) {
    case "put":
      return writeByteLength(command);
    case "putMany":
      return command.writes.reduce((sum, write) => sum + writeByteLength(write), 0);
    default:
      return unreachable(command);
  }
}

/** The keys that a command sets, with their values, in the order in which they take effect. */
export function writesOf(command: Command): readonly Write[] {
  switch (command.kind) {
    case "put":
      return [command];
    case "putMany":
      return command.writes;
    default:
      return unreachable(command);
  }
}

function writeByteLength({ key, value }: Write): number {
  return key.length + value.length + 32;
}
