import { CallNumbers } from "../kv/call-numbers.ts";
import type { RoutedCall } from "../kv/command.ts";
import type { Random } from "./random.ts";

/** A call that has its number. */
export interface NumberedCall {
  /** As it is sent; `doubtful`: an earlier attempt may have taken effect. */
  readonly routed: (doubtful: boolean) => RoutedCall;
  /** It has its answer, and is not sent any more. */
  readonly finished: () => void;
}

/** One life of a frontend. */
interface Life {
  readonly routerId: number;
  readonly numbers: CallNumbers;
}

/** Gives numbers to the calls of the clients that share it, as a frontend does; now and then it is a new one. */
export class SimFrontend {
  readonly #random: Random;
  readonly #restart: number;
  readonly #nextRouterId: () => number;
  #life: Life;

  /** `restart`: the probability before each call. `nextRouterId` never gives the same twice. */
  constructor(random: Random, restart: number, nextRouterId: () => number) {
    this.#random = random;
    this.#restart = restart;
    this.#nextRouterId = nextRouterId;
    this.#life = this.#begin();
  }

  /** Calls of an earlier life go on under its name. */
  number(): NumberedCall {
    if (this.#random.chance(this.#restart)) this.#life = this.#begin();
    const { routerId, numbers } = this.#life;
    const { number: routerCall, pending } = numbers.next();
    return {
      routed: (doubtful) => ({ routerId, routerCall, pending, retried: doubtful }),
      finished: () => numbers.finished(routerCall),
    };
  }

  #begin(): Life {
    return { routerId: this.#nextRouterId(), numbers: new CallNumbers() };
  }
}
