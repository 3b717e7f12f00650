import { hash } from "node:crypto";

/** A 64-bit digest. */
type Digest = bigint;

/**
 * A digest of a set of named values that does not depend on their order: the XOR of a hash of each.
 *
 * Only tests and simulation ask for it, so it costs nothing until it is read for the first time; that
 * read folds all there is, and from then on every change costs one hash.
 */
export class RunningDigest {
  /** null: nobody has asked yet. */
  #sum: Digest | null = null;

  /** Says that `name` has come to hold `value`, or holds it no longer. */
  toggle(name: string, value: unknown): void {
    if (this.#sum !== null) this.#sum ^= elementDigest(name, value);
  }

  /** The digest of `elements`, which must be what the calls of `toggle` have led to. */
  read(elements: Iterable<readonly [name: string, value: unknown]>): Digest {
    this.#sum ??= digestOf(elements);
    return this.#sum;
  }
}

/** The same digest, computed from nothing but the elements. */
export function digestOf(elements: Iterable<readonly [name: string, value: unknown]>): Digest {
  let sum = 0n;
  for (const [name, value] of elements) sum ^= elementDigest(name, value);
  return sum;
}

/** JSON escapes lone surrogates, so that strings which UTF-8 cannot tell apart stay apart. */
function elementDigest(name: string, value: unknown): Digest {
  return BigInt(`0x${hash("sha256", JSON.stringify([name, value]), "hex").slice(0, 16)}`);
}
