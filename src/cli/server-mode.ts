import { resolve } from "node:path";
import { loadConfig, serverAddress, serverPort, type Config } from "../config/config.ts";
import { formatAddress } from "../config/peers.ts";
import { processName } from "../frontend/process-table.ts";
import { SERVER_ENVIRONMENT } from "../frontend/server-environment.ts";
import { configureLogging, createLogger } from "../observability/logger.ts";
import { memberOf } from "../raft/configuration.ts";
import { listenHosts } from "../rpc/listen-hosts.ts";
import { startServer, type Listening } from "../server/server.ts";
import { restartAs } from "./process-image.ts";
import type { Output, Service } from "./result.ts";
import type { ServerOptions } from "./server-options.ts";
import { UsageError } from "./usage-error.ts";
import { VERSION } from "./version.ts";

const MAX_PORT = 65_535;

/** Listened on, each means several addresses. */
const SEVERAL_HOSTS: ReadonlySet<string> = new Set(["localhost", "0.0.0.0", "::"]);

/**
 * `raftkv --mode server`. `configPath` null: config.ini, if there is one. Throws UsageError for an id without a
 * port, RaftKvError when config.ini is wrong.
 */
export async function serverService(options: ServerOptions, configPath: string | null): Promise<Service> {
  const { id, creation, via } = options;
  const config = await loadConfig(configPath);
  checkPorts(options, config);
  const stateDirectory = resolve(options.stateDirectory ?? config.stateDirectory);
  configureLogging(config.logLevel);
  takeServerName(options, stateDirectory, configPath);
  return {
    kind: "service",
    name: "server",
    async start(stop) {
      const listening = listeningOf(options, config);
      const server = await startServer({
        config,
        id,
        stateDirectory,
        creation,
        listening,
        via,
        version: VERSION,
        stop,
      });
      const announcement = creation?.kind === "join" && server.waits() ? announce(options, config) : null;
      return { announcement, stopped: server.stopped, stop: () => server.stop() };
    },
  };
}

/** What config.ini says of places goes for all servers; it must say something for this one, and nothing else. */
function checkPorts({ id, creation, listen }: ServerOptions, config: Config): void {
  if (listen !== null) return;
  if (serverPort(config, id) > MAX_PORT) {
    throw new UsageError(
      `--id must be at most ${MAX_PORT - config.basePort}: server i has port ${config.basePort} + i`,
    );
  }
  const address = creation?.kind === "found" ? (memberOf(creation.members, id)?.address ?? "") : "";
  const usual = serverAddress(config, id);
  if (address === "" || address === usual) return;
  throw new UsageError(
    `--listen is missing: --peers has server ${id} at ${address}, and by config.ini it would listen at ${usual}`,
  );
}

function listeningOf({ id, listen }: ServerOptions, config: Config): Listening {
  if (listen === null) {
    return { hosts: listenHosts(config.baseAddress), port: serverPort(config, id), byDefault: true };
  }
  const { host, port } = listen;
  return { hosts: SEVERAL_HOSTS.has(host) ? listenHosts(host) : [host], port, byDefault: false };
}

/** The words that add a server which waits for that. */
function announce({ id, advertise, listen }: ServerOptions, config: Config): Output {
  const listens = listen === null || SEVERAL_HOSTS.has(listen.host) ? null : formatAddress(listen);
  const address = advertise ?? listens ?? serverAddress(config, id);
  const stdout = `server ${id} waits to be added to its cluster: raftkv member add ${id} --at ${address}`;
  return { stdout, stderr: null, json: { ok: true, id, waits: true, address } };
}

/**
 * Server i is found as `raftserver<i+1>` with its absolute state directory, by people with `ps` and by a
 * frontend that must know whose process it stops. A frontend starts servers so; a server that was started
 * by hand starts itself anew with that command line.
 */
function takeServerName(
  { id, further }: ServerOptions,
  stateDirectory: string,
  configPath: string | null,
): void {
  const name = processName(id);
  const identity = ["--mode", "server", "--id", String(id), "--state-dir", stateDirectory];
  const start = process.argv.indexOf("--mode");
  if (process.argv0 === name && identity.every((word, at) => process.argv[start + at] === word)) return;
  const config = configPath === null ? [] : ["--config", resolve(configPath)];
  const reason = restartAs(name, [...identity, ...further, ...config], SERVER_ENVIRONMENT);
  const log = createLogger("server", String(id));
  log.warn(`frontends cannot find this process: it cannot call itself ${name}`, { reason });
}
