/**
 * The frontend process: routes clients to the servers of a cluster. It supervises the servers of this machine, or
 * is pointed at servers that others start, and then has no files.
 */
import { resolve } from "node:path";
import { serverAddress, serverPort, type Config } from "../config/config.ts";
import { createLogger } from "../observability/logger.ts";
import type { ServerId } from "../raft/entry.ts";
import { listenHosts } from "../rpc/listen-hosts.ts";
import { RpcServer } from "../rpc/rpc-server.ts";
import { OsFileSystem } from "../storage/os-file-system.ts";
import { CurrentCluster } from "./current-cluster.ts";
import { FrontendLock } from "./frontend-lock.ts";
import { frontEndService } from "./frontend-service.ts";
import { selfCommand } from "./launcher.ts";
import { Membership } from "./membership.ts";
import { Router } from "./router.ts";
import { findCluster, seedAddresses, type Seed } from "./seed-search.ts";
import { NO_KEEPER, type ServerKeeper } from "./server-keeper.ts";
import { Supervisor, type SupervisorTimings } from "./supervisor.ts";

/** How often the servers are asked who belongs to the cluster while nothing goes wrong. */
const FOLLOW_MS = 2000;

export interface FrontendOptions {
  readonly config: Config;
  /**
   * How many servers a cluster gets when none is recorded; a recorded one is brought up instead, and
   * never erased. null: nothing is started.
   */
  readonly initialServers: number | null;
  readonly version: string;
  /** Aborted while the frontend starts: it gives up, and stops what it has started. */
  readonly stop?: AbortSignal;
  /** What starts a server; left out: this program. */
  readonly command?: readonly string[];
  readonly timings?: Partial<SupervisorTimings>;
}

export interface Frontend {
  /** Stops every server of the state directory, then the frontend. */
  stop(): Promise<void>;
}

/**
 * Resolves when the frontend serves, with its initial cluster if there is to be one. The port comes
 * first: where another frontend is at work, nothing is touched. Rejects with RaftKvError "io" when the
 * port is taken, "failedPrecondition" when another frontend has the state directory, as
 * `Supervisor.adopt`, or as StartRaft fails.
 */
export async function startFrontend(options: FrontendOptions): Promise<Frontend> {
  const { config, initialServers } = options;
  const lock = new FrontendLock(new OsFileSystem(), resolve(config.stateDirectory));
  const clusters = new CurrentCluster({ onFollow: (cluster) => supervisor.follow(cluster) });
  const membership = new Membership(clusters);
  const supervisor = supervisorOf(options, lock, clusters, membership);
  const serving = await serve(config, options.version, clusters, membership, supervisor);
  const logger = createLogger("frontend");
  // Why the start ended is told there; what could not be stopped stays, for the next frontend.
  const giveUp = (): void => {
    supervisor.stopAll().catch((error: unknown) => logger.error("not every server was stopped", { error }));
  };
  options.stop?.addEventListener("abort", giveUp);
  try {
    await supervisor.adopt({ startsNext: initialServers !== null });
    if (initialServers !== null) await bringUp(supervisor, initialServers);
  } catch (error) {
    try {
      if (options.stop?.aborted === true) await supervisor.stopAll();
    } finally {
      await serving.close();
      await lock.release();
    }
    throw error;
  } finally {
    options.stop?.removeEventListener("abort", giveUp);
  }
  return {
    stop: async () => {
      try {
        await Promise.all([serving.close(), supervisor.stopAll()]);
      } finally {
        await lock.release();
      }
    },
  };
}

export interface PointedFrontendOptions {
  readonly config: Config;
  /** Where to look for the cluster; at least one. */
  readonly seeds: readonly Seed[];
  readonly version: string;
}

/**
 * A frontend of a cluster whose servers others start. It serves at once; calls wait until the cluster is found.
 * Rejects with RaftKvError "io" when the port is taken.
 */
export async function startPointedFrontend(options: PointedFrontendOptions): Promise<Frontend> {
  const { config, seeds, version } = options;
  const logger = createLogger("frontend");
  const clusters = new CurrentCluster({ addresses: seedAddresses(seeds) });
  const serving = await serve(config, version, clusters, new Membership(clusters), NO_KEEPER);
  const stop = new AbortController();
  const search = async (): Promise<void> => {
    const cluster = await findCluster(seeds, logger, stop.signal);
    if (cluster === null || stop.signal.aborted) return;
    logger.info("cluster found", { ...cluster });
    clusters.setState({ kind: "running", cluster });
  };
  const searching = search();
  return {
    stop: async () => {
      stop.abort();
      await Promise.all([serving.close(), searching]);
      clusters.setState({ kind: "none" });
    },
  };
}

function supervisorOf(
  { config, command, timings }: FrontendOptions,
  lock: FrontendLock,
  clusters: CurrentCluster,
  membership: Membership,
): Supervisor {
  return new Supervisor({
    fs: new OsFileSystem(),
    stateDirectory: resolve(config.stateDirectory),
    lock,
    addressOf: (id: ServerId) => serverAddress(config, id),
    portOf: (id) => serverPort(config, id),
    hosts: listenHosts(config.baseAddress),
    ownPort: config.frontEnd.port,
    active: config.active,
    command: command ?? selfCommand(),
    logger: createLogger("frontend", "supervisor"),
    onState: (state) => clusters.setState(state),
    admit: (id, deadline) => membership.admit(id, deadline),
    timings: timings ?? {},
  });
}

/** Serves the FrontEnd service, and follows the cluster meanwhile. */
async function serve(
  config: Config,
  version: string,
  clusters: CurrentCluster,
  membership: Membership,
  keeper: ServerKeeper,
): Promise<{ close(): Promise<void> }> {
  const router = new Router({ clusters, limits: config.limits, ...config.frontEnd });
  const rpcServer = new RpcServer();
  rpcServer.add("FrontEnd", frontEndService({ clusters, router, membership, keeper, version }));
  await rpcServer.listen(listenHosts(config.baseAddress), config.frontEnd.port);
  const following = setInterval(() => void clusters.refresh(), FOLLOW_MS);
  return {
    close: () => {
      clearInterval(following);
      return rpcServer.close();
    },
  };
}

async function bringUp(supervisor: Supervisor, initialServers: number): Promise<void> {
  const logger = createLogger("frontend");
  const { cluster } = supervisor;
  // Nothing was left behind, or a StartRaft was cut short: whoever asked for that had given the old state up.
  if (cluster === null) return supervisor.startRaft(initialServers);
  if (cluster.members.length !== initialServers) {
    logger.warn("there is a cluster of another size, which is kept: StartRaft replaces it", { ...cluster });
  }
  // It can be started later, too.
  await supervisor.bringUp((id, error) => {
    logger.error("a server of the cluster does not start", { id, error });
  });
}
