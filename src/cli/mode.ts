/** The command without a name: `raftkv` is a frontend, `raftkv --mode server` one server of a cluster. */
import type { ArgsDef } from "citty";
import { command, JSON_OPTION } from "./command.ts";
import { frontendService, pointedFrontendService } from "./frontend-mode.ts";
import { parseSeeds, parseWholeNumber } from "./option-value.ts";
import { serverService } from "./server-mode.ts";
import { parseServerOptions, SERVER_OPTIONS } from "./server-options.ts";
import { UsageError } from "./usage-error.ts";
import { versionAnswer } from "./version.ts";

const OPTIONS = {
  mode: {
    type: "enum",
    options: ["frontend", "server"],
    default: "frontend",
    description: "What this process is",
  },
  config: {
    type: "string",
    valueHint: "file",
    description: "Settings (Default: config.ini, if there is one)",
  },
  start: {
    type: "string",
    valueHint: "servers",
    description: "frontend: start a cluster of so many servers, or the one that is there",
  },
  servers: {
    type: "string",
    valueHint: "addresses",
    description:
      "frontend: start no servers, and route to the cluster of these: 10.0.0.1:9001,… or 0=10.0.0.1:9001,…",
  },
  ...SERVER_OPTIONS,
  ...JSON_OPTION,
  version: { type: "boolean", description: "Print the version" },
} as const satisfies ArgsDef;

const FRONTEND_ONLY = ["start", "servers"] as const;
/** More is refused elsewhere with better reasons; this bound only catches slips of the keyboard. */
const MAX_SERVERS = 1000;

type Options = { readonly [Name in keyof typeof OPTIONS]?: string | boolean | undefined };

export const modeCommand = command(
  { name: "raftkv", description: "A fault-tolerant, strongly consistent key-value store on Raft" },
  OPTIONS,
  async (args) => {
    if (args.version === true) return versionAnswer();
    const configPath = args.config ?? null;
    if (args.mode === "server") {
      refuse(args, FRONTEND_ONLY, "frontend");
      return serverService(parseServerOptions(args), configPath);
    }
    refuse(args, Object.keys(SERVER_OPTIONS) as (keyof typeof SERVER_OPTIONS)[], "server");
    if (args.servers !== undefined) {
      if (args.start !== undefined) {
        throw new UsageError("--servers are started by others, and --start starts them here: give one");
      }
      return pointedFrontendService({ configPath, seeds: parseSeeds("--servers", args.servers) });
    }
    const initialServers =
      args.start === undefined ? null : parseWholeNumber("--start", args.start, 1, MAX_SERVERS);
    return frontendService({ configPath, initialServers });
  },
);

function refuse(args: Options, names: readonly (keyof Options)[], mode: string): void {
  const found = names.find((name) => args[name] !== undefined);
  if (found !== undefined) throw new UsageError(`--${found} is for --mode ${mode} only`);
}
