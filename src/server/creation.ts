import { serverAddress, serverPort, type Config } from "../config/config.ts";
import type { ServerId } from "../raft/entry.ts";
import { listenHosts } from "../rpc/listen-hosts.ts";
import type { FileSystem } from "../storage/file-system.ts";
import { createServerStore } from "../storage/server-store.ts";
import { rejoin } from "./rejoin.ts";

/** How a server comes into being that has no files, as one of servers 0 to `servers - 1`. */
export interface Creation {
  /** "bootstrap": with a new cluster. "rejoin": in place of one that was lost, in a cluster that goes on. */
  readonly kind: "bootstrap" | "rejoin";
  readonly servers: number;
  readonly clusterId: string;
}

/** Makes the server's files. Rejects with RaftKvError as createServerStore or `rejoin`. */
export async function createServer(
  fs: FileSystem,
  stateDirectory: string,
  config: Config,
  id: ServerId,
  { kind, servers, clusterId }: Creation,
): Promise<void> {
  const identity = {
    clusterId,
    serverId: id,
    servers: Array.from({ length: servers }, (_, server) => server),
  };
  if (kind === "bootstrap") return createServerStore(fs, stateDirectory, identity);
  await rejoin({
    fs,
    stateDirectory,
    identity,
    addressOf: (server) => serverAddress(config, server),
    hosts: listenHosts(config.baseAddress),
    port: serverPort(config, id),
  });
}
