/**
 * Starts, finds, replaces and stops the server processes of one state directory. One thing at a time:
 * whatever is asked meanwhile waits its turn (F1). But a server that StartServer has launched is waited for
 * outside of any turn (pending-starts.ts), so that several get ready at the same time. A server that dies
 * stays dead until somebody asks for it.
 *
 * A cluster is not for ever what it was started as: its leader says who belongs to it, and the record follows.
 * StartServer of an id that does not belong to it makes a server that waits to be added (--join), or starts the one
 * that was removed; then the leader is asked to add it (membership.ts). A server that is removed is stopped, and
 * keeps its files.
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
import { MAX_MEMBERS, type Member } from "../raft/configuration.ts";
import type { ServerId } from "../raft/entry.ts";
import type { FileSystem } from "../storage/file-system.ts";
import { stateFileServer } from "../storage/server-files.ts";
import { budgetFromNow } from "./call-budget.ts";
import { readClusterRecord, writeClusterRecord, type ClusterRecord } from "./cluster-record.ts";
import {
  describeMembers,
  idsOf,
  memberWith,
  newCluster,
  NO_CLUSTER_MESSAGE,
  withAddresses,
  withoutAddresses,
  type Cluster,
  type ClusterState,
} from "./cluster.ts";
import { findRecordless } from "./found-cluster.ts";
import type { FrontendLock } from "./frontend-lock.ts";
import { Launcher, type Creation, type LaunchedServer } from "./launcher.ts";
import { DEFAULT_TIMEOUT_MS } from "./membership.ts";
import { eraseServers } from "./old-servers.ts";
import { PendingStarts, type PendingStart } from "./pending-starts.ts";
import { ProcessTable } from "./process-table.ts";
import { STATUS_TIMEOUT_MS, waitForLeader, waitUntilReady } from "./readiness.ts";
import { checkWitnesses, setServerAside, withOldFiles } from "./replaced-server.ts";
import { ServerClients } from "./server-clients.ts";
import type { ServerKeeper } from "./server-keeper.ts";
import { ServerPorts } from "./server-ports.ts";
import { deadlineIn, remainingMs, waitUntil, type Deadline } from "./waiting.ts";

/** In milliseconds. */
export interface SupervisorTimings {
  /** From the call of startRaft to its answer, but for the moment that it takes to kill what it started. */
  readonly startRaftMs: number;
  readonly startServerMs: number;
  /** The same for a server that looks for the cluster first, to be added to it; and for its leader. */
  readonly joinMs: number;
  /** From SIGTERM to SIGKILL. */
  readonly graceMs: number;
  /** How long a port may stay taken after its server is gone. */
  readonly portMs: number;
}

const TIMINGS: SupervisorTimings = {
  startRaftMs: 14_000,
  startServerMs: 10_000,
  joinMs: 18_000,
  graceMs: 3000,
  portMs: 3000,
};

/** Less than this is not enough to start a cluster: better to leave the old one alone. */
const MIN_START_MS = 3000;
/** How long a server that is there and does not answer is given to answer or to be gone. */
const DOUBT_MS = 1000;
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
  /** Makes a server that runs a voter of the cluster that `onState` was last told of; see Membership.admit. */
  readonly admit: (id: ServerId, deadline: Deadline) => Promise<void>;
  readonly timings?: Partial<SupervisorTimings>;
}

