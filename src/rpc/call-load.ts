/** How many calls a server has at once. */
export class CallLoad {
  #open = 0;
  #calls = 0;
  #together = 0;

  /** Those that have come so far. */
  get calls(): number {
    return this.#calls;
  }

  /** For each of them, how many were open when it came, itself included; all added up. */
  get together(): number {
    return this.#together;
  }

  begin(): void {
    this.#open += 1;
    this.#calls += 1;
    this.#together += this.#open;
  }

  /** It has been answered, or refused. */
  end(): void {
    this.#open -= 1;
  }
}
