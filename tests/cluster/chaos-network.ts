import { formatPeers } from "../../src/config/peers.ts";
import type { ServerId } from "../../src/raft/entry.ts";
import { LinkProxy, PASS, type Treatment } from "./link-proxy.ts";

/**
 * The servers' network: every one reaches every other through a proxy of its own. What is done to an arc, from one
 * server to another, meets everything on that way: the requests of the one and its answers to the other's.
 */
export class ChaosNetwork {
  readonly #ids: readonly ServerId[];
  /** By who connects, and to whom. */
  readonly #proxies: ReadonlyMap<ServerId, ReadonlyMap<ServerId, LinkProxy>>;

  private constructor(
    ids: readonly ServerId[],
    proxies: ReadonlyMap<ServerId, ReadonlyMap<ServerId, LinkProxy>>,
  ) {
    this.#ids = ids;
    this.#proxies = proxies;
  }

  /** Between the servers of these ids, each of which listens on `portOf`. */
  static async between(ids: readonly ServerId[], portOf: (id: ServerId) => number): Promise<ChaosNetwork> {
    const proxies = new Map<ServerId, Map<ServerId, LinkProxy>>();
    for (const from of ids) {
      const links = new Map<ServerId, LinkProxy>();
      for (const to of ids) if (to !== from) links.set(to, await LinkProxy.to(portOf(to)));
      proxies.set(from, links);
    }
    return new ChaosNetwork(ids, proxies);
  }

  get ports(): readonly number[] {
    return this.#all().map(({ port }) => port);
  }

  /** What server `from` is told by --via: where it reaches each of the others. */
  via(from: ServerId): string {
    const links = [...(this.#proxies.get(from) ?? [])];
    return formatPeers(links.map(([id, { port }]) => ({ id, address: `127.0.0.1:${port}` })));
  }

  /** Whether bytes from one to the other meet nothing. */
  isClear(from: ServerId, to: ServerId): boolean {
    const there = this.#link(from, to).treatment("forward");
    const back = this.#link(to, from).treatment("backward");
    return there.kind === "pass" && back.kind === "pass";
  }

  treat(from: ServerId, to: ServerId, treatment: Treatment): void {
    this.#link(from, to).treat("forward", treatment);
    this.#link(to, from).treat("backward", treatment);
  }

  /** Ends every connection between the two. */
  reset(one: ServerId, other: ServerId): void {
    this.#link(one, other).reset();
    this.#link(other, one).reset();
  }

  heal(): void {
    for (const from of this.#ids) {
      for (const to of this.#ids) if (to !== from) this.treat(from, to, PASS);
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#all().map((proxy) => proxy.close()));
  }

  #link(from: ServerId, to: ServerId): LinkProxy {
    const proxy = this.#proxies.get(from)?.get(to);
    if (proxy === undefined) throw new RangeError(`there is no link from server ${from} to server ${to}`);
    return proxy;
  }

  #all(): readonly LinkProxy[] {
    return this.#proxies
      .values()
      .flatMap((links) => links.values())
      .toArray();
  }
}
