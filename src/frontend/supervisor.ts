/**
 * Starts, finds, replaces and stops the server processes of one state directory. One thing at a time:
 * whatever is asked meanwhile waits its turn (F1). But a server that StartServer has launched is waited for
 * outside of any turn (pending-starts.ts), so that several get ready at the same time. A server that dies
 * stays dead until somebody asks for it.
 *
 * StartRaft goes in this order, so that a crash in between never leaves an old or a mixed cluster:
 *   1. see that the new servers' ports are ours to take     (if not: nothing has happened)
 *   2. kill every server, wait until each has let go         (if not: the old cluster's files are whole)
 *   3. replace the record by one that says "starting"        (from here on the old cluster is gone)
 *   4. erase the old servers' files, start the new ones, wait for all of them and one leader
 *   5. replace the record by one that says "started"         (from here on the new cluster exists)
 *
 * ReplaceServer is for a server that lost its disk or refuses what is there. Its files are set aside
 * (replaced-server.ts), then it is launched with --rejoin: the new process asks every other server for its
 * term before it makes itself anew (src/server/rejoin.ts), and does nothing unless all of them answer and vote.
 */
import { randomUUID } from "node:crypto";
import { RaftKvError } from "../base/errors.ts";
import type { Logger } from "../observability/logger.ts";
import type { ServerId } from "../raft/entry.ts";
import type { FileSystem } from "../storage/file-system.ts";
import { ClusterLink } from "./cluster-link.ts";
import { readClusterRecord, writeClusterRecord } from "./cluster-record.ts";
import { MAX_SERVERS, NO_CLUSTER_MESSAGE, type Cluster, type ClusterState } from "./cluster.ts";
import { findRecordless } from "./found-cluster.ts";
import type { FrontendLock } from "./frontend-lock.ts";
import { Launcher, type Creation, type LaunchedServer } from "./launcher.ts";
import { eraseServers } from "./old-servers.ts";
import { PendingStarts, type PendingStart } from "./pending-starts.ts";
import { ProcessTable } from "./process-table.ts";
import { STATUS_TIMEOUT_MS, waitForLeader, waitUntilReady } from "./readiness.ts";
import { setServerAside } from "./replaced-server.ts";
import { ServerPorts } from "./server-ports.ts";
import { deadlineIn, remainingMs, waitUntil, type Deadline } from "./waiting.ts";

/** In milliseconds. */
export interface SupervisorTimings {
  /** From the call of startRaft to its answer, but for the moment that it takes to kill what it started. */
  readonly startRaftMs: number;
  readonly startServerMs: number;
  /** From SIGTERM to SIGKILL. */
  readonly graceMs: number;
  /** How long a port may stay taken after its server is gone. */
  readonly portMs: number;
}

const TIMINGS: SupervisorTimings = {
  startRaftMs: 14_000,
  startServerMs: 10_000,
  graceMs: 3000,
  portMs: 3000,
};

/** Less than this is not enough to start a cluster: better to leave the old one alone. */
const MIN_START_MS = 3000;
/** How long a server that is there and does not answer is given to answer or to be gone. */
const DOUBT_MS = 1000;
/** With fewer servers a majority does not outlive the loss of one disk. */
const MIN_REPLACEABLE = 3;
/** How long the others may take to say that they are there when a server is to be replaced. */
const WITNESS_TIMEOUT_MS = 3000;

