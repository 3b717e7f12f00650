/**
 * All chance in a simulation comes from here: xoshiro128** (Blackman and Vigna), seeded by splitmix32.
 * The same seed gives the same sequence on every machine.
 */
export class Random {
  readonly #state: Uint32Array;

  /** `seed`: a whole number from 0; `stream` tells apart generators that share it. */
  constructor(seed: number, stream = 0) {
    this.#state = new Uint32Array(4);
    let mixed =
      (seed >>> 0) ^ Math.imul(Math.floor(seed / 2 ** 32) + 1, 0x9e3779b9) ^ Math.imul(stream, 0x85ebca6b);
    for (let i = 0; i < 4; i += 1) {
      mixed = (mixed + 0x9e3779b9) >>> 0;
      let word = mixed;
      word = Math.imul(word ^ (word >>> 16), 0x21f0aaad);
      word = Math.imul(word ^ (word >>> 15), 0x735a2d97);
      this.#state[i] = (word ^ (word >>> 15)) >>> 0;
    }
  }

  /** 0 to 2^32 - 1. */
  #next(): number {
    const state = this.#state;
    const [a = 0, b = 0, c = 0, d = 0] = state;
    const product = Math.imul(b, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const [nextC, nextD] = [c ^ a, d ^ b];
    state[0] = a ^ nextD;
    state[1] = b ^ nextC;
    state[2] = nextC ^ (b << 9);
    state[3] = (nextD << 11) | (nextD >>> 21);
    return result;
  }

  /** A whole number in min..max, both included. */
  int(min: number, max: number): number {
    return min + Math.floor((this.#next() / 2 ** 32) * (max - min + 1));
  }

  /** True with this probability, 0..1. Draws nothing when it is 0. */
  chance(probability: number): boolean {
    return probability > 0 && this.#next() / 2 ** 32 < probability;
  }

  /** One of them; the list is not empty. */
  pick<T>(list: readonly [T, ...T[]]): T {
    return list[this.int(0, list.length - 1)] ?? list[0];
  }

  /** Each of them with this probability, in order. */
  some<T>(list: readonly T[], probability: number): readonly T[] {
    return list.filter(() => this.chance(probability));
  }

  shuffle<T>(list: readonly T[]): T[] {
    const shuffled = [...list];
    for (let i = shuffled.length - 1; i > 0; i -= 1) {
      const j = this.int(0, i);
      const [a, b] = [shuffled[i], shuffled[j]];
      if (a !== undefined && b !== undefined) [shuffled[i], shuffled[j]] = [b, a];
    }
    return shuffled;
  }

  /** Mostly near min, now and then up to max: latencies look like this. */
  skewed(min: number, max: number): number {
    const share = this.#next() / 2 ** 32;
    return min + Math.floor((max - min) * share ** 4);
  }
}
