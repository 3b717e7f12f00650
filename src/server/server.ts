/** One Raft server as a process: files, node, peers and service put together. */
import type { Config } from "../config/config.ts";
import { serverAddress, serverPort } from "../config/config.ts";
import { KvStateMachine } from "../kv/state-machine.ts";
import { Node } from "../node/node.ts";
import { createLogger, type Logger } from "../observability/logger.ts";
import type { ServerId } from "../raft/entry.ts";
import type { RaftEvent } from "../raft/event.ts";
import type { RaftOptions } from "../raft/options.ts";
import { listenHosts } from "../rpc/listen-hosts.ts";
import { PeerTransport } from "../rpc/peer-transport.ts";
import { RpcServer } from "../rpc/rpc-server.ts";
import { OsFileSystem } from "../storage/os-file-system.ts";
import { createServerStore, openServerStore } from "../storage/server-store.ts";
import { keyValueService } from "./key-value-service.ts";
import { systemClock } from "./system-clock.ts";
import { randomInt } from "./system-random.ts";

export interface ServerOptions {
  readonly config: Config;
  readonly id: ServerId;
  readonly stateDirectory: string;
  /** Creates the server's state first, for servers 0..servers-1; null: it must be there already. */
  readonly bootstrap: { readonly servers: number; readonly clusterId: string } | null;
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
  const { config, id, stateDirectory, bootstrap, version } = options;
  const log = createLogger("server", String(id));
  const fs = new OsFileSystem();
  if (bootstrap !== null) {
    const servers = Array.from({ length: bootstrap.servers }, (_, server) => server);
    await createServerStore(fs, stateDirectory, { clusterId: bootstrap.clusterId, serverId: id, servers });
  }
  const { store, recovered } = await openServerStore(fs, stateDirectory, id);
  const { identity, hardState, entries } = recovered;
  for (const repair of recovered.repairs) log.warn("repaired", { repair });
  log.info("recovered", { ...hardState, lastLogIndex: entries.length, clusterId: identity.clusterId });

  const failure = Promise.withResolvers<void>();
  const peers = identity.servers.filter((server) => server !== id);
  const node = new Node({
    raftOptions: raftOptions(config, id, identity.servers),
    tickMs: config.raft.tickMs,
    limits: { ...config.limits, maxPendingRpcs: MAX_PENDING_RPCS },
    clock: systemClock,
    transport: new PeerTransport(
      identity.clusterId,
      new Map(peers.map((peer) => [peer, serverAddress(config, peer)])),
    ),
    store,
    recovered,
    machine: new KvStateMachine(),
    onEvent: (event) => logEvent(log, event),
    onFailure: (error) => failure.reject(error),
  });
  const rpcServer = new RpcServer();
  rpcServer.add("KeyValueStore", keyValueService({ node, identity, limits: config.limits, version }));
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

function logEvent(log: Logger, event: RaftEvent): void {
  const { kind, ...fields } = event;
  if (kind === "refused") log.error(kind, fields);
  else if (kind === "becamePreCandidate") log.debug(kind, fields);
  else log.info(kind, fields);
}
