/** Few at a time, so that clients meet; each for a while only, so that its history can be checked. */
export class ChaosKeys {
  readonly #atOnce: number;
  readonly #usesEach: number;
  #uses = 0;
  #values = 0;

  constructor(atOnce: number, usesEach: number) {
    this.#atOnce = atOnce;
    this.#usesEach = usesEach;
  }

  /** The next use of one of the keys of this moment. */
  next(): string {
    const age = Math.floor(this.#uses / this.#usesEach);
    const key = (this.#uses % this.#atOnce) + age;
    this.#uses += 1;
    return `key-${key}`;
  }

  /** One that nobody else writes. */
  value(): string {
    this.#values += 1;
    return `value-${this.#values}`;
  }
}
