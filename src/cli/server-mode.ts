import { resolve } from "node:path";
import { loadConfig, serverPort } from "../config/config.ts";
import { processName } from "../frontend/process-table.ts";
import { configureLogging, createLogger } from "../observability/logger.ts";
import type { Creation } from "../server/creation.ts";
import { startServer } from "../server/server.ts";
import { restartAs } from "./process-image.ts";
import type { Service } from "./result.ts";
import { UsageError } from "./usage-error.ts";
import { VERSION } from "./version.ts";

const MAX_PORT = 65_535;

export interface ServerOptions {
  readonly id: number;
  /** null: where config.ini says. */
  readonly stateDirectory: string | null;
  /** How it comes into being; null: the server has state on disk and goes on from there. */
  readonly creation: Creation | null;
  /** null: config.ini, if there is one. */
  readonly configPath: string | null;
}

/** `raftkv --mode server`. Throws UsageError for an id without a port, RaftKvError when config.ini is wrong. */
export async function serverService(options: ServerOptions): Promise<Service> {
  const { id, creation } = options;
  const config = await loadConfig(options.configPath);
  if (serverPort(config, id) > MAX_PORT) {
    throw new UsageError(
      `--id must be at most ${MAX_PORT - config.basePort}: server i has port ${config.basePort} + i`,
    );
  }
  const stateDirectory = resolve(options.stateDirectory ?? config.stateDirectory);
  configureLogging(config.logLevel);
  takeServerName(options, stateDirectory);
  return {
    kind: "service",
    name: "server",
    async start() {
      const server = await startServer({ config, id, stateDirectory, creation, version: VERSION });
      return { announcement: null, stopped: server.stopped, stop: () => server.stop() };
    },
  };
}

/**
 * Server i is found as `raftserver<i+1>` with its absolute state directory, by people with `ps` and by a
 * frontend that must know whose process it stops. A frontend starts servers so; a server that was started
 * by hand starts itself anew with that command line.
 */
function takeServerName(options: ServerOptions, stateDirectory: string): void {
  const name = processName(options.id);
  const identity = ["--mode", "server", "--id", String(options.id), "--state-dir", stateDirectory];
  const start = process.argv.indexOf("--mode");
  if (process.argv0 === name && identity.every((word, at) => process.argv[start + at] === word)) return;
  const reason = restartAs(name, [...identity, ...furtherArguments(options)]);
  const log = createLogger("server", String(options.id));
  log.warn(`frontends cannot find this process: it cannot call itself ${name}`, { reason });
}

function furtherArguments({ creation, configPath }: ServerOptions): readonly string[] {
  const config = configPath === null ? [] : ["--config", resolve(configPath)];
  if (creation === null) return config;
  return [`--${creation.kind}`, String(creation.servers), "--cluster-id", creation.clusterId, ...config];
}
