/**
 * Snapshots between the driver's types and the wire. What comes in is checked here, as in codec.ts; what a
 * snapshot holds is checked by its own checksums, once it is whole.
 */
import { MAX_CHUNK_BYTES, type SnapshotChunk, type SnapshotChunkReply } from "../node/peer-message.ts";
import { counter, invalid } from "./counter.ts";
import type { InstallSnapshotArgs, WireInstallSnapshotReply, WireSnapshotInfo } from "./wire.ts";

type SnapshotInfo = SnapshotChunk["info"];

/** No snapshot is larger; what claims to be is a hand that slipped. */
const MAX_SNAPSHOT_BYTES = 2 ** 40;

const CHECKSUM = /^[0-9a-f]{8}$/;

export function chunkToWire(chunk: SnapshotChunk, clusterId: string): InstallSnapshotArgs {
  const { term, leaderId, info, offset, data } = chunk;
  const { position, totalBytes, checksum } = info;
  return {
    term,
    leaderId,
    lastIncludedIndex: position.index,
    lastIncludedTerm: position.term,
    offset,
    data,
    totalBytes,
    checksum,
    clusterId,
  };
}

/** The chunk owns its bytes. Throws RaftKvError "invalidArgument". */
export function chunkFromWire(args: InstallSnapshotArgs): SnapshotChunk {
  const { lastIncludedIndex, lastIncludedTerm, totalBytes, checksum, data } = args;
  const term = counter("term", args.term);
  const info = snapshotInfoFromWire({
    index: lastIncludedIndex,
    term: lastIncludedTerm,
    totalBytes,
    checksum,
  });
  const offset = counter("offset", args.offset);
  if (info.position.term > term) {
    throw invalid(`lastIncludedTerm is ${lastIncludedTerm}, above the leader's own term, ${term}`);
  }
  if (data.length > MAX_CHUNK_BYTES) {
    throw invalid(`a chunk of ${data.length} bytes; at most ${MAX_CHUNK_BYTES} are allowed`);
  }
  if (offset + data.length > totalBytes) {
    throw invalid(`a chunk up to byte ${offset + data.length} of a snapshot of ${totalBytes}`);
  }
  // What the library decodes is a view of the message.
  const own = Uint8Array.from(data);
  return {
    kind: "snapshotChunk",
    term,
    leaderId: counter("leaderId", args.leaderId),
    info,
    offset,
    data: own,
  };
}

export function chunkReplyToWire({
  term,
  nextOffset,
  installed,
}: SnapshotChunkReply): WireInstallSnapshotReply {
  return { term, nextOffset, installed };
}

/** Throws RaftKvError "invalidArgument". */
export function chunkReplyFromWire(reply: WireInstallSnapshotReply): SnapshotChunkReply {
  return {
    kind: "snapshotChunkReply",
    term: counter("term", reply.term),
    nextOffset: counter("nextOffset", reply.nextOffset),
    installed: reply.installed,
  };
}

export function snapshotInfoToWire({ position, totalBytes, checksum }: SnapshotInfo): WireSnapshotInfo {
  return { index: position.index, term: position.term, totalBytes, checksum };
}

/** Throws RaftKvError "invalidArgument". */
export function snapshotInfoFromWire({ index, term, totalBytes, checksum }: WireSnapshotInfo): SnapshotInfo {
  const position = { index: counter("snapshot index", index), term: counter("snapshot term", term) };
  if (position.index === 0 || position.term === 0)
    throw invalid("a snapshot of nothing: index and term count from 1");
  if (counter("totalBytes", totalBytes) < 1 || totalBytes > MAX_SNAPSHOT_BYTES) {
    throw invalid(`totalBytes is ${totalBytes}; expected 1 to ${MAX_SNAPSHOT_BYTES}`);
  }
  if (!CHECKSUM.test(checksum)) throw invalid("checksum is not a CRC-32 in 8 lowercase hex digits");
  return { position, totalBytes, checksum };
}
