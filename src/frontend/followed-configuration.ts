/**
 * What the frontend believes of who belongs to the cluster. Pure.
 *
 * The leader of the highest term that was heard counts, and of what that one says, the latest. Others may have
 * an old configuration, or one that will be truncated; so may a leader that was heard and is lost. When nobody who
 * is known leads where it was, the others know of servers that might, and where: there it is asked as well, until
 * a leader has spoken.
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
  /** Whom a server that does not lead counts among the members; perhaps a member, at another address. */
  #hints: readonly Member[] = [];

  constructor(cluster: Cluster, addresses: Addresses) {
    this.#addresses = addresses;
    this.#cluster = { ...cluster, members: cluster.members.map((member) => this.#reachable(member)) };
  }

  get cluster(): Cluster {
    return this.#cluster;
  }

  /** Whom to ask, and where: first every member, then who may have become one meanwhile, or be elsewhere. */
  get servers(): readonly Member[] {
    return [...this.#cluster.members, ...this.#hints];
  }

  /** Takes note of what a server of the cluster says. Whether `servers` may have changed, or `cluster` has. */
  heard({ role, term, members, configurationIndex }: Statement): "nothing" | "servers" | "cluster" {
    if (members.length === 0) return "nothing";
    const isLatest = term > this.#term || (term === this.#term && configurationIndex >= this.#index);
    if (role === "leader" && isLatest) return this.#follow(members, term, configurationIndex);
    // What the leader that was heard had beyond this one, a leader of a later term may have undone (M3).
    if (term <= this.#term && configurationIndex <= this.#index) return "nothing";
    const known = new Set(this.servers.map(placeOf));
    const others = members
      .map((member) => this.#reachable(member))
      .filter((member) => !known.has(placeOf(member)));
    this.#hints = [...this.#hints, ...others];
    return others.length === 0 ? "nothing" : "servers";
  }

  #follow(members: readonly Member[], term: Term, index: LogIndex): "nothing" | "servers" | "cluster" {
    const hadHints = this.#hints.length > 0;
    this.#term = term;
    this.#index = index;
    this.#hints = [];
    const next = members.map((member) => this.#reachable(member)).toSorted((a, b) => a.id - b.id);
    if (isSameConfiguration(next, this.#cluster.members)) return hadHints ? "servers" : "nothing";
    this.#cluster = { ...this.#cluster, members: next };
    return "cluster";
  }

  #reachable({ id, address, voter }: Member): Member {
    return { id, address: this.#addresses.get(id) ?? address, voter };
  }
}

/** The server and its address, as one word. */
function placeOf({ id, address }: Member): string {
  return `${id}=${address}`;
}
