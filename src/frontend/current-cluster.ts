import { ClusterLink } from "./cluster-link.ts";
import { NO_CLUSTER_MESSAGE, type Cluster, type ClusterState } from "./cluster.ts";
import type { Addresses } from "./followed-configuration.ts";
import { failure, type Reply } from "./reply.ts";
import type { WireCode } from "../rpc/wire.ts";
import { remainingMs, type Deadline } from "./waiting.ts";

export interface CurrentClusterOptions {
  /** Where servers are reached, whatever the cluster says. */
  readonly addresses?: Addresses;
  /** The leader says that others belong to the cluster than before. */
  readonly onFollow?: (cluster: Cluster) => void;
}

/** How long a server may take to say who belongs to the cluster. */
const ASK_TIMEOUT_MS = 500;

/** The cluster that calls are routed to, as long as it is the same; a new one is waited for. */
export class CurrentCluster {
  readonly #options: CurrentClusterOptions;
  #state: ClusterState = { kind: "changing" };
  #link: ClusterLink | null = null;
  readonly #onState = new Set<() => void>();

  constructor(options: CurrentClusterOptions = {}) {
    this.#options = options;
  }

  /** null: there is none now. */
  get link(): ClusterLink | null {
    return this.#link;
  }

  /** The cluster to route to from now on. What is under way in the one before is answered, and not sent again. */
  setState(state: ClusterState): void {
    this.#state = state;
    this.#link?.close();
    this.#link =
      state.kind === "running" ? new ClusterLink({ ...this.#options, cluster: state.cluster }) : null;
    for (const wake of this.#onState) wake();
  }

  /** The link to the cluster once it is settled whether there is one; null when there is none in time. */
  async settledLink(deadline: Deadline): Promise<ClusterLink | null> {
    while (this.#state.kind === "changing" && remainingMs(deadline) > 0) {
      await new Promise<void>((resolve) => {
        const settle = (): void => {
          clearTimeout(timer);
          this.#onState.delete(settle);
          resolve();
        };
        const timer = setTimeout(settle, remainingMs(deadline));
        this.#onState.add(settle);
      });
    }
    return this.#link;
  }

  /** Why there is no link now. */
  get absence(): { readonly code: WireCode; readonly error: string } {
    return this.#state.kind === "none"
      ? { code: "NO_CLUSTER", error: NO_CLUSTER_MESSAGE }
      : { code: "UNAVAILABLE", error: "the cluster is being started or looked for" };
  }

  /** The answer to a call that got no link within its time. */
  noLink(budgetMs: number): Reply {
    const { code, error } = this.absence;
    if (code === "NO_CLUSTER") return failure(code, error);
    const waited = `was not there within ${Math.round(budgetMs)} ms`;
    return failure(code, `${error}, and ${waited}: nothing was done`);
  }

  /** Asks the servers who belongs to the cluster, and follows the leader's answer. */
  async refresh(): Promise<void> {
    await this.#link?.statuses(ASK_TIMEOUT_MS);
  }
}
