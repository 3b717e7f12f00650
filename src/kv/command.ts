import { unreachable } from "../base/assert.ts";

/**
 * Everything that can change the store. A command stands in the log for ever: a member of this union
 * may be added, never changed.
 */
export type Command = PutCommand;

/** Sets a key. */
export interface PutCommand {
  readonly kind: "put";
  readonly key: string;
  readonly value: string;
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
      return command.key.length + command.value.length + 32;
    default:
      return unreachable(command.kind);
  }
}
