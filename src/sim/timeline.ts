/** Something that will happen. `order` settles what happens first at the same moment. */
interface Due {
  readonly atUs: number;
  readonly order: number;
  readonly action: () => void;
}

/** Virtual time, in whole microseconds from 0, and everything that is yet to happen: a binary heap. */
export class Timeline {
  readonly #heap: Due[] = [];
  #order = 0;
  #nowUs = 0;

  get nowUs(): number {
    return this.#nowUs;
  }

  get pending(): number {
    return this.#heap.length;
  }

  /** Never early: `delayUs` is rounded up. What is due at the same moment happens in the order of the calls. */
  schedule(delayUs: number, action: () => void): void {
    this.#order += 1;
    this.#push({ atUs: this.#nowUs + Math.max(0, Math.ceil(delayUs)), order: this.#order, action });
  }

  /** Goes to the next moment at which something is due and returns it; null when nothing ever is. */
  next(): (() => void) | null {
    const first = this.#heap[0];
    const last = this.#heap.pop();
    if (first === undefined || last === undefined) return null;
    if (first !== last) this.#sink(last);
    this.#nowUs = first.atUs;
    return first.action;
  }

  #push(due: Due): void {
    const heap = this.#heap;
    let at = heap.length;
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = heap[parentAt];
      if (parent === undefined || isBefore(parent, due)) break;
      heap[at] = parent;
      at = parentAt;
    }
    heap[at] = due;
  }

  /** Puts `due` in at the top, which is free. */
  #sink(due: Due): void {
    const heap = this.#heap;
    let at = 0;
    for (;;) {
      let childAt = 2 * at + 1;
      const [left, right] = [heap[childAt], heap[childAt + 1]];
      if (left === undefined) break;
      let child = left;
      if (right !== undefined && isBefore(right, left)) {
        child = right;
        childAt += 1;
      }
      if (isBefore(due, child)) break;
      heap[at] = child;
      at = childAt;
    }
    heap[at] = due;
  }
}

function isBefore(a: Due, b: Due): boolean {
  return a.atUs < b.atUs || (a.atUs === b.atUs && a.order < b.order);
}
