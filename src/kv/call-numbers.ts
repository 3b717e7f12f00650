/** A number for each Put of a frontend, and the lowest one that has no answer yet (RoutedCall in command.ts). */
export class CallNumbers {
  #newest = 0;
  #pending = 1;
  /** Without an answer. */
  readonly #unfinished = new Set<number>();

  /** The next call's number, and the lowest that has no answer, which may be this one. */
  next(): { readonly number: number; readonly pending: number } {
    this.#newest += 1;
    this.#unfinished.add(this.#newest);
    return { number: this.#newest, pending: this.#pending };
  }

  /** The call has its answer: it is never sent again. */
  finished(number: number): void {
    this.#unfinished.delete(number);
    while (this.#pending <= this.#newest && !this.#unfinished.has(this.#pending)) this.#pending += 1;
  }
}
