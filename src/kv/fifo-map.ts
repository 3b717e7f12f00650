import { assert, defined } from "../base/assert.ts";
import { RunningDigest } from "./running-digest.ts";

/**
 * A map that holds the `capacity` names set last and forgets the others, oldest first.
 *
 * A linked list and not a Map's own order: finding the first key of a Map walks over what was deleted
 * before it, which costs microseconds at every eviction from a full one.
 */
export class FifoMap<V> {
  readonly #capacity: number;
  readonly #links = new Map<string, Link<V>>();
  readonly #digest = new RunningDigest();
  #oldest: Link<V> | null = null;
  #newest: Link<V> | null = null;

  /** @param capacity how many names are held, at least 1. */
  constructor(capacity: number) {
    assert(Number.isSafeInteger(capacity) && capacity >= 1, `a capacity of at least 1, not ${capacity}`);
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#links.size;
  }

  get capacity(): number {
    return this.#capacity;
  }

  has(name: string): boolean {
    return this.#links.has(name);
  }

  get(name: string): V | undefined {
    return this.#links.get(name)?.value;
  }

  /**
   * Makes `name` the newest, whether it was held before or not. Returns the value of the oldest name when that had
   * to go, the map being full; null when none had.
   */
  set(name: string, value: V): V | null {
    const former = this.#links.get(name);
    let gone: Link<V> | null = null;
    if (former !== undefined) this.#unlink(former);
    else if (this.#links.size === this.#capacity) {
      gone = defined(this.#oldest, "a full map has an oldest name");
      this.#remove(gone);
    }
    this.#append({ name, value, older: this.#newest, newer: null });
    return gone === null ? null : gone.value;
  }

  /** Gives a name that is held another value, and leaves it its place. */
  replace(name: string, value: V): void {
    const former = defined(this.#links.get(name), "a value is replaced where there is one");
    const { older, newer } = former;
    const link = { name, value, older, newer };
    if (older === null) this.#oldest = link;
    else older.newer = link;
    if (newer === null) this.#newest = link;
    else newer.older = link;
    this.#links.set(name, link);
    this.#digest.toggle(name, former.value);
    this.#digest.toggle(name, value);
  }

  /** Forgets `name`; nothing happens when it is not held. */
  delete(name: string): void {
    const link = this.#links.get(name);
    if (link !== undefined) this.#remove(link);
  }

  /** Oldest first. */
  *entries(): IterableIterator<readonly [name: string, value: V]> {
    for (let link = this.#oldest; link !== null; link = link.newer) yield [link.name, link.value];
  }

  /** The names and values of this moment, oldest first, read later: a copy of references, which is fast. */
  freeze(): Iterable<readonly [name: string, value: V]> {
    const links: Link<V>[] = [];
    for (let link = this.#oldest; link !== null; link = link.newer) links.push(link);
    return { [Symbol.iterator]: () => pairsOf(links) };
  }

  /** Of the names and values; not of their order, which values that grow (an index) give away. */
  digest(): bigint {
    return this.#digest.read(this.entries());
  }

  /** At the newest end, and its name leads to it. */
  #append(link: Link<V>): void {
    if (this.#newest === null) this.#oldest = link;
    else this.#newest.newer = link;
    this.#newest = link;
    this.#links.set(link.name, link);
    this.#digest.toggle(link.name, link.value);
  }

  #remove(link: Link<V>): void {
    this.#unlink(link);
    this.#links.delete(link.name);
  }

  /** Out of the list; its name still leads to it. */
  #unlink(link: Link<V>): void {
    if (link.older === null) this.#oldest = link.newer;
    else link.older.newer = link.newer;
    if (link.newer === null) this.#newest = link.older;
    else link.newer.older = link.older;
    this.#digest.toggle(link.name, link.value);
  }
}

/** A link's name and value never change; only its neighbours do. */
function* pairsOf<V>(
  links: readonly Link<V>[],
): Generator<readonly [name: string, value: V], void, undefined> {
  for (const { name, value } of links) yield [name, value];
}

/** One name, between the one set before it and the one set after it. */
interface Link<V> {
  readonly name: string;
  readonly value: V;
  older: Link<V> | null;
  newer: Link<V> | null;
}
