/** One Raft server as a process: files, node, peers and service put together. */
import { serverAddress, type Config } from "../config/config.ts";
import type { PeerAddress } from "../config/peers.ts";
import { KvStateMachine } from "../kv/state-machine.ts";
import { DiskRoom } from "../node/disk-room.ts";
import type { NodeEvent } from "../node/node-event.ts";
import { Node } from "../node/node.ts";
import { MAX_CHUNK_BYTES } from "../node/peer-message.ts";
import { createLogger, type Logger } from "../observability/logger.ts";
import { memberOf } from "../raft/configuration.ts";
import type { ServerId } from "../raft/entry.ts";
import type { RaftOptions } from "../raft/options.ts";
import { PeerTransport } from "../rpc/peer-transport.ts";
import { RpcServer } from "../rpc/rpc-server.ts";
import { OsFileSystem } from "../storage/os-file-system.ts";
import { openServerStore } from "../storage/server-store.ts";
import type { Recovered } from "../storage/store.ts";
import { Addresses } from "./addresses.ts";
import { createServer, type Creation } from "./creation.ts";
import { keyValueService } from "./key-value-service.ts";
import { OpenSnapshots } from "./open-snapshots.ts";
import { schedulingSwitch } from "./scheduling-policy.ts";
import { Scheduling, type Work } from "./scheduling.ts";
import { systemClock } from "./system-clock.ts";
import { randomInt } from "./system-random.ts";

export interface ServerOptions {
  readonly config: Config;
  readonly id: ServerId;
  readonly stateDirectory: string;
  /** Creates the server's state first; null: it must be there already. */
  readonly creation: Creation | null;
  readonly listening: Listening;
  /** Members that this server reaches elsewhere than their addresses say. */
  readonly via: readonly PeerAddress[];
  readonly version: string;
  /** Aborted, a start that waits for other servers ends soon. */
  readonly stop: AbortSignal;
}

/** Where the server listens: at the first host for sure, at the others where the machine has them. */
export interface Listening {
  readonly hosts: readonly string[];
  readonly port: number;
  /** Where config.ini says, for want of other words. */
  readonly byDefault: boolean;
}

export interface RunningServer {
  /** Resolves after `stop`; rejects when the server had to end by itself, as after a failed fsync. */
  readonly stopped: Promise<void>;
  /** Whether it belongs to no cluster yet, and is to be added to one. */
  waits(): boolean;
  /** Hands leadership over first, while it still serves. */
  stop(): Promise<void>;
}

/** One AppendEntries: enough to fill a fast disk's fsync, little enough to be read and stored within a heartbeat. */
const MAX_BATCH_ENTRIES = 1024;
const MAX_BATCH_BYTES = 128 * 1024;
const MAX_INFLIGHT = 8;
/** Each may have a client to be answered, which costs some 50 microseconds. */
const MAX_COMMITTED_PER_BATCH = 256;
const MAX_PENDING_RPCS = 1024;
const MAX_PENDING_READS = 8192;

/**
 * Recovers the server's state and serves. Rejects with RaftKvError when the state cannot be used
 * ("failedPrecondition", "corruption") or a file or the port cannot be had ("io").
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { config, id, stateDirectory, creation, version, listening } = options;
  const log = createLogger("server", String(id));
  const fs = new OsFileSystem();
  const addresses = new Addresses(config, options.via);
  if (creation !== null) {
    await createServer({ fs, stateDirectory, id, addresses, ...listening }, creation, options.stop);
  }
  const diskRoom = new DiskRoom(systemClock);
  const { store, recovered } = await openServerStore(fs, stateDirectory, id, {
    whenFull: (error) => diskRoom.whenFull(error),
  });
  const { identity } = recovered;
  logRecovered(log, recovered);

  const failure = Promise.withResolvers<void>();
  const node = new Node({
    raftOptions: raftOptions(config, id),
    tickMs: config.raft.tickMs,
    limits: { ...config.limits, maxPendingRpcs: MAX_PENDING_RPCS, maxPendingReads: MAX_PENDING_READS },
    snapshots: { ...config.snapshot, chunkBytes: MAX_CHUNK_BYTES },
    clock: systemClock,
    transport: new PeerTransport(
      identity.clusterId,
      (member) => addresses.reached(member),
      config.raft.electionTimeoutMaxMs,
    ),
    store,
    diskRoom,
    recovered,
    machine: new KvStateMachine(),
    onEvent: (event) => logEvent(log, event),
    onFailure: (error) => failure.reject(error),
  });
  if (listening.byDefault) {
    const own = memberOf(node.status().configuration, id);
    if (own !== null) checkPlace(log, addresses.told(own), serverAddress(config, id));
  }
  const rpcServer = new RpcServer();
  const snapshots = new OpenSnapshots(systemClock);
  rpcServer.add(
    "KeyValueStore",
    keyValueService({
      node,
      snapshots,
      identity,
      addresses,
      limits: config.limits,
      clock: systemClock,
      version,
    }),
  );
  try {
    await rpcServer.listen(listening.hosts, listening.port);
  } catch (error) {
    await node.stop();
    throw error;
  }
  node.start();
  const setPolicy = schedulingSwitch();
  const work = (): Work => {
    const { calls, together } = rpcServer.load;
    return { calls, together, entries: node.appliedIndex };
  };
  const scheduling = setPolicy === null ? null : new Scheduling(systemClock, work, setPolicy);
  log.info("serving", { hosts: listening.hosts, port: listening.port, pid: process.pid, version });

  return {
    stopped: failure.promise,
    waits: () => node.status().configuration.length === 0,
    async stop() {
      log.info("stopping");
      scheduling?.stop();
      await snapshots.close();
      // It hands leadership over, for which it has to hear the others.
      await node.stop();
      await rpcServer.close();
      failure.resolve();
    },
  };
}

function raftOptions(config: Config, id: ServerId): RaftOptions {
  const { tickMs, heartbeatMs, electionTimeoutMinMs, electionTimeoutMaxMs } = config.raft;
  return {
    id,
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

/** Both may be one place in different words, so it is no error. */
function checkPlace(log: Logger, told: string, here: string): void {
  if (told === here) return;
  const what = "listens where config.ini says, but the others look for it elsewhere: give --listen";
  log.warn(what, { address: told, here });
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
