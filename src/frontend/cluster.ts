/** More servers than this make a cluster slower and no safer; and a typing error must not start a thousand. */
export const MAX_SERVERS = 15;

/** A cluster: servers 0 to `servers - 1`, all of one StartRaft. */
export interface Cluster {
  /** Drawn anew by every StartRaft. */
  readonly clusterId: string;
  /** How many, from 1 to MAX_SERVERS. */
  readonly servers: number;
}

/** What the frontend has to route calls to. */
export type ClusterState =
  /** Nothing, and nothing is under way. */
  | { readonly kind: "none" }
  /** Nothing yet: a cluster is being started or looked for, and calls wait for it. */
  | { readonly kind: "changing" }
  | { readonly kind: "running"; readonly cluster: Cluster };

export const NO_CLUSTER_MESSAGE = "no cluster: call StartRaft first (raftkv start 3)";
