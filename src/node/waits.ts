/** What one owner waits for. All of it can be ended at once. */
export class Waits {
  readonly #ends = new Set<() => void>();
  #ended = false;

  get ended(): boolean {
    return this.#ended;
  }

  /**
   * Resolves to what `begin`'s argument is called with, once; or to null when `end` comes first. After
   * `end` nothing begins any more.
   */
  until<T>(begin: (done: (value: T) => void) => void): Promise<T | null> {
    if (this.#ended) return Promise.resolve(null);
    return new Promise((resolve) => {
      const settle = (value: T | null): void => {
        this.#ends.delete(end);
        resolve(value);
      };
      const end = (): void => settle(null);
      this.#ends.add(end);
      begin(settle);
    });
  }

  end(): void {
    this.#ended = true;
    for (const end of this.#ends) end();
  }
}
