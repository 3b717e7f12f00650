import type { LogIndex, ServerId, Term } from "../raft/entry.ts";
import type { RaftEvent } from "../raft/event.ts";

/** Something that happened in the core or in its driver; for logs and traces, never for decisions. */
export type NodeEvent =
  | RaftEvent
  /** A snapshot of this server's own state has become the one that counts. */
  | { readonly kind: "snapshotTaken"; readonly index: LogIndex; readonly term: Term; readonly bytes: number }
  /** A snapshot of this server's own state was given up; it is tried again. */
  | { readonly kind: "snapshotFailed"; readonly why: string }
  /** A transfer to a follower begins, or begins again. */
  | { readonly kind: "snapshotSending"; readonly to: ServerId; readonly index: LogIndex }
  | { readonly kind: "snapshotSent"; readonly to: ServerId; readonly index: LogIndex }
  /** The snapshot to be sent could not be read. */
  | { readonly kind: "snapshotUnreadable"; readonly to: ServerId; readonly why: string }
  /** The first chunk of a leader's snapshot has come. */
  | { readonly kind: "snapshotReceiving"; readonly from: ServerId; readonly index: LogIndex }
  /** What came is not kept: it is not whole, or there is no room for it. */
  | { readonly kind: "snapshotRefused"; readonly from: ServerId; readonly why: string }
  /** The disk is full. Nothing is acknowledged until `diskHasRoom`. */
  | { readonly kind: "diskFull"; readonly why: string }
  | { readonly kind: "diskHasRoom" };
