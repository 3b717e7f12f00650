import { unreachable } from "../base/assert.ts";
import type { Configuration } from "./configuration.ts";

/** A server of the cluster: 0, 1, 2, … "Nobody" is null, never a number. */
export type ServerId = number;
/** Raft's logical clock: 0 before the first election, then only larger. */
export type Term = number;
/** A position in the log: the first entry is 1; 0 means "before the first entry". */
export type LogIndex = number;

/**
 * What an entry carries. The core never looks inside a command; it needs only its size, so `C` is
 * whatever the state machine calls a command.
 */
export type Payload<C> =
  /** A new leader's first entry (Raft §8): it changes nothing and brings the commit index up to date. */
  | { readonly kind: "noop" }
  /** Who belongs to the cluster from here on (configuration.ts); the state machine passes it by. */
  | { readonly kind: "configuration"; readonly configuration: Configuration }
  /** `byteLength` is what the command costs in a message, roughly; it bounds batches and queues. */
  | { readonly kind: "command"; readonly command: C; readonly byteLength: number };

/** One entry of the replicated log (Raft figure 2). Entries never change once made. */
export interface Entry<C> {
  readonly index: LogIndex;
  readonly term: Term;
  readonly payload: Payload<C>;
}

/** An id, a vote and an address. */
const MEMBER_BYTES = 64;

/** What an entry costs beside its command: terms, ids, framing. In bytes, roughly. */
const ENTRY_OVERHEAD_BYTES = 32;

/** What the entry costs in a message, in bytes, roughly. */
export function entryByteLength(entry: Entry<unknown>): number {
  return ENTRY_OVERHEAD_BYTES + payloadByteLength(entry.payload);
}

function payloadByteLength(payload: Payload<unknown>): number {
  switch (payload.kind) {
    case "noop":
      return 0;
    case "configuration":
      return payload.configuration.length * MEMBER_BYTES;
    case "command":
      return payload.byteLength;
    default:
      return unreachable(payload);
  }
}
