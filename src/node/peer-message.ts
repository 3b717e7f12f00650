/**
 * What one server's driver says to another's: Raft's own messages, but for InstallSnapshot, which travels
 * in chunks. The sender's driver turns the core's one request into chunks, the receiver's turns them back.
 */
import type { Command } from "../kv/command.ts";
import type { LogIndex, ServerId, Term } from "../raft/entry.ts";
import type {
  AppendEntries,
  AppendEntriesReply,
  RequestVote,
  RequestVoteReply,
  TimeoutNow,
  TimeoutNowReply,
} from "../raft/message.ts";
import type { SnapshotInfo } from "../storage/store.ts";

/** Enough to fill a link, little enough that a follower's disk takes it within a heartbeat. */
export const MAX_CHUNK_BYTES = 256 * 1024;

export interface SnapshotChunk {
  readonly kind: "snapshotChunk";
  /** The leader's. */
  readonly term: Term;
  readonly leaderId: ServerId;
  /** Which snapshot it is a part of. */
  readonly info: SnapshotInfo;
  /** Where `data` belongs in the file, in bytes. */
  readonly offset: number;
  /** At most MAX_CHUNK_BYTES; empty only when it merely asks how far the receiver has got. */
  readonly data: Uint8Array;
}

export interface SnapshotChunkReply {
  readonly kind: "snapshotChunkReply";
  readonly term: Term;
  /** The offset that the receiver wants next; info.totalBytes when it has everything. */
  readonly nextOffset: number;
  /** Everything up to the snapshot's index is here, durably: the transfer is over. */
  readonly installed: boolean;
}

/** A server asks the leader on behalf of its readers (dissertation §6.4, last paragraphs). */
export interface ReadIndex {
  readonly kind: "readIndex";
}

export interface ReadIndexReply {
  readonly kind: "readIndexReply";
  /** Everything acknowledged before the request is at or below it; null: the one asked does not lead, or not for sure. */
  readonly readIndex: LogIndex | null;
}

export type PeerRequest = RequestVote | AppendEntries<Command> | SnapshotChunk | TimeoutNow | ReadIndex;
export type PeerReply =
  RequestVoteReply | AppendEntriesReply | SnapshotChunkReply | TimeoutNowReply | ReadIndexReply;
