/** The options of `raftkv --mode server`: which of them go together, and what they say. */
import type { ArgsDef } from "citty";
import {
  ADDRESS_EXPECTED,
  parseAddress,
  parseAddresses,
  parseHostAndPort,
  parsePeers,
  PEERS_EXPECTED,
  type HostAndPort,
  type PeerAddress,
} from "../config/peers.ts";
import { MAX_SERVER_ID } from "../config/value-reader.ts";
import { initialConfiguration, MAX_MEMBERS } from "../raft/configuration.ts";
import type { Creation } from "../server/creation.ts";
import { parseWholeNumber } from "./option-value.ts";
import { UsageError } from "./usage-error.ts";

export const SERVER_OPTIONS = {
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
  join: {
    type: "string",
    valueHint: "addresses",
    description: "server: be ready to be added to the cluster that has servers at these addresses",
  },
  "cluster-id": {
    type: "string",
    valueHint: "name",
    description:
      "server: the cluster's name, the same for all its servers, with --rejoin, or --bootstrap without --peers",
  },
  peers: {
    type: "string",
    valueHint: "servers",
    description:
      "server: the cluster's servers and where they are: 0=10.0.0.1:9001,… (Default: as config.ini says)",
  },
  listen: {
    type: "string",
    valueHint: "host:port",
    description: "server: where it listens, and nowhere else (Default: as config.ini says)",
  },
  advertise: {
    type: "string",
    valueHint: "host:port",
    description: "server: where the others are to reach it, with --join (Default: as --listen)",
  },
  via: {
    type: "string",
    valueHint: "servers",
    description: "server: where it reaches these servers instead of their addresses: 1=127.0.0.1:7001,…",
  },
} as const satisfies ArgsDef;

/** The options as they are written. */
export type ServerArgs = { readonly [Name in keyof typeof SERVER_OPTIONS]?: string | undefined };

export interface ServerOptions {
  readonly id: number;
  /** null: where config.ini says. */
  readonly stateDirectory: string | null;
  /** How it comes into being; null: the server has state on disk and goes on from there. */
  readonly creation: Creation | null;
  /** null: where config.ini says. */
  readonly listen: HostAndPort | null;
  /** Where others are to reach a server that joins; null: where it listens. */
  readonly advertise: string | null;
  readonly via: readonly PeerAddress[];
  /** Everything but --id and --state-dir, for the same command line once more. */
  readonly further: readonly string[];
}

/** These say where the server comes from: at most one of them. */
const ORIGINS = ["bootstrap", "rejoin", "join"] as const;

const FURTHER = [...ORIGINS, "cluster-id", "peers", "listen", "advertise", "via"] as const;

/** Throws UsageError. */
export function parseServerOptions(args: ServerArgs): ServerOptions {
  if (args.id === undefined) throw new UsageError("--mode server needs --id, the server's number from 0 up");
  const id = parseWholeNumber("--id", args.id, 0, MAX_SERVER_ID);
  return {
    id,
    stateDirectory: args["state-dir"] ?? null,
    creation: creationOf(args, id),
    listen: read(
      "--listen",
      args.listen,
      parseHostAndPort,
      "host:port, such as 10.0.0.1:9001 or 0.0.0.0:9001",
    ),
    advertise: read("--advertise", args.advertise, parseAddress, ADDRESS_EXPECTED),
    via: read("--via", args.via, parsePeers, PEERS_EXPECTED) ?? [],
    further: FURTHER.flatMap((name) => {
      const value = args[name];
      return value === undefined ? [] : [`--${name}`, value];
    }),
  };
}

function creationOf(args: ServerArgs, id: number): Creation | null {
  const [origin, another] = ORIGINS.filter((name) => args[name] !== undefined);
  if (another !== undefined) {
    throw new UsageError(
      `--${origin} and --${another} contradict each other: give one, and none to go on from the state on disk`,
    );
  }
  if (args.advertise !== undefined && origin !== "join") {
    throw new UsageError("--advertise goes with --join: otherwise the cluster knows where its servers are");
  }
  if (origin === "join") return joining(args);
  if (origin === undefined) {
    const name = (["cluster-id", "peers"] as const).find((option) => args[option] !== undefined);
    if (name === undefined) return null;
    throw new UsageError(
      `--${name} goes with --bootstrap or --rejoin; without it the server goes on from the state on disk`,
    );
  }
  return ofCluster(args, origin, id);
}

function joining(args: ServerArgs): Creation {
  const name = (["cluster-id", "peers"] as const).find((option) => args[option] !== undefined);
  if (name !== undefined)
    throw new UsageError(`--${name} does not go with --join: the server learns it from the cluster`);
  const expected = "addresses of servers of the cluster, as 10.0.0.1:9001,10.0.0.2:9001";
  return { kind: "join", contacts: read("--join", args.join, parseAddresses, expected) ?? [] };
}

function ofCluster(args: ServerArgs, kind: "bootstrap" | "rejoin", id: number): Creation {
  const servers = parseWholeNumber(`--${kind}`, args[kind] ?? "", 1, MAX_MEMBERS);
  const peers = read("--peers", args.peers, parsePeers, PEERS_EXPECTED);
  if (peers === null) {
    const clusterId = clusterIdOf(args, kind);
    if (id >= servers)
      throw new UsageError(`--id must be below --${kind}: server ${id} is not one of ${servers}`);
    return { kind, clusterId, members: initialConfiguration([...Array(servers).keys()]) };
  }
  if (peers.length !== servers) {
    throw new UsageError(`--${kind} ${servers} does not go with --peers, which has ${peers.length}`);
  }
  if (peers.every((peer) => peer.id !== id)) throw new UsageError(`--id ${id} is not one of --peers`);
  const members = peers.map(({ id: peer, address }) => ({ id: peer, address, voter: true }));
  if (kind === "rejoin") return { kind, clusterId: clusterIdOf(args, kind), members };
  if (args["cluster-id"] === undefined) return { kind: "found", members };
  throw new UsageError(
    "--cluster-id does not go with --bootstrap and --peers: the servers draw one together",
  );
}

function clusterIdOf({ "cluster-id": clusterId }: ServerArgs, kind: "bootstrap" | "rejoin"): string {
  if (clusterId === undefined) {
    throw new UsageError(
      `--${kind} and --cluster-id are given together, or neither to go on from the state on disk`,
    );
  }
  if (/^[\w.-]{1,64}$/.test(clusterId)) return clusterId;
  throw new UsageError(
    `--cluster-id must be 1 to 64 letters, digits and ._-, not ${JSON.stringify(clusterId)}`,
  );
}

/** null: the option is not there. */
function read<T>(
  name: string,
  text: string | undefined,
  parse: (text: string) => T | null,
  expected: string,
): T | null {
  if (text === undefined) return null;
  const value = parse(text);
  if (value !== null) return value;
  throw new UsageError(`${name} must be ${expected}, not ${JSON.stringify(text)}`);
}
