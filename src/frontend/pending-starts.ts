/**
 * The servers that were launched and do not serve yet. They are waited for side by side: reading a long log
 * takes its time, and a server that waits for another one's would be down for the sum of both.
 *
 * One that does not get ready is ended, as is one that is given up: what is not in here either serves, or
 * is not there.
 */
import type { RaftKvError } from "../base/errors.ts";
import type { ServerId } from "../raft/entry.ts";
import { ClusterLink } from "./cluster-link.ts";
import type { Cluster } from "./cluster.ts";
import type { LaunchedServer } from "./launcher.ts";
import type { ProcessTable } from "./process-table.ts";
import { waitUntilReady } from "./readiness.ts";
import type { ServerPorts } from "./server-ports.ts";
import type { Deadline } from "./waiting.ts";

export interface PendingStartsOptions {
  readonly processes: ProcessTable;
  readonly ports: ServerPorts;
  /** A server's "host:port". */
  readonly addressOf: (id: ServerId) => string;
}

/** One start, for all who asked for it. */
export interface PendingStart {
  readonly server: LaunchedServer;
  /** Resolves when it serves; rejects as waitUntilReady, and then nothing is left of the process. */
  readonly ready: Promise<void>;
}

interface Pending extends PendingStart {
  readonly controller: AbortController;
}

export class PendingStarts {
  readonly #options: PendingStartsOptions;
  readonly #pending = new Map<ServerId, Pending>();

  constructor(options: PendingStartsOptions) {
    this.#options = options;
  }

  /** null when that server is not being started. */
  get(id: ServerId): PendingStart | null {
    return this.#pending.get(id) ?? null;
  }

  /** From now on it is waited for, as a server of `cluster`. No start of that server is pending. */
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

  /** Ends all of them; who waits is told `reason`. Resolves when nothing is left of their processes. */
  async giveUp(reason: RaftKvError): Promise<void> {
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
    const { processes, ports, addressOf } = this.#options;
    const link = new ClusterLink(cluster, addressOf);
    try {
      await waitUntilReady(server, { link, ports, deadline, signal });
    } catch (error) {
      await processes.end(server, 0);
      throw error;
    } finally {
      link.close();
    }
  }
}
