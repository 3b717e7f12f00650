/**
 * What the frontend believes of who belongs to the cluster. Pure.
 *
 * The leader of the highest term that was heard counts, and of what that one says, the latest. Others may have
 * an old configuration, or one that will be truncated; but when nobody who is known leads any more, they
 * know of servers that might: those are asked as well, until a leader has spoken.
 */
import { isSameConfiguration, type Member } from "../raft/configuration.ts";
import type { LogIndex, ServerId, Term } from "../raft/entry.ts";
import type { ServerStatus } from "../rpc/wire.ts";
import type { Cluster } from "./cluster.ts";

/** Addresses that count more than those that the cluster itself gives, by id. */
export type Addresses = ReadonlyMap<ServerId, string>;

type Statement = Pick<ServerStatus, "role" | "term" | "members" | "configurationIndex">;

export class FollowedConfiguration {
  #cluster: Cluster;
  readonly #addresses: Addresses;
  /** Whose word `#cluster` is: of the leader of that term, with that index; both below any: of a record. */
  #term: Term = -1;
  #index: LogIndex = -1;
  /** Whom a server that does not lead counts among the members. */
  readonly #hints = new Map<ServerId, Member>();

  constructor(cluster: Cluster, addresses: Addresses) {
    this.#addresses = addresses;
    this.#cluster = { ...cluster, members: cluster.members.map((member) => this.#reachable(member)) };
  }

  get cluster(): Cluster {
    return this.#cluster;
  }

  /** Whom to ask: every member, and who may have become one meanwhile. */
  get servers(): readonly Member[] {
    return [...this.#cluster.members, ...this.#hints.values()];
  }

  /** Takes note of what a server of the cluster says. Whether `servers` may have changed, or `cluster` has. */
  heard({ role, term, members, configurationIndex }: Statement): "nothing" | "servers" | "cluster" {
    if (members.length === 0) return "nothing";
    const isLatest = term > this.#term || (term === this.#term && configurationIndex >= this.#index);
    if (role === "leader" && isLatest) return this.#follow(members, term, configurationIndex);
    if (configurationIndex <= this.#index) return "nothing";
    const known = new Set(this.servers.map(({ id }) => id));
    const others = members.filter(({ id }) => !known.has(id));
    for (const member of others) this.#hints.set(member.id, this.#reachable(member));
    return others.length === 0 ? "nothing" : "servers";
  }

  #follow(members: readonly Member[], term: Term, index: LogIndex): "nothing" | "servers" | "cluster" {
    const hadHints = this.#hints.size > 0;
    this.#term = term;
    this.#index = index;
    this.#hints.clear();
    const next = members.map((member) => this.#reachable(member)).toSorted((a, b) => a.id - b.id);
    if (isSameConfiguration(next, this.#cluster.members)) return hadHints ? "servers" : "nothing";
    this.#cluster = { ...this.#cluster, members: next };
    return "cluster";
  }

  #reachable({ id, address, voter }: Member): Member {
    return { id, address: this.#addresses.get(id) ?? address, voter };
  }
}
