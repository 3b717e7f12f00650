/** The frontend process: supervises the servers of this machine and routes clients to their leader. */
import { resolve } from "node:path";
import { serverAddress, serverPort, type Config } from "../config/config.ts";
import { createLogger } from "../observability/logger.ts";
import type { ServerId } from "../raft/entry.ts";
import { listenHosts } from "../rpc/listen-hosts.ts";
import { RpcServer } from "../rpc/rpc-server.ts";
import { OsFileSystem } from "../storage/os-file-system.ts";
import { FrontendLock } from "./frontend-lock.ts";
import { frontEndService } from "./frontend-service.ts";
import { selfCommand } from "./launcher.ts";
import { Router } from "./router.ts";
import { Supervisor, type SupervisorTimings } from "./supervisor.ts";

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
  const { config, initialServers, version } = options;
  const addressOf = (id: ServerId): string => serverAddress(config, id);
  const hosts = listenHosts(config.baseAddress);
  const router = new Router({ addressOf, limits: config.limits, ...config.frontEnd });
  const fs = new OsFileSystem();
  const stateDirectory = resolve(config.stateDirectory);
  const lock = new FrontendLock(fs, stateDirectory);
  const logger = createLogger("frontend", "supervisor");
  const supervisor = new Supervisor({
    fs,
    stateDirectory,
    lock,
    addressOf,
    portOf: (id) => serverPort(config, id),
    hosts,
    ownPort: config.frontEnd.port,
    active: config.active,
    command: options.command ?? selfCommand(),
    logger,
    onState: (state) => router.setState(state),
    timings: options.timings ?? {},
  });
  const rpcServer = new RpcServer();
  rpcServer.add("FrontEnd", frontEndService({ supervisor, router, addressOf, version }));
  await rpcServer.listen(hosts, config.frontEnd.port);
  // Why the start ended is told there; what could not be stopped stays, for the next frontend.
  const giveUp = (): void => {
    supervisor.stopAll().catch((error: unknown) => logger.error("not every server was stopped", { error }));
  };
  options.stop?.addEventListener("abort", giveUp);
  try {
    await supervisor.adopt();
    if (initialServers !== null) await bringUp(supervisor, initialServers);
  } catch (error) {
    try {
      if (options.stop?.aborted === true) await supervisor.stopAll();
    } finally {
      await rpcServer.close();
      await lock.release();
    }
    throw error;
  } finally {
    options.stop?.removeEventListener("abort", giveUp);
  }
  return {
    stop: async () => {
      try {
        await Promise.all([rpcServer.close(), supervisor.stopAll()]);
      } finally {
        await lock.release();
      }
    },
  };
}

/** A server that does not start keeps the others from nothing: it is told in the log, and can be started later. */
async function bringUp(supervisor: Supervisor, initialServers: number): Promise<void> {
  const logger = createLogger("frontend");
  const { cluster } = supervisor;
  // Nothing was left behind, or a StartRaft was cut short: whoever asked for that had given the old state up.
  if (cluster === null) return supervisor.startRaft(initialServers);
  if (cluster.servers !== initialServers) {
    logger.warn("there is a cluster of another size, which is kept: StartRaft replaces it", { ...cluster });
  }
  // Side by side: each has its own log to read.
  const ids = Array.from({ length: cluster.servers }, (_, id) => id);
  await Promise.all(
    ids.map((id) =>
      supervisor.startServer(id).catch((error: unknown) => {
        logger.error("a server of the cluster does not start", { id, error });
      }),
    ),
  );
}
