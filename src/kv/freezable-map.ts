import { assert } from "../base/assert.ts";

/**
 * A Map of which the pairs at one moment can be read while it goes on changing.
 *
 * Freezing copies nothing. A Map keeps its keys in the order in which they were first set, and none is
 * ever removed: so the frozen keys are the first ones, and only the former values of those that are set
 * again meanwhile have to be remembered.
 */
export class FreezableMap {
  readonly #map: Map<string, string>;
  /** What frozen keys held that were set since; null while nothing is frozen. */
  #former: Map<string, string> | null = null;

  /** @param map is taken over: nobody else may change it. */
  constructor(map = new Map<string, string>()) {
    this.#map = map;
  }

  get size(): number {
    return this.#map.size;
  }

  get(key: string): string | undefined {
    return this.#map.get(key);
  }

  /** Returns the former value; undefined when there was none. */
  set(key: string, value: string): string | undefined {
    const former = this.#map.get(key);
    this.#map.set(key, value);
    if (former !== undefined && this.#former !== null && !this.#former.has(key))
      this.#former.set(key, former);
    return former;
  }

  /** Every pair, in the order in which the keys were first set. */
  entries(): IterableIterator<[key: string, value: string]> {
    return this.#map.entries();
  }

  /** Freezes the pairs of this moment, in constant time. One at a time: until `thaw`. */
  freeze(): FrozenPairs {
    assert(this.#former === null, "one frozen state at a time");
    const former = new Map<string, string>();
    this.#former = former;
    const size = this.#map.size;
    return { size, pairs: () => frozenPairs(this.#map, size, former) };
  }

  /** Forgets what was frozen: it must not be read any more. */
  thaw(): void {
    this.#former = null;
  }
}

/** The pairs of a FreezableMap as they were. */
export interface FrozenPairs {
  readonly size: number;
  /** In the order in which the keys were first set. */
  pairs(): Iterable<readonly [key: string, value: string]>;
}

/** Keys that come after the first `size` ones were set later. */
function* frozenPairs(
  map: ReadonlyMap<string, string>,
  size: number,
  former: ReadonlyMap<string, string>,
): Generator<readonly [key: string, value: string], void, undefined> {
  let left = size;
  if (left === 0) return;
  for (const [key, value] of map) {
    yield [key, former.get(key) ?? value];
    left -= 1;
    if (left === 0) return;
  }
}
