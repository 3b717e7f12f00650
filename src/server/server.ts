/** One Raft server as a process: files, node, peers and service put together. */
import type { Config } from "../config/config.ts";
import { serverAddress, serverPort } from "../config/config.ts";
import { KvStateMachine } from "../kv/state-machine.ts";
import { DiskRoom } from "../node/disk-room.ts";
import type { NodeEvent } from "../node/node-event.ts";
import { Node } from "../node/node.ts";
import { MAX_CHUNK_BYTES } from "../node/peer-message.ts";
import { createLogger, type Logger } from "../observability/logger.ts";
import type { ServerId } from "../raft/entry.ts";
import type { RaftOptions } from "../raft/options.ts";
import { listenHosts } from "../rpc/listen-hosts.ts";
import { PeerTransport } from "../rpc/peer-transport.ts";
import { RpcServer } from "../rpc/rpc-server.ts";
import { OsFileSystem } from "../storage/os-file-system.ts";
import { openServerStore } from "../storage/server-store.ts";
import type { Recovered } from "../storage/store.ts";
import { createServer, type Creation } from "./creation.ts";
import { keyValueService } from "./key-value-service.ts";
import { OpenSnapshots } from "./open-snapshots.ts";
import { systemClock } from "./system-clock.ts";
import { randomInt } from "./system-random.ts";

export interface ServerOptions {
  readonly config: Config;
  readonly id: ServerId;
  readonly stateDirectory: string;
  /** Creates the server's state first; null: it must be there already. */
  readonly creation: Creation | null;
  readonly version: string;
}

export interface RunningServer {
  /** Resolves after `stop`; rejects when the server had to end by itself, as after a failed fsync. */
  readonly stopped: Promise<void>;
  stop(): Promise<void>;
}

/** One AppendEntries: enough to fill a fast disk's fsync, little enough to pass within a heartbeat. */
const MAX_BATCH_ENTRIES = 4096;
const MAX_BATCH_BYTES = 1024 * 1024;
const MAX_INFLIGHT = 8;
const MAX_COMMITTED_PER_BATCH = 2048;
const MAX_PENDING_RPCS = 1024;

/**
 * Recovers the server's state and serves. Rejects with RaftKvError when the state cannot be used
 * ("failedPrecondition", "corruption") or a file or the port cannot be had ("io").
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { config, id, stateDirectory, creation, version } = options;
  const log = createLogger("server", String(id));
  const fs = new OsFileSystem();
  if (creation !== null) await createServer(fs, stateDirectory, config, id, creation);
  const diskRoom = new DiskRoom(systemClock);
  const { store, recovered } = await openServerStore(fs, stateDirectory, id, {
    whenFull: (error) => diskRoom.whenFull(error),
  });
  const { identity } = recovered;
  logRecovered(log, recovered);

  const failure = Promise.withResolvers<void>();
  const peers = identity.servers.filter((server) => server !== id);
  const node = new Node({
    raftOptions: raftOptions(config, id, identity.servers),
    tickMs: config.raft.tickMs,
    limits: { ...config.limits, maxPendingRpcs: MAX_PENDING_RPCS },
    snapshots: { ...config.snapshot, chunkBytes: MAX_CHUNK_BYTES },
    clock: systemClock,
    transport: new PeerTransport(
      identity.clusterId,
      new Map(peers.map((peer) => [peer, serverAddress(config, peer)])),
    ),
    store,
    diskRoom,
    recovered,
    machine: new KvStateMachine(),
    onEvent: (event) => logEvent(log, event),
    onFailure: (error) => failure.reject(error),
  });
  const rpcServer = new RpcServer();
  const snapshots = new OpenSnapshots(systemClock);
  rpcServer.add(
    "KeyValueStore",
    keyValueService({ node, snapshots, identity, limits: config.limits, version }),
  );
  try {
    await rpcServer.listen(listenHosts(config.baseAddress), serverPort(config, id));
  } catch (error) {
    await node.stop();
    throw error;
  }
  node.start();
  log.info("serving", { port: serverPort(config, id), pid: process.pid, version });

  return {
    stopped: failure.promise,
    async stop() {
      log.info("stopping");
      await snapshots.close();
      await node.stop();
      await rpcServer.close();
      failure.resolve();
    },
  };
}

function raftOptions(config: Config, id: ServerId, voters: readonly ServerId[]): RaftOptions {
  const { tickMs, heartbeatMs, electionTimeoutMinMs, electionTimeoutMaxMs } = config.raft;
  return {
    id,
    voters,
    electionTimeoutMinTicks: electionTimeoutMinMs / tickMs,
    electionTimeoutMaxTicks: electionTimeoutMaxMs / tickMs,
    heartbeatTicks: heartbeatMs / tickMs,
    maxBatchEntries: MAX_BATCH_ENTRIES,
    maxBatchBytes: MAX_BATCH_BYTES,
    maxInflight: MAX_INFLIGHT,
    maxCommittedPerBatch: MAX_COMMITTED_PER_BATCH,
    randomInt,
  };
}

function logRecovered(log: Logger, { identity, hardState, snapshot, log: found, repairs }: Recovered): void {
  for (const repair of repairs) log.warn("repaired", { repair });
  log.info("recovered", {
    ...hardState,
    snapshotIndex: snapshot?.info.position.index ?? 0,
    firstLogIndex: found.base.index + 1,
    lastLogIndex: found.base.index + found.entries.length,
    clusterId: identity.clusterId,
  });
  const { abstainsThrough } = hardState;
  if (abstainsThrough > 0) log.warn("made anew: no votes until it has caught up", { abstainsThrough });
}

function logEvent(log: Logger, event: NodeEvent): void {
  const { kind, ...fields } = event;
  switch (kind) {
    case "refused":
    case "diskFull":
    case "followerLostEntries":
      return log.error(kind, fields);
    case "snapshotFailed":
    case "snapshotRefused":
    case "snapshotUnreadable":
      return log.warn(kind, fields);
    case "becamePreCandidate":
    case "compacted":
    case "snapshotSending":
      return log.debug(kind, fields);
    default:
      return log.info(kind, fields);
  }
}
