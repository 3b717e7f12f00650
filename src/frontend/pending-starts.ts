/**
 * The servers that were launched and do not serve yet. They are waited for side by side: reading a long log
 * takes its time, and a server that waits for another one's would be down for the sum of both.
 *
 * One that is given up is ended. One that is not ready in time and runs is not: with a large state it would
 * never start. It is waited for again when somebody asks for it again.
 */
import { RaftKvError } from "../base/errors.ts";
import type { ServerId } from "../raft/entry.ts";
import type { Cluster } from "./cluster.ts";
import type { LaunchedServer } from "./launcher.ts";
import type { ProcessTable } from "./process-table.ts";
import { waitUntilReady } from "./readiness.ts";
import { ServerClients } from "./server-clients.ts";
import type { ServerPorts } from "./server-ports.ts";
import type { Deadline } from "./waiting.ts";

export interface PendingStartsOptions {
  readonly processes: ProcessTable;
  readonly ports: ServerPorts;
}

/** One start, for all who asked for it. */
export interface PendingStart {
  readonly server: LaunchedServer;
  /** Resolves when it serves; rejects as waitUntilReady, and then the process has ended unless time is up. */
  readonly ready: Promise<void>;
}

interface Pending extends PendingStart {
  readonly controller: AbortController;
}

export class PendingStarts {
  readonly #options: PendingStartsOptions;
  readonly #pending = new Map<ServerId, Pending>();
  /** Not ready when their time was up. They may have got ready since, or have ended. */
  readonly #late = new Map<ServerId, LaunchedServer>();

  constructor(options: PendingStartsOptions) {
    this.#options = options;
  }

  /** null when that server is not being started. */
  get(id: ServerId): PendingStart | null {
    return this.#pending.get(id) ?? null;
  }

  /** From now on it is waited for, as a server of `cluster`, which has its address. No start of it is pending. */
  add(server: LaunchedServer, cluster: Cluster, deadline: Deadline): PendingStart {
    const controller = new AbortController();
    const ready = this.#finish(server, cluster, deadline, controller.signal).finally(() =>
      this.#pending.delete(server.id),
    );
    // Whoever asked is told; it may be that nobody listens any more.
    ready.catch(() => {});
    const pending = { server, ready, controller };
    this.#pending.set(server.id, pending);
    return pending;
  }

  /** As `add`, of a server that was not ready in time and still runs; null: there is none. */
  again(id: ServerId, cluster: Cluster, deadline: Deadline): PendingStart | null {
    const server = this.#late.get(id);
    this.#late.delete(id);
    return server === undefined || server.ending() !== null ? null : this.add(server, cluster, deadline);
  }

  /**
   * Ends all that are waited for; who waits is told `reason`. Resolves when nothing is left of their processes.
   * Nobody is waited for again.
   */
  async giveUp(reason: RaftKvError): Promise<void> {
    this.#late.clear();
    const pending = [...this.#pending.values()];
    for (const { controller } of pending) controller.abort(reason);
    await Promise.allSettled(pending.map(({ ready }) => ready));
  }

  async #finish(
    server: LaunchedServer,
    cluster: Cluster,
    deadline: Deadline,
    signal: AbortSignal,
  ): Promise<void> {
    const { processes, ports } = this.#options;
    const clients = new ServerClients(cluster);
    try {
      await waitUntilReady(server, { clients, ports, deadline, signal });
    } catch (error) {
      if (signal.aborted || server.ending() !== null || !isTimeUp(error)) {
        await processes.end(server, 0);
        throw error;
      }
      this.#late.set(server.id, server);
      const what = `${error.message}; it runs, and is still reading its files: ask again to wait for it`;
      throw new RaftKvError("unavailable", what, { cause: error });
    } finally {
      clients.close();
    }
  }
}

function isTimeUp(error: unknown): error is RaftKvError {
  return error instanceof RaftKvError && error.code === "unavailable";
}