export interface SupervisorOptions {
  readonly fs: FileSystem;
  /** Absolute. */
  readonly stateDirectory: string;
  /** Of the state directory. Taken before anything is done there; whoever made it releases it. */
  readonly lock: FrontendLock;
  /** A server's "host:port". */
  readonly addressOf: (id: ServerId) => string;
  readonly portOf: (id: ServerId) => number;
  /** Where servers listen on this machine. */
  readonly hosts: readonly string[];
  /** The frontend's own. */
  readonly ownPort: number;
  /** Whom `adopt` asks when there is neither a record nor a state file. */
  readonly active: readonly ServerId[];
  /** What starts this program again. */
  readonly command: readonly string[];
  readonly logger: Logger;
  /** Told whenever there is another cluster to route to, or none. */
  readonly onState: (state: ClusterState) => void;
  readonly timings?: Partial<SupervisorTimings>;
}

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #timings: SupervisorTimings;
  readonly #processes: ProcessTable;
  readonly #ports: ServerPorts;
  readonly #launcher: Launcher;
  readonly #starts: PendingStarts;
  /** Aborted when the supervisor stops. */
  readonly #stop = new AbortController();
  #cluster: Cluster | null = null;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#timings = { ...TIMINGS, ...options.timings };
    this.#processes = new ProcessTable(options.stateDirectory);
    this.#ports = new ServerPorts(options);
    this.#launcher = new Launcher(options);
    const { addressOf } = options;
    this.#starts = new PendingStarts({ processes: this.#processes, ports: this.#ports, addressOf });
  }

  /** The cluster as `adopt` or startRaft left it; its servers may run or not. */
  get cluster(): Cluster | null {
    return this.#cluster;
  }

  /**
   * Replaces whatever cluster there is by a fresh one of servers 0 to `servers - 1`; resolves when all of
   * them serve and one leads. Rejects with RaftKvError: "invalidArgument"; "failedPrecondition" when a
   * port is taken, a server ended, or another frontend has the directory; "unavailable" when it took
   * too long; "io".
   */
  startRaft(servers: number): Promise<void> {
    const deadline = deadlineIn(this.#timings.startRaftMs);
    return this.#inTurn(async () => {
      this.#checkSize(servers);
      if (remainingMs(deadline) < Math.min(MIN_START_MS, this.#timings.startRaftMs / 2)) {
        throw new RaftKvError("unavailable", "another start is still under way: try again");
      }
      await this.#options.lock.take();
      const cluster = { clusterId: randomUUID(), servers };
      await this.#endOldCluster(cluster);
      await this.#createCluster(cluster, deadline);
    });
  }

  /**
   * Starts a server of the cluster with the state it left; resolves when it serves. One that runs, even
   * stopped, is left as it is, and one that is just being started is waited for. Rejects with RaftKvError as
   * startRaft, and "noCluster"; one that is not ready in time and has not ended is left alone.
   */
  async startServer(id: ServerId): Promise<void> {
    const start = await this.#inTurn(() => this.#startServer(id));
    await start?.ready;
  }

  /**
   * Starts a server of the cluster that is not running anew, without the state it left, which is set aside;
   * resolves when it serves, to the directory where its old files are (null: there were none). It catches up
   * then, and votes again once it has. Rejects with RaftKvError as startServer, and "failedPrecondition"
   * with nothing changed when the server runs, or when any other does not or has not caught up itself.
   */
  async replaceServer(id: ServerId): Promise<string | null> {
    const { start, aside } = await this.#inTurn(() => this.#replaceServer(id));
    try {
      await start.ready;
    } catch (error) {
      throw withOldFiles(error, aside);
    }
    return aside;
  }

  /**
   * Takes over the cluster of an earlier frontend: the recorded one, or else the one that is found, which
   * is recorded then. Rejects with RaftKvError when another frontend has the directory, when the record
   * cannot be read, and as findRecordless.
   */
  adopt(): Promise<void> {
    return this.#inTurn(async () => {
      const { fs, stateDirectory, lock, logger } = this.#options;
      await lock.take();
      const record = await readClusterRecord(fs, stateDirectory);
      if (record?.state === "starting") {
        logger.warn("a start of a cluster was not finished: call StartRaft again", { ...record });
        return this.#settle(null);
      }
      const found = record ?? (await findRecordless(this.#options));
      if (found === null) return this.#settle(null);
      const cluster = { clusterId: found.clusterId, servers: found.servers };
      // Nobody may take a cluster that was there once for none: a fresh one would erase it.
      if (record === null) await writeClusterRecord(fs, stateDirectory, { ...cluster, state: "started" });
      logger.info("cluster taken over", { ...cluster });
      this.#settle(cluster);
    });
  }

  /**
   * Stops every server process of this state directory, whoever started it, unless the directory is another
   * frontend's. Nothing can be started afterwards.
   */
  stopAll(): Promise<void> {
    const reason = new RaftKvError("unavailable", "the frontend is stopping");
    this.#stop.abort(reason);
    return this.#enqueue(async () => {
      this.#settle(null);
      await this.#starts.giveUp(reason);
      if (this.#options.lock.isOurs) await this.#processes.endAll(this.#timings.graceMs);
    });
  }

  /** As #enqueue, unless the supervisor is stopping by then. */
  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    return this.#enqueue(() => {
      this.#stop.signal.throwIfAborted();
      return run();
    });
  }

  /** Runs it after everything that was asked before has ended, however it ended. */
  #enqueue<T>(run: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(run);
    this.#last = turn.catch(() => {});
    return turn;
  }

  #settle(cluster: Cluster | null): void {
    this.#cluster = cluster;
    this.#options.onState(cluster === null ? { kind: "none" } : { kind: "running", cluster });
  }

  #checkSize(servers: number): void {
    if (!Number.isSafeInteger(servers) || servers < 1 || servers > MAX_SERVERS) {
      const what = `a cluster has 1 to ${MAX_SERVERS} servers, not ${servers}`;
      throw new RaftKvError("invalidArgument", what);
    }
    const { portOf, ownPort } = this.#options;
    for (let id = 0; id < servers; id++) {
      const port = portOf(id);
      if (port <= 65_535 && port !== ownPort) continue;
      const why = port === ownPort ? "is the frontend's own" : "does not exist";
      throw new RaftKvError("invalidArgument", `port ${port} of server ${id} ${why}: change base_port`);
    }
  }

  #clusterWith(id: ServerId): Cluster {
    if (!Number.isSafeInteger(id) || id < 0) {
      throw new RaftKvError("invalidArgument", `a server's id is 0 or more, not ${id}`);
    }
    const cluster = this.#cluster;
    if (cluster === null) throw new RaftKvError("noCluster", NO_CLUSTER_MESSAGE);
    if (id < cluster.servers) return cluster;
    const members = `servers 0..${cluster.servers - 1}`;
    throw new RaftKvError(
      "failedPrecondition",
      `server ${id} is not in the cluster (${members}); adding servers is not supported yet`,
    );
  }

  /** The start that was found or made; null when the server runs. */
  async #startServer(id: ServerId): Promise<PendingStart | null> {
    const cluster = this.#clusterWith(id);
    await this.#options.lock.take();
    const pending = this.#starts.get(id);
    // A process that has ended meanwhile gets nobody a server: that start has only not been told yet.
    if (pending?.server.ending() === null) return pending;
    await pending?.ready.catch(() => {});
    const late = this.#starts.again(id, cluster, deadlineIn(this.#timings.startServerMs));
    if (late !== null) return late;
    const link = new ClusterLink(cluster, this.#options.addressOf);
    try {
      if (await this.#runs(link, id)) return null;
      await this.#ports.waitUntilFree([id], this.#timings.portMs);
      return this.#launch(id, cluster, null);
    } finally {
      link.close();
    }
  }

  async #replaceServer(
    id: ServerId,
  ): Promise<{ readonly start: PendingStart; readonly aside: string | null }> {
    const { fs, stateDirectory, lock, addressOf, logger } = this.#options;
    const cluster = this.#clusterWith(id);
    if (cluster.servers < MIN_REPLACEABLE) {
      const why = `in a cluster of ${cluster.servers} nobody else is sure to have what it had`;
      throw new RaftKvError("failedPrecondition", `server ${id} cannot be replaced: ${why}`);
    }
    await lock.take();
    const link = new ClusterLink(cluster, addressOf);
    try {
      if (this.#starts.get(id) !== null || (await this.#runs(link, id))) {
        throw new RaftKvError(
          "failedPrecondition",
          `server ${id} runs: stop it first, if it is to be replaced`,
        );
      }
      await this.#ports.waitUntilFree([id], this.#timings.portMs);
      await this.#checkWitnesses(link, id);
    } finally {
      link.close();
    }
    const aside = await setServerAside(fs, stateDirectory, id, new Date());
    logger.info("server is replaced", { id, oldFiles: aside });
    try {
      return { start: this.#launch(id, cluster, { kind: "rejoin", ...cluster }), aside };
    } catch (error) {
      throw withOldFiles(error, aside);
    }
  }

  /** Nothing is to be set aside for a replacement that the new process would refuse. */
  async #checkWitnesses(link: ClusterLink, id: ServerId): Promise<void> {
    const statuses = await link.statuses(WITNESS_TIMEOUT_MS);
    const silent = statuses.flatMap((status, other) => (status === null && other !== id ? [other] : []));
    if (silent.length > 0) {
      const who = silent.length === 1 ? `server ${silent[0]} does` : `servers ${silent.join(", ")} do`;
      const what = `server ${id} can be replaced only while every other server runs, and ${who} not answer`;
      throw new RaftKvError("failedPrecondition", `${what}: nothing was changed`);
    }
    const behind = statuses.find((status) => status?.abstains === true && status.id !== id);
    if (behind === undefined || behind === null) return;
    const why = `server ${behind.id} was replaced and has not caught up yet: wait, then try again`;
    // It may be that nobody can be elected for the other to catch up with.
    const otherwise = `if there is no leader, start server ${id} with its old files first`;
    throw new RaftKvError("failedPrecondition", `server ${id} cannot be replaced: ${why}; ${otherwise}`);
  }

  #launch(id: ServerId, cluster: Cluster, creation: Creation | null): PendingStart {
    const launched = this.#launcher.launch(id, creation);
    return this.#starts.add(launched, cluster, deadlineIn(this.#timings.startServerMs));
  }

  /** Steps 1 to 3 of StartRaft. When it rejects, the old cluster is what it was, save that servers may be dead. */
  async #endOldCluster(next: Cluster): Promise<void> {
    const { fs, stateDirectory, onState } = this.#options;
    const { portMs } = this.#timings;
    const ids = serverIds(next);
    const running = new Set((await this.#processes.find()).map(({ id }) => id));
    await this.#ports.waitUntilFree(
      ids.filter((id) => !running.has(id)),
      portMs,
    );
    const old = this.#cluster;
    onState({ kind: "changing" });
    try {
      await this.#starts.giveUp(new RaftKvError("unavailable", "a fresh cluster is started by StartRaft"));
      // Their state is about to be erased: there is nothing that a clean end could save.
      await this.#processes.endAll(0);
      await this.#ports.waitUntilFree(ids, portMs);
      await writeClusterRecord(fs, stateDirectory, { ...next, state: "starting" });
    } catch (error) {
      this.#settle(old);
      throw error;
    }
  }

  /** Steps 4 and 5. When it rejects there is no cluster. */
  async #createCluster(cluster: Cluster, deadline: Deadline): Promise<void> {
    const { fs, stateDirectory, addressOf } = this.#options;
    const link = new ClusterLink(cluster, addressOf);
    const watch = { link, ports: this.#ports, deadline, signal: this.#stop.signal };
    const launched: LaunchedServer[] = [];
    try {
      await eraseServers(fs, stateDirectory);
      for (const id of serverIds(cluster)) {
        launched.push(this.#launcher.launch(id, { kind: "bootstrap", ...cluster }));
      }
      await Promise.all(launched.map((server) => waitUntilReady(server, watch)));
      await waitForLeader(launched, watch);
      await writeClusterRecord(fs, stateDirectory, { ...cluster, state: "started" });
      this.#settle(cluster);
    } catch (error) {
      await Promise.allSettled(launched.map((server) => this.#processes.end(server, 0)));
      this.#settle(null);
      throw error;
    } finally {
      link.close();
    }
  }

  /**
   * Whether the server is there. One that was just killed may still be listed, and answers no more: it is
   * waited for. One that neither answers nor goes is stopped, or busy, and runs.
   */
  async #runs(link: ClusterLink, id: ServerId): Promise<boolean> {
    if ((await link.status(id, STATUS_TIMEOUT_MS)) !== null) return true;
    const found = (await this.#processes.find()).find((server) => server.id === id);
    if (found === undefined) return false;
    let gone = false;
    await waitUntil(deadlineIn(DOUBT_MS), async () => {
      gone = await this.#processes.isGone(found);
      return gone || (await link.status(id, STATUS_TIMEOUT_MS)) !== null;
    });
    return !gone;
  }
}

/** The error of a replacement, which also says where the old files are (null: there were none). */
function withOldFiles(error: unknown, aside: string | null): unknown {
  if (aside === null || !(error instanceof RaftKvError)) return error;
  return new RaftKvError(error.code, `${error.message}; its old files are in ${aside}`, { cause: error });
}

function serverIds({ servers }: Cluster): readonly ServerId[] {
  return Array.from({ length: servers }, (_, id) => id);
}
