/**
 * The accesses that are not yet placed in an order, as a list of their starts and ends by time (Wing and
 * Gong, "Testing and verifying concurrent objects", 1993; placing takes two links out and undoing puts
 * them back, as in Lowe, "Testing for linearizability", 2017):
 *
 *   start a   start b   end b   start c   end a   …
 *   └─ may be next ─┘   └ all that starts from here on has to wait for b
 *
 * Optional accesses have no end. At equal times starts come before ends: what touches is concurrent.
 */
import { assert } from "../base/assert.ts";
import type { Access, RegisterValue } from "./register-access.ts";

/** What bounds a search: how many moments and states it may look at. */
export class StepBudget {
  #left: number;

  constructor(maxSteps: number) {
    this.#left = maxSteps;
  }

  get exhausted(): boolean {
    return this.#left < 0;
  }

  spend(steps: number): void {
    this.#left -= steps;
  }
}

/** A link of the list. One that is taken out keeps its neighbours, and goes back between them. */
class Moment {
  previous: Moment = this;
  next: Moment = this;
  /** The access that starts here. */
  readonly starting: PendingAccess | null;
  /** The access that ends here. Both are null at the edge, before the first moment and after the last. */
  readonly ending: PendingAccess | null;

  constructor(starting: PendingAccess | null, ending: PendingAccess | null) {
    this.starting = starting;
    this.ending = ending;
  }

  insertBefore(next: Moment): void {
    this.next = next;
    this.previous = next.previous;
    this.putBack();
  }

  takeOut(): void {
    this.previous.next = this.next;
    this.next.previous = this.previous;
  }

  putBack(): void {
    this.previous.next = this;
    this.next.previous = this;
  }
}

class PendingAccess {
  readonly access: Access;
  /** Its bit among the required accesses, or among the optional ones. */
  readonly bit: number;
  readonly start = new Moment(this, null);
  readonly end = new Moment(null, this);

  constructor(access: Access, bit: number) {
    this.access = access;
    this.bit = bit;
  }
}

export class PendingAccesses {
  readonly #edge = new Moment(null, null);
  readonly #placed: PendingAccess[] = [];
  readonly #budget: StepBudget;
  #requiredCount = 0;
  /** A bit for each required access, by start: set when it is placed. */
  readonly placedRequired: Uint32Array;
  /** The same for the optional ones. */
  readonly placedOptional: Uint32Array;

  /** `accesses` are by start. The counts of their values are kept here from now on. */
  constructor(accesses: readonly Access[], budget: StepBudget) {
    this.#budget = budget;
    let optionalCount = 0;
    const pending = accesses.map((access) => {
      count(access, 1);
      return new PendingAccess(access, access.required ? this.#requiredCount++ : optionalCount++);
    });
    for (const moment of byTime(pending)) moment.insertBefore(this.#edge);
    this.placedRequired = new Uint32Array(Math.ceil(this.#requiredCount / 32));
    this.placedOptional = new Uint32Array(Math.ceil(optionalCount / 32));
  }

  /** How many required accesses are pending. */
  get requiredCount(): number {
    return this.#requiredCount;
  }

  get placedCount(): number {
    return this.#placed.length;
  }

  /** The order so far. */
  get placed(): readonly Access[] {
    return this.#placed.map(({ access }) => access);
  }

  /** Shows each access that may be next, by start, and places those that `take` wants, as they come. */
  sweep(take: (access: Access) => boolean): void {
    let steps = 1;
    for (let moment = this.#edge.next; moment.starting !== null; moment = moment.next) {
      steps += 1;
      if (take(moment.starting.access)) this.#place(moment.starting);
    }
    this.#budget.spend(steps);
  }

  /** Whether something that sets `value` starts before the first required access that needs it has to end. */
  isSetInTime(value: RegisterValue): boolean {
    if (value.requiredNeeds === 0) return true;
    if (value.setters === 0) return false;
    let steps = 1;
    let moment = this.#edge.next;
    while (moment.starting?.access.sets !== value && moment.ending?.access.needs !== value) {
      steps += 1;
      moment = moment.next;
    }
    this.#budget.spend(steps);
    return moment.starting !== null;
  }

  /** Places an access that may be next. */
  place(access: Access): void {
    const before = this.#placed.length;
    this.sweep((candidate) => candidate === access);
    assert(this.#placed.length === before + 1, "an access is placed before its turn");
  }

  /** Takes back all but the first `placedCount` of the order. */
  undo(placedCount: number): void {
    while (this.#placed.length > placedCount) {
      const last = this.#placed.pop();
      if (last !== undefined) this.#putBack(last);
    }
  }

  /** The start goes last, so that its `next` is still right for the sweep that stands on it. */
  #place(pending: PendingAccess): void {
    if (pending.access.required) pending.end.takeOut();
    pending.start.takeOut();
    this.#placed.push(pending);
    this.#record(pending, -1);
  }

  #putBack(pending: PendingAccess): void {
    pending.start.putBack();
    if (pending.access.required) pending.end.putBack();
    this.#record(pending, 1);
  }

  #record({ access, bit }: PendingAccess, change: 1 | -1): void {
    count(access, change);
    if (access.required) this.#requiredCount += change;
    const bits = access.required ? this.placedRequired : this.placedOptional;
    bits[bit >>> 5] = (bits[bit >>> 5] ?? 0) ^ (1 << (bit & 31));
  }
}

function count({ needs, sets, required }: Access, change: 1 | -1): void {
  if (needs !== null) {
    needs.needs += change;
    if (required) needs.requiredNeeds += change;
  }
  if (sets !== null) sets.setters += change;
}

function byTime(pending: readonly PendingAccess[]): readonly Moment[] {
  const moments = pending.map(({ access, start }) => ({ at: access.start, order: 0, moment: start }));
  for (const { access, end } of pending) {
    if (access.required) moments.push({ at: access.end, order: 1, moment: end });
  }
  return moments.toSorted((a, b) => a.at - b.at || a.order - b.order).map(({ moment }) => moment);
}
