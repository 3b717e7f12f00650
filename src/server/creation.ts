import type { Configuration } from "../raft/configuration.ts";
import type { ServerId } from "../raft/entry.ts";
import type { FileSystem } from "../storage/file-system.ts";
import { serverFiles } from "../storage/server-files.ts";
import { createServerStore } from "../storage/server-store.ts";
import type { Addresses } from "./addresses.ts";
import { found } from "./founding.ts";
import { join } from "./joining.ts";
import { rejoin } from "./rejoin.ts";

/** How a server comes into being that has no files. */
export type Creation =
  /** With a new cluster, as one of its `members`, all of them made now by whoever asks for it. */
  | { readonly kind: "bootstrap"; readonly clusterId: string; readonly members: Configuration }
  /** The same, but the servers are started one by one, perhaps on several machines, and wait for each other. */
  | { readonly kind: "found"; readonly members: Configuration }
  /** In place of one that was lost, in a cluster that goes on and whose servers are `members`. */
  | { readonly kind: "rejoin"; readonly clusterId: string; readonly members: Configuration }
  /** To be added to a cluster that goes on, some of whose servers are at the `contacts`, "host:port". */
  | { readonly kind: "join"; readonly contacts: readonly string[] };

/** The server that is made, and where. */
export interface Newcomer {
  readonly fs: FileSystem;
  readonly stateDirectory: string;
  readonly id: ServerId;
  readonly addresses: Addresses;
  /** Where it is to listen. Held meanwhile, so that no other process is this server. */
  readonly hosts: readonly string[];
  readonly port: number;
}

/**
 * Makes the server's files. For "found" and "join", which are words to start a server with time and again, it is
 * enough that they are there. Rejects with RaftKvError as createServerStore, `found`, `rejoin` or `join`; the
 * waiting ends when `stop` is aborted.
 */
export async function createServer(newcomer: Newcomer, creation: Creation, stop: AbortSignal): Promise<void> {
  const { fs, stateDirectory, id } = newcomer;
  switch (creation.kind) {
    case "bootstrap": {
      const { clusterId, members } = creation;
      return createServerStore(fs, stateDirectory, { clusterId, serverId: id, members });
    }
    case "found":
      return (await isThere(newcomer)) ? undefined : found(newcomer, creation.members, stop);
    case "rejoin":
      return rejoin(newcomer, creation);
    case "join":
      return (await isThere(newcomer)) ? undefined : join(newcomer, creation.contacts, stop);
  }
}

async function isThere({ fs, stateDirectory, id }: Newcomer): Promise<boolean> {
  return (await fs.readFile(serverFiles(stateDirectory, id).stateFile)) !== null;
}
