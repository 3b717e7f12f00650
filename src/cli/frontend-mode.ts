import { isIPv6 } from "node:net";
import { resolve } from "node:path";
import { loadConfig, type Config } from "../config/config.ts";
import { startFrontend } from "../frontend/frontend.ts";
import { selfCommand } from "../frontend/launcher.ts";
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
        announcement: announcement(config, options.initialServers),
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

function announcement(config: Config, initialServers: number | null): Output {
  const address = `127.0.0.1:${config.frontEnd.port}`;
  const program = Bun.isStandaloneExecutable ? process.argv0 : `bun ${process.argv[1] ?? "src/main.ts"}`;
  const option = address === DEFAULT_ADDRESS ? "" : ` --address ${address}`;
  const examples =
    initialServers === null
      ? ["status", "start 3", "put greeting hello"]
      : ["put greeting hello", "get greeting", "status"];
  const lines = [
    `RaftKV ${VERSION}: the frontend listens on ${address}; servers from ${hostOf(config)}:${config.basePort} up, their files in ${config.stateDirectory}/`,
    "",
    ...examples.map((example) => `  ${program} ${example}${option}`),
    "",
    "Ctrl-C stops the frontend and its servers.",
  ];
  const json = { version: VERSION, address, pid: process.pid };
  return { stdout: lines.join("\n"), stderr: null, json };
}

function hostOf(config: Config): string {
  return isIPv6(config.baseAddress) ? `[${config.baseAddress}]` : config.baseAddress;
}
