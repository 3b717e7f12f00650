/** The command without a name: `raftkv` is a frontend, `raftkv --mode server` one server of a cluster. */
import type { ArgsDef } from "citty";
import { command, JSON_OPTION } from "./command.ts";
import { frontendService } from "./frontend-mode.ts";
import { parseWholeNumber } from "./option-value.ts";
import { serverService, type ServerOptions } from "./server-mode.ts";
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
  id: { type: "string", valueHint: "id", description: "server: which one it is: 0, 1, 2, …" },
  "state-dir": {
    type: "string",
    valueHint: "directory",
    description: "server: where its files are (Default: as config.ini says)",
  },
  bootstrap: {
    type: "string",
    valueHint: "servers",
    description: "server: create its files, as one of so many servers of a new cluster",
  },
  rejoin: {
    type: "string",
    valueHint: "servers",
    description: "server: create its files, which were lost, as one of so many servers that all run",
  },
  "cluster-id": {
    type: "string",
    valueHint: "name",
    description: "server: the cluster's name, the same for all its servers, with --bootstrap or --rejoin",
  },
  ...JSON_OPTION,
  version: { type: "boolean", description: "Print the version" },
} as const satisfies ArgsDef;

const FRONTEND_ONLY = ["start"] as const;
const SERVER_ONLY = ["id", "state-dir", "bootstrap", "rejoin", "cluster-id"] as const;

/** More is refused elsewhere with better reasons; these bounds only catch slips of the keyboard. */
const MAX_SERVERS = 1000;
const MAX_ID = 65_534;

type Options = { readonly [Name in keyof typeof OPTIONS]?: string | boolean | undefined };

export const modeCommand = command(
  { name: "raftkv", description: "A fault-tolerant, strongly consistent key-value store on Raft" },
  OPTIONS,
  async (args) => {
    if (args.version === true) return versionAnswer();
    const configPath = args.config ?? null;
    if (args.mode === "server") {
      refuse(args, FRONTEND_ONLY, "frontend");
      return serverService(serverOptions(args, configPath));
    }
    refuse(args, SERVER_ONLY, "server");
    const initialServers =
      args.start === undefined ? null : parseWholeNumber("--start", args.start, 1, MAX_SERVERS);
    return frontendService({ configPath, initialServers });
  },
);

function refuse(args: Options, names: readonly (keyof Options)[], mode: string): void {
  const found = names.find((name) => args[name] !== undefined);
  if (found !== undefined) throw new UsageError(`--${found} is for --mode ${mode} only`);
}

function serverOptions(
  args: { readonly id?: string | undefined; readonly "state-dir"?: string | undefined } & CreationArgs,
  configPath: string | null,
): ServerOptions {
  if (args.id === undefined) throw new UsageError("--mode server needs --id, the server's number from 0 up");
  const id = parseWholeNumber("--id", args.id, 0, MAX_ID);
  return { id, stateDirectory: args["state-dir"] ?? null, creation: creationOf(args, id), configPath };
}

interface CreationArgs {
  readonly bootstrap?: string | undefined;
  readonly rejoin?: string | undefined;
  readonly "cluster-id"?: string | undefined;
}

function creationOf(args: CreationArgs, id: number): ServerOptions["creation"] {
  const { bootstrap, rejoin, "cluster-id": clusterId } = args;
  if (bootstrap !== undefined && rejoin !== undefined) {
    throw new UsageError("--bootstrap is for a new cluster and --rejoin for one that goes on: give one");
  }
  const kind = rejoin === undefined ? "bootstrap" : "rejoin";
  const size = rejoin ?? bootstrap;
  if (size === undefined && clusterId === undefined) return null;
  if (size === undefined || clusterId === undefined) {
    throw new UsageError(
      `--${kind} and --cluster-id are given together, or neither to go on from the state on disk`,
    );
  }
  if (!/^[\w.-]{1,64}$/.test(clusterId)) {
    throw new UsageError(
      `--cluster-id must be 1 to 64 letters, digits and ._-, not ${JSON.stringify(clusterId)}`,
    );
  }
  const servers = parseWholeNumber(`--${kind}`, size, 1, MAX_SERVERS);
  if (id >= servers)
    throw new UsageError(`--id must be below --${kind}: server ${id} is not one of ${servers}`);
  return { kind, servers, clusterId };
}
