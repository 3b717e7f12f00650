import type { PeerAddress } from "../config/peers.ts";
import { serverAddress, type Config } from "../config/config.ts";
import type { Member } from "../raft/configuration.ts";
import type { ServerId } from "../raft/entry.ts";

type Located = Pick<Member, "id" | "address">;

/** Where the servers are, "host:port". */
export class Addresses {
  readonly #config: Config;
  readonly #via: ReadonlyMap<ServerId, string>;

  /** `via`: members that this server reaches elsewhere than the others are told, as through a tunnel. */
  constructor(config: Config, via: readonly PeerAddress[]) {
    this.#config = config;
    this.#via = new Map(via.map(({ id, address }) => [id, address]));
  }

  /** What others are told: as the configuration has it, or else where config.ini says. */
  told({ id, address }: Located): string {
    return address === "" ? serverAddress(this.#config, id) : address;
  }

  /** How a configuration has it: the reverse of `told`. */
  written({ id, address }: Located): string {
    return address === serverAddress(this.#config, id) ? "" : address;
  }

  /** Where this server finds the member. */
  reached(member: Located): string {
    return this.#via.get(member.id) ?? this.told(member);
  }
}
