import {
  initialConfiguration,
  isSameConfiguration,
  memberOf,
  votersOf,
  type Configuration,
  type Member,
} from "../raft/configuration.ts";
import type { ServerId } from "../raft/entry.ts";

/** A cluster as the frontend knows it; its leader may know better. */
export interface Cluster {
  /** Drawn anew by every StartRaft. */
  readonly clusterId: string;
  /** At least one, every one with its address. */
  readonly members: Configuration;
}

/** What the frontend has to route calls to. */
export type ClusterState =
  /** Nothing, and nothing is under way. */
  | { readonly kind: "none" }
  /** Nothing yet: a cluster is being started or looked for, and calls wait for it. */
  | { readonly kind: "changing" }
  | { readonly kind: "running"; readonly cluster: Cluster };

export const NO_CLUSTER_MESSAGE = "no cluster: call StartRaft first (raftkv start 3)";

/** A server's "host:port" where config.ini says. */
export type AddressOf = (id: ServerId) => string;

/** A cluster of servers 0 to `servers - 1`, all of them where config.ini says. */
export function newCluster(clusterId: string, servers: number, addressOf: AddressOf): Cluster {
  return { clusterId, members: initialConfiguration([...Array(servers).keys()], addressOf) };
}

/** The ids of the cluster's servers, ascending. */
export function idsOf({ members }: Cluster): readonly ServerId[] {
  return members.map(({ id }) => id);
}

export function votingIds({ members }: Cluster): readonly ServerId[] {
  return votersOf(members);
}

/** null: it is not in the cluster. */
export function memberWith({ members }: Cluster, id: ServerId): Member | null {
  return memberOf(members, id);
}

/** With the address that config.ini gives wherever none stands. */
export function withAddresses(members: Configuration, addressOf: AddressOf): Configuration {
  return members.map((member) =>
    member.address === "" ? { ...member, address: addressOf(member.id) } : member,
  );
}

/** The other way round: "" wherever the address is the one that config.ini gives, and moves with it. */
export function withoutAddresses(members: Configuration, addressOf: AddressOf): Configuration {
  return members.map((member) =>
    member.address === addressOf(member.id) ? { ...member, address: "" } : member,
  );
}

/** Whether they are servers 0 to n-1, all of them voters where config.ini says. */
export function isNumbered(members: Configuration, addressOf: AddressOf): boolean {
  return isSameConfiguration(members, initialConfiguration([...members.keys()], addressOf));
}

/** "servers 0..2", or "servers 0, 2, 5". */
export function describeMembers(cluster: Cluster): string {
  const ids = idsOf(cluster);
  const last = ids.at(-1) ?? 0;
  return ids.length > 2 && last === ids.length - 1 ? `servers 0..${last}` : `servers ${ids.join(", ")}`;
}
