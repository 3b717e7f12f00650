import { writesOf, type Command, type RoutedCall } from "../kv/command.ts";
import type { PutResult } from "../kv/state-machine.ts";
import type { LogIndex } from "../raft/entry.ts";
import type { MachineSizes } from "./reference-machine.ts";

type Result = PutResult["kind"];

/** What is known of one frontend. */
interface Frontend {
  /** Its calls that took effect, ever: how many calls of all frontends had done so by then. */
  readonly applied: Map<number, number>;
  /** No lower call is sent any more, as its new calls have said. */
  pending: number;
  /** The call that opened its session when others had expired; 0: none had. */
  opener: number;
  /** Where its last new call stands; null: its session has expired. */
  lastNew: LogIndex | null;
}

interface Possibilities {
  readonly refusals: readonly Result[];
  readonly mayBeNew: boolean;
}

/**
 * What the log says that must become of each write in it (C1, C3): one that is done already is done no second time, and
 * none is refused as expired but one whose session, or whose successors' memory, had to go. It forgets nothing, unlike
 * the servers.
 */
export class ExpectedResults {
  readonly #sizes: MachineSizes;
  readonly #frontends = new Map<number, Frontend>();
  /** By pair: the last write under it. */
  readonly #lastUnder = new Map<string, string>();
  #calls = 0;
  #expired = 0;

  constructor(sizes: MachineSizes) {
    this.#sizes = sizes;
  }

  /** How many sessions have expired. */
  get expired(): number {
    return this.#expired;
  }

  /** What may become of the write at `index`, of which `result` became; each once, in the order of the log. */
  admit(index: LogIndex, command: Command, result: Result): readonly Result[] {
    const { kind, request, routed } = command;
    if (routed !== null) {
      const { refusals, mayBeNew } = this.#possibilities(routed);
      if (!mayBeNew || refusals.includes(result)) return refusals;
    }
    if (routed !== null) this.#remember(index, routed);
    if (request === null) return ["applied"];
    const pair = `${request.clientId}/${request.requestId}`;
    const write = JSON.stringify([kind, ...writesOf(command).map(({ key, value }) => [key, value])]);
    if (this.#lastUnder.get(pair) === write) return ["repeated"];
    this.#lastUnder.set(pair, write);
    return ["applied"];
  }

  /** What may be made of the call. Both where it depends on how much room there was in the memory of calls. */
  #possibilities({ routerId, routerCall, pending, retried }: RoutedCall): Possibilities {
    const frontend = this.#frontends.get(routerId);
    const order = frontend?.applied.get(routerCall);
    if (frontend === undefined || frontend.lastNew === null) {
      if (order !== undefined) return refused("repeated", "expired");
      return retried && this.#expired > 0 ? refused("expired") : { refusals: [], mayBeNew: true };
    }
    if (order !== undefined)
      return this.#mayBeForgotten(order) ? refused("repeated", "expired") : refused("repeated");
    if (routerCall < frontend.pending) return refused("repeated");
    if (retried && pending <= frontend.opener) return refused("expired");
    const later = [...frontend.applied].some(([call, at]) => call > routerCall && this.#mayBeForgotten(at));
    return { refusals: later ? ["expired"] : [], mayBeNew: true };
  }

  /** Whether a call that was new then may have gone from the memory of calls since. */
  #mayBeForgotten(order: number): boolean {
    return this.#calls - order >= this.#sizes.window;
  }

  #remember(index: LogIndex, { routerId, routerCall, pending }: RoutedCall): void {
    this.#calls += 1;
    const frontend = this.#frontends.get(routerId) ?? newFrontend();
    this.#frontends.set(routerId, frontend);
    if (frontend.lastNew === null) {
      frontend.opener = this.#expired > 0 ? routerCall : 0;
      frontend.pending = pending;
    }
    frontend.pending = Math.max(frontend.pending, pending);
    frontend.lastNew = index;
    frontend.applied.set(routerCall, this.#calls);
    this.#expireOldest();
  }

  #expireOldest(): void {
    const living = [...this.#frontends.values()].filter(({ lastNew }) => lastNew !== null);
    if (living.length <= this.#sizes.sessions) return;
    const [oldest] = living.toSorted((a, b) => (a.lastNew ?? 0) - (b.lastNew ?? 0));
    if (oldest === undefined) return;
    oldest.lastNew = null;
    this.#expired += 1;
  }
}

function newFrontend(): Frontend {
  return { applied: new Map(), pending: 0, opener: 0, lastNew: null };
}

function refused(...refusals: readonly Result[]): Possibilities {
  return { refusals, mayBeNew: false };
}
