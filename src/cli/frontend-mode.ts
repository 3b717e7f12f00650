import { isIPv6 } from "node:net";
import { resolve } from "node:path";
import { loadConfig, type Config } from "../config/config.ts";
import { startFrontend, startPointedFrontend } from "../frontend/frontend.ts";
import { selfCommand } from "../frontend/launcher.ts";
import type { Seed } from "../frontend/seed-search.ts";
import { configureLogging } from "../observability/logger.ts";
import { DEFAULT_ADDRESS } from "./frontend-client.ts";
import type { Output, Service } from "./result.ts";
import { VERSION } from "./version.ts";

export interface FrontendOptions {
  /** null: config.ini, if there is one. */
  readonly configPath: string | null;
  /** How many servers to start when there is no cluster yet; null starts none. */
  readonly initialServers: number | null;
}

/** `raftkv --mode frontend`. Throws RaftKvError when config.ini is wrong. */
export async function frontendService(options: FrontendOptions): Promise<Service> {
  const config = await loadConfig(options.configPath);
  configureLogging(config.logLevel);
  return {
    kind: "service",
    name: "frontend",
    async start(stop) {
      const frontend = await startFrontend({
        config,
        initialServers: options.initialServers,
        version: VERSION,
        stop,
        command: [...selfCommand(), ...configArguments(options.configPath)],
      });
      return {
        announcement: announcement(config, introduction(config, options.initialServers)),
        stopped: new Promise<void>(() => {}),
        stop: () => frontend.stop(),
      };
    },
  };
}

export interface PointedFrontendOptions {
  /** null: config.ini, if there is one. */
  readonly configPath: string | null;
  /** Where servers of the cluster are. */
  readonly seeds: readonly Seed[];
}

/** `raftkv --mode frontend --servers …`. Throws RaftKvError when config.ini is wrong. */
export async function pointedFrontendService(options: PointedFrontendOptions): Promise<Service> {
  const config = await loadConfig(options.configPath);
  configureLogging(config.logLevel);
  const { seeds } = options;
  return {
    kind: "service",
    name: "frontend",
    async start() {
      const frontend = await startPointedFrontend({ config, seeds, version: VERSION });
      const where = seeds.map(({ address }) => address).join(", ");
      return {
        announcement: announcement(config, {
          servers: `routes to the servers at ${where}`,
          examples: ["put greeting hello", "get greeting", "status"],
          end: "Ctrl-C stops the frontend; the servers go on.",
        }),
        stopped: new Promise<void>(() => {}),
        stop: () => frontend.stop(),
      };
    },
  };
}

/** What makes a server read the same file. One that nobody named it finds in the same working directory. */
function configArguments(configPath: string | null): readonly string[] {
  return configPath === null ? [] : ["--config", resolve(configPath)];
}

/** What a frontend says of itself. */
interface Introduction {
  readonly servers: string;
  readonly examples: readonly string[];
  /** What Ctrl-C does. */
  readonly end: string;
}

function introduction(config: Config, initialServers: number | null): Introduction {
  return {
    servers: `servers from ${hostOf(config)}:${config.basePort} up, their files in ${config.stateDirectory}/`,
    examples:
      initialServers === null
        ? ["status", "start 3", "put greeting hello"]
        : ["put greeting hello", "get greeting", "status"],
    end: "Ctrl-C stops the frontend and its servers.",
  };
}

function announcement(config: Config, { servers, examples, end }: Introduction): Output {
  const address = `127.0.0.1:${config.frontEnd.port}`;
  const program = Bun.isStandaloneExecutable ? process.argv0 : `bun ${process.argv[1] ?? "src/main.ts"}`;
  const option = address === DEFAULT_ADDRESS ? "" : ` --address ${address}`;
  const lines = [
    `RaftKV ${VERSION}: the frontend listens on ${address}; ${servers}`,
    "",
    ...examples.map((example) => `  ${program} ${example}${option}`),
    "",
    end,
  ];
  const json = { version: VERSION, address, pid: process.pid };
  return { stdout: lines.join("\n"), stderr: null, json };
}

function hostOf(config: Config): string {
  return isIPv6(config.baseAddress) ? `[${config.baseAddress}]` : config.baseAddress;
}
