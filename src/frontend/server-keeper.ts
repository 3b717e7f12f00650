import { RaftKvError } from "../base/errors.ts";
import type { ServerId } from "../raft/entry.ts";

/** Who starts and stops server processes for a frontend. All reject with RaftKvError; see Supervisor. */
export interface ServerKeeper {
  startRaft(servers: number): Promise<void>;
  startServer(id: ServerId, callerMs: number | null): Promise<void>;
  /** Resolves to the directory where the old files are; null: there were none. */
  replaceServer(id: ServerId): Promise<string | null>;
  /** The server does not belong to the cluster any more. */
  retire(id: ServerId): Promise<void>;
}

/** Of a frontend that was pointed at servers which others start: it only says so. */
export const NO_KEEPER: ServerKeeper = {
  startRaft: refuse,
  startServer: refuse,
  replaceServer: refuse,
  retire: async () => {},
};

async function refuse(): Promise<never> {
  const how =
    "start them where they are to run (raftkv --mode server --help; with --rejoin where a disk was lost)";
  throw new RaftKvError("failedPrecondition", `this frontend starts no servers: ${how}`);
}