export class Supervisor implements ServerKeeper {
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
    this.#starts = new PendingStarts({ processes: this.#processes, ports: this.#ports });
  }

  /** The cluster as `adopt` or startRaft left it, or its leader has described it since; its servers may run or not. */
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
      const cluster = newCluster(randomUUID(), servers, this.#options.addressOf);
      await this.#endOldCluster(cluster);
      await this.#createCluster(cluster, deadline);
    });
  }

  /**
   * Starts a server with the state it left; resolves when it serves. One that runs, even stopped, is left as it
   * is, and one that is just being started is waited for. One that does not belong to the cluster, or has no
   * vote, is made a voter as well, until `callerMs` have passed (null: a default). Rejects with RaftKvError as
   * startRaft, and "noCluster"; one that is not ready in time and has not ended is left alone.
   */
  async startServer(id: ServerId, callerMs: number | null): Promise<void> {
    const { deadline } = budgetFromNow(callerMs, DEFAULT_TIMEOUT_MS);
    const { start, isVoter } = await this.#inTurn(() => this.#startServer(id));
    await start?.ready;
    if (isVoter) return;
    try {
      await this.#options.admit(id, deadline);
    } catch (error) {
      const isRefused = error instanceof RaftKvError && error.code === "failedPrecondition";
      // It would wait for nothing. In any other case it may be added yet, or be asked for again.
      if (isRefused && start !== null && !this.#isMember(id)) await this.retire(id);
      throw error;
    }
  }

  /**
   * Starts every server of the cluster that is to run here, side by side: each has its own log to read. Nobody
   * becomes a voter by it. `failed` is told of one that does not start, which keeps the others from nothing.
   */
  async bringUp(failed: (id: ServerId, error: unknown) => void): Promise<void> {
    const { addressOf } = this.#options;
    const bring = async ({ id, address }: Member): Promise<void> => {
      if (address !== addressOf(id)) return;
      try {
        const { start } = await this.#inTurn(() => this.#startServer(id));
        await start?.ready;
      } catch (error) {
        failed(id, error);
      }
    };
    await Promise.all((this.#cluster?.members ?? []).map(bring));
  }

  /** Stops a server that does not belong to the cluster any more, if it runs here; its files stay. */
  retire(id: ServerId): Promise<void> {
    return this.#inTurn(async () => {
      const { lock, logger } = this.#options;
      if (!lock.isOurs) return;
      const found = (await this.#processes.find()).filter((server) => server.id === id);
      await Promise.all(found.map((server) => this.#processes.end(server, this.#timings.graceMs)));
      logger.info("server retired: it was removed from the cluster", { id });
    });
  }

  /** The leader says who belongs to the cluster now: that is recorded, in its turn. */
  follow(cluster: Cluster): void {
    const { logger } = this.#options;
    this.#enqueue(async () => {
      if (this.#stop.signal.aborted || this.#cluster?.clusterId !== cluster.clusterId) return;
      this.#cluster = cluster;
      logger.info("the cluster has changed", { members: describeMembers(cluster) });
      if (this.#options.lock.isOurs) await this.#record(cluster, "started");
    }).catch((error: unknown) => logger.error("the cluster's change is not recorded", { error }));
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
   * cannot be read, and as findRecordless. `startsNext`: without one, startRaft comes next, and calls wait for it.
   */
  adopt({ startsNext = false } = {}): Promise<void> {
    return this.#inTurn(async () => {
      const { fs, stateDirectory, lock, logger, addressOf } = this.#options;
      const settleNone = (): void => (startsNext ? undefined : this.#settle(null));
      await lock.take();
      const record = await readClusterRecord(fs, stateDirectory);
      if (record?.state === "starting") {
        logger.warn("a start of a cluster was not finished: call StartRaft again", { ...record });
        return settleNone();
      }
      const found = record ?? (await findRecordless(this.#options));
      if (found === null) return settleNone();
      const cluster = { clusterId: found.clusterId, members: withAddresses(found.members, addressOf) };
      // Nobody may take a cluster that was there once for none: a fresh one would erase it.
      if (record === null) await this.#record(cluster, "started");
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

  #record({ clusterId, members }: Cluster, state: ClusterRecord["state"]): Promise<void> {
    const { fs, stateDirectory, addressOf } = this.#options;
    const record = { state, clusterId, members: withoutAddresses(members, addressOf) };
    return writeClusterRecord(fs, stateDirectory, record);
  }

  #settle(cluster: Cluster | null): void {
    this.#cluster = cluster;
    this.#options.onState(cluster === null ? { kind: "none" } : { kind: "running", cluster });
  }

  #checkSize(servers: number): void {
    if (!Number.isSafeInteger(servers) || servers < 1 || servers > MAX_MEMBERS) {
      const what = `a cluster has 1 to ${MAX_MEMBERS} servers, not ${servers}`;
      throw new RaftKvError("invalidArgument", what);
    }
    for (let id = 0; id < servers; id++) this.#checkPort(id);
  }

  #checkPort(id: ServerId): void {
    const { portOf, ownPort } = this.#options;
    const port = portOf(id);
    if (port <= 65_535 && port !== ownPort) return;
    const why = port === ownPort ? "is the frontend's own" : "does not exist";
    throw new RaftKvError("invalidArgument", `port ${port} of server ${id} ${why}: change base_port`);
  }

  #isMember(id: ServerId): boolean {
    return this.#cluster !== null && memberWith(this.#cluster, id) !== null;
  }

  /** The cluster there is, for something to be done about server `id`. */
  #clusterFor(id: ServerId): Cluster {
    if (!Number.isSafeInteger(id) || id < 0) {
      throw new RaftKvError("invalidArgument", `a server's id is 0 or more, not ${id}`);
    }
    if (this.#cluster === null) throw new RaftKvError("noCluster", NO_CLUSTER_MESSAGE);
    return this.#cluster;
  }

  /** `start` null: the server runs. */
  async #startServer(id: ServerId): Promise<{ start: PendingStart | null; isVoter: boolean }> {
    const cluster = this.#clusterFor(id);
    const member = memberWith(cluster, id);
    if (member === null) this.#checkNewcomer(id, cluster);
    else this.#checkIsHere(member);
    await this.#options.lock.take();
    const hasFiles = await this.#hasStateFile(id);
    const start = await this.#startOrFind(id, this.#withServer(cluster, id), member === null && !hasFiles);
    return { start, isVoter: member?.voter === true };
  }

  async #startOrFind(id: ServerId, cluster: Cluster, joins: boolean): Promise<PendingStart | null> {
    const pending = this.#starts.get(id);
    // A process that has ended meanwhile gets nobody a server: that start has only not been told yet.
    if (pending?.server.ending() === null) return pending;
    await pending?.ready.catch(() => {});
    const late = this.#starts.again(id, cluster, deadlineIn(this.#timings.startServerMs));
    if (late !== null) return late;
    const clients = new ServerClients(cluster);
    try {
      if (await this.#runs(clients, id)) return null;
    } finally {
      clients.close();
    }
    await this.#ports.waitUntilFree([id], this.#timings.portMs);
    if (!joins) return this.#launch(id, cluster, null);
    // A log without a state file: a former start was cut short, or somebody removed the state file.
    await setServerAside(this.#options.fs, this.#options.stateDirectory, id, new Date());
    const others = cluster.members.filter((member) => member.id !== id);
    return this.#launch(id, cluster, { kind: "join", cluster: { ...cluster, members: others } });
  }

  #checkNewcomer(id: ServerId, { members }: Cluster): void {
    this.#checkPort(id);
    if (members.length < MAX_MEMBERS) return;
    const what = `the cluster has ${members.length} servers already: remove one before server ${id} is added`;
    throw new RaftKvError("failedPrecondition", what);
  }

  /** A member that is elsewhere is not started here: files that it may have here are of before it moved. */
  #checkIsHere({ id, address }: Member): void {
    const here = this.#options.addressOf(id);
    if (address === here) return;
    const what = `server ${id} is at ${address}, not at ${here}: start it there`;
    throw new RaftKvError("failedPrecondition", what);
  }

  async #hasStateFile(id: ServerId): Promise<boolean> {
    const names = (await this.#options.fs.listDirectory(this.#options.stateDirectory)) ?? [];
    return names.some((name) => stateFileServer(name) === id);
  }

  /** With a server that runs here, though it may not belong to it: where config.ini says. */
  #withServer(cluster: Cluster, id: ServerId): Cluster {
    const here = { id, address: this.#options.addressOf(id), voter: false };
    if (memberWith(cluster, id) !== null) return cluster;
    return { ...cluster, members: [...cluster.members, here] };
  }

  async #replaceServer(
    id: ServerId,
  ): Promise<{ readonly start: PendingStart; readonly aside: string | null }> {
    const { fs, stateDirectory, lock, logger } = this.#options;
    const cluster = this.#clusterFor(id);
    const member = memberWith(cluster, id);
    if (member === null) {
      const what = `server ${id} is not in the cluster (${describeMembers(cluster)})`;
      throw new RaftKvError("failedPrecondition", `${what}: start it (raftkv start-server ${id}) to add it`);
    }
    this.#checkIsHere(member);
    await lock.take();
    const clients = new ServerClients(cluster);
    try {
      if (this.#starts.get(id) !== null || (await this.#runs(clients, id))) {
        throw new RaftKvError(
          "failedPrecondition",
          `server ${id} runs: stop it first, if it is to be replaced`,
        );
      }
      await this.#ports.waitUntilFree([id], this.#timings.portMs);
      checkWitnesses(cluster, id, await clients.statuses(WITNESS_TIMEOUT_MS));
    } finally {
      clients.close();
    }
    const aside = await setServerAside(fs, stateDirectory, id, new Date());
    logger.info("server is replaced", { id, oldFiles: aside });
    try {
      return { start: this.#launch(id, cluster, { kind: "rejoin", cluster }), aside };
    } catch (error) {
      throw withOldFiles(error, aside);
    }
  }

  #launch(id: ServerId, cluster: Cluster, creation: Creation | null): PendingStart {
    const { startServerMs, joinMs } = this.#timings;
    const launched = this.#launcher.launch(id, creation);
    return this.#starts.add(
      launched,
      cluster,
      deadlineIn(creation?.kind === "join" ? joinMs : startServerMs),
    );
  }

  /** Steps 1 to 3 of StartRaft. When it rejects, the old cluster is what it was, save that servers may be dead. */
  async #endOldCluster(next: Cluster): Promise<void> {
    const { onState } = this.#options;
    const { portMs } = this.#timings;
    const ids = idsOf(next);
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
      await this.#record(next, "starting");
    } catch (error) {
      this.#settle(old);
      throw error;
    }
  }

  /** Steps 4 and 5. When it rejects there is no cluster. */
  async #createCluster(cluster: Cluster, deadline: Deadline): Promise<void> {
    const { fs, stateDirectory } = this.#options;
    const clients = new ServerClients(cluster);
    const watch = { clients, ports: this.#ports, deadline, signal: this.#stop.signal };
    const launched: LaunchedServer[] = [];
    try {
      await eraseServers(fs, stateDirectory);
      for (const id of idsOf(cluster)) {
        launched.push(this.#launcher.launch(id, { kind: "bootstrap", cluster }));
      }
      await Promise.all(launched.map((server) => waitUntilReady(server, watch)));
      await waitForLeader(launched, watch);
      await this.#record(cluster, "started");
      this.#settle(cluster);
    } catch (error) {
      await Promise.allSettled(launched.map((server) => this.#processes.end(server, 0)));
      this.#settle(null);
      throw error;
    } finally {
      clients.close();
    }
  }

  /**
   * Whether the server is there. One that was just killed may still be listed, and answers no more: it is
   * waited for. One that neither answers nor goes is stopped, or busy, and runs.
   */
  async #runs(clients: ServerClients, id: ServerId): Promise<boolean> {
    if ((await clients.status(id, STATUS_TIMEOUT_MS)) !== null) return true;
    const found = (await this.#processes.find()).find((server) => server.id === id);
    if (found === undefined) return false;
    let gone = false;
    await waitUntil(deadlineIn(DOUBT_MS), async () => {
      gone = await this.#processes.isGone(found);
      return gone || (await clients.status(id, STATUS_TIMEOUT_MS)) !== null;
    });
    return !gone;
  }
}
