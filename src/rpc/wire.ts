/**
 * The messages of raft.proto as the library gives and takes them. Read, every field is there (proto3
 * defaults); written, what is left out has its default. Text fields are buffers that alias the message
 * they came in: turn them into strings with text.ts before keeping them.
 */

export type WireCode =
  | "OK"
  | "INVALID_ARGUMENT"
  | "NOT_LEADER"
  | "OVERLOADED"
  | "UNKNOWN_OUTCOME"
  | "UNAVAILABLE"
  | "NO_CLUSTER"
  | "FAILED_PRECONDITION"
  | "INTERNAL";

/** "DEFAULT": linearizable from the frontend, local from a server. */
export type WireConsistency = "DEFAULT" | "LINEARIZABLE" | "LOCAL";

export type Empty = Readonly<Record<never, never>>;

export interface IntegerArg {
  readonly arg: number;
}

export interface StringArg {
  readonly arg: Buffer;
  readonly consistency: WireConsistency;
}

export interface GenericResponse {
  readonly success: boolean;
  readonly error: string;
  readonly code: WireCode;
  readonly leaderId?: number;
}

export interface KeyValue {
  readonly key: Buffer;
  readonly value: Buffer;
  readonly clientId: number;
  readonly requestId: number;
  readonly routerId: number;
  readonly routerCall: number;
  readonly routerPending: number;
  readonly routerRetried: boolean;
  readonly found: boolean;
  readonly error: string;
  readonly code: WireCode;
  readonly leaderId?: number;
}

/** Each write is the bytes of a message Write, which alias the message they came in: see write-codec.ts. */
export interface PutManyArgs {
  readonly writes: readonly Buffer[];
  readonly clientId: number;
  readonly requestId: number;
  readonly routerId: number;
  readonly routerCall: number;
  readonly routerPending: number;
  readonly routerRetried: boolean;
}

export interface GetKey {
  readonly key: Buffer;
  readonly clientId: number;
  readonly requestId: number;
  readonly consistency: WireConsistency;
}

export interface WireReply {
  readonly wrongLeader: boolean;
  readonly error: string;
  readonly value: Buffer;
  readonly code: WireCode;
  readonly found: boolean;
}

export interface State {
  readonly term: number;
  readonly isLeader: boolean;
  readonly commitIndex: number;
  readonly lastApplied: number;
}

export interface WireLogEntry {
  readonly term: number;
  readonly key: Buffer;
  readonly value: Buffer;
  readonly clientId: number;
  readonly requestId: number;
  readonly kind: "PUT" | "NOOP" | "CONFIGURATION" | "PUT_MANY";
  readonly routerId: number;
  readonly routerCall: number;
  readonly routerPending: number;
  readonly routerRetried: boolean;
  readonly members: readonly WireMember[];
  /** The bytes of a message WriteList, which alias the message they came in: see write-codec.ts. */
  readonly batch: Buffer;
}

/** `address` "": where config.ini says; only in the log. */
export interface WireMember {
  readonly id: number;
  readonly address: string;
  readonly voter: boolean;
}

export interface AppendEntriesArgs {
  readonly term: number;
  readonly leaderId: number;
  readonly prevLogIndex: number;
  readonly prevLogTerm: number;
  readonly entries: readonly Partial<WireLogEntry>[];
  readonly leaderCommit: number;
  readonly clusterId: string;
}

export interface WireAppendEntriesReply {
  readonly term: number;
  readonly success: boolean;
  readonly conflictIndex: number;
  readonly conflictTerm: number;
  readonly diskFull: boolean;
}

export interface RequestVoteArgs {
  readonly term: number;
  readonly candidateId: number;
  readonly lastLogIndex: number;
  readonly lastLogTerm: number;
  readonly clusterId: string;
  readonly preVote: boolean;
}

export interface WireRequestVoteReply {
  readonly term: number;
  readonly voteGranted: boolean;
}

export interface InstallSnapshotArgs {
  readonly term: number;
  readonly leaderId: number;
  readonly lastIncludedIndex: number;
  readonly lastIncludedTerm: number;
  readonly offset: number;
  readonly data: Uint8Array;
  readonly totalBytes: number;
  readonly checksum: string;
  readonly clusterId: string;
}

export interface WireInstallSnapshotReply {
  readonly term: number;
  readonly nextOffset: number;
  readonly installed: boolean;
}

export interface ReadIndexArgs {
  readonly clusterId: string;
}

/** `index` counts only when the code is "OK". */
export interface WireReadIndexReply {
  readonly index: number;
  readonly error: string;
  readonly code: WireCode;
  readonly leaderId?: number;
}

export interface TimeoutNowArgs {
  readonly term: number;
  readonly leaderId: number;
  readonly clusterId: string;
}

export interface WireTimeoutNowReply {
  readonly term: number;
  readonly success: boolean;
}

/** `address` "": where config.ini says. */
export interface AddMemberArgs {
  readonly id: number;
  readonly address: string;
  readonly nonVoter: boolean;
}

/** `to` absent: whoever has most of the log. */
export interface TransferArgs {
  readonly to?: number;
}

/** Which snapshot file, in the answer to TakeSnapshot and in every ReadSnapshot. */
export interface WireSnapshotInfo {
  readonly index: number;
  readonly term: number;
  readonly totalBytes: number;
  readonly checksum: string;
}

export interface SnapshotReply extends WireSnapshotInfo {
  readonly error: string;
  readonly code: WireCode;
  readonly leaderId?: number;
}

export interface ReadSnapshotArgs extends WireSnapshotInfo {
  readonly offset: number;
}

export interface SnapshotData {
  readonly data: Uint8Array;
}

export interface ServerStatus {
  readonly id: number;
  readonly clusterId: string;
  readonly role: string;
  readonly term: number;
  readonly leaderId?: number;
  readonly commitIndex: number;
  readonly lastApplied: number;
  readonly lastLogIndex: number;
  readonly keys: number;
  readonly pid: number;
  readonly version: string;
  /** 0: no snapshot. */
  readonly snapshotIndex: number;
  readonly firstLogIndex: number;
  readonly diskFull: boolean;
  /** It was made anew, and has no say in elections yet. */
  readonly abstains: boolean;
  /** With addresses; none: it waits to be added to a cluster. */
  readonly members: readonly WireMember[];
  /** 0: it is what the cluster was created with. */
  readonly configurationIndex: number;
  /** Absent or null: it does not wait to found a cluster. */
  readonly founding?: WireFounding | null;
}

/** A server that waits for the others of a new cluster. */
export interface WireFounding {
  /** Who founds, as --peers has them. */
  readonly peers: string;
  /** Drawn by chance, once by each process. */
  readonly draw: string;
  /** What the cluster is to be called, from all draws; "": not all are known. */
  readonly clusterId: string;
}

export interface MemberStatus {
  readonly id: number;
  readonly address: string;
  readonly reachable: boolean;
  /** null when the server could not be asked. */
  readonly server: ServerStatus | null;
  readonly voter: boolean;
}

export interface ClusterStatus {
  /** "": there is none, or it is being started or looked for, as `error` and `code` say. */
  readonly clusterId: string;
  readonly members: readonly MemberStatus[];
  readonly version: string;
  readonly error: string;
  readonly code: WireCode;
}

/** What one RPC takes (written: any part of it) and gives. */
export interface Rpc<Request, Response> {
  readonly request: Request;
  readonly response: Response;
}

export interface FrontEndRpcs {
  readonly StartRaft: Rpc<IntegerArg, WireReply>;
  readonly StartServer: Rpc<IntegerArg, WireReply>;
  readonly Get: Rpc<GetKey, WireReply>;
  readonly Put: Rpc<KeyValue, WireReply>;
  readonly PutMany: Rpc<PutManyArgs, WireReply>;
  readonly Status: Rpc<Empty, ClusterStatus>;
  readonly ReplaceServer: Rpc<IntegerArg, WireReply>;
  readonly AddMember: Rpc<AddMemberArgs, WireReply>;
  readonly PromoteMember: Rpc<IntegerArg, WireReply>;
  readonly RemoveMember: Rpc<IntegerArg, WireReply>;
  readonly TransferLeadership: Rpc<TransferArgs, WireReply>;
}

export interface KeyValueStoreRpcs {
  readonly ping: Rpc<Empty, GenericResponse>;
  readonly GetState: Rpc<Empty, State>;
  readonly Get: Rpc<StringArg, KeyValue>;
  readonly Put: Rpc<KeyValue, GenericResponse>;
  readonly PutMany: Rpc<PutManyArgs, GenericResponse>;
  readonly AppendEntries: Rpc<AppendEntriesArgs, WireAppendEntriesReply>;
  readonly RequestVote: Rpc<RequestVoteArgs, WireRequestVoteReply>;
  readonly InstallSnapshot: Rpc<InstallSnapshotArgs, WireInstallSnapshotReply>;
  readonly Status: Rpc<Empty, ServerStatus>;
  readonly TakeSnapshot: Rpc<Empty, SnapshotReply>;
  readonly ReadSnapshot: Rpc<ReadSnapshotArgs, SnapshotData>;
  readonly ReadIndex: Rpc<ReadIndexArgs, WireReadIndexReply>;
  readonly TimeoutNow: Rpc<TimeoutNowArgs, WireTimeoutNowReply>;
  readonly AddMember: Rpc<AddMemberArgs, GenericResponse>;
  readonly PromoteMember: Rpc<IntegerArg, GenericResponse>;
  readonly RemoveMember: Rpc<IntegerArg, GenericResponse>;
  readonly TransferLeadership: Rpc<TransferArgs, GenericResponse>;
}

export interface ServiceRpcs {
  readonly FrontEnd: FrontEndRpcs;
  readonly KeyValueStore: KeyValueStoreRpcs;
}
