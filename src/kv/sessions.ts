/**
 * Sessions (dissertation §6.3): which calls of which frontend took effect, so that each does so once however often
 * it is sent (C1).
 *
 * A frontend numbers its calls and says with each which lower ones have their answer and are never sent again: all
 * below `pending`. So a session need hold no others, and holds them exactly, while calls take effect in any order.
 *
 *   call, pending       | why                                                   |          | held afterwards
 *   7, 7                | an unknown session is opened                          | applied  | 7
 *   9, 7                | new                                                   | applied  | 7 9
 *   7, 7 retried        | held                                                  | repeated | 7 9
 *   8, 7 retried        | its first sending was lost                            | applied  | 7 9 8
 *   10, 9               | 7 and 8 have their answers                            | applied  | 9 10
 *   8, 7                | its first sending, late: below pending                | repeated | 9 10
 *
 * Memory is bounded, and what is forgotten is never applied again and never called done. It is expired (C2):
 *
 *   - All sessions together hold so many calls. Beyond that the one longest held goes, and with it whatever is
 *     lower in its session and not held: it is all the same whether that was forgotten.
 *   - There are so many sessions. Beyond that the one goes whose last new call is the oldest. From then on a retried
 *     call of an unknown session is expired. Another call opens the session, perhaps not for the first time: then
 *     a retried call that had its number before the opening one had its answer is expired as well.
 *
 * A call that is not retried can be late, too. One that comes after its session has expired would take effect again
 * if the session has not been opened anew: a server proposes no call whose deadline has passed (C6), and until then
 * there would have to be more other frontends than there are sessions.
 *
 * A call with pending 0 belongs to no session: it is remembered while it is among the calls held, and applied again
 * after that. Logs of older versions have no others.
 *
 * Everything is kept and forgotten by log order alone, so it is the same on every server (C3). A repeated or expired
 * call changes nothing.
 */
import type { RoutedCall } from "./command.ts";
import { FifoMap } from "./fifo-map.ts";

/** How many sessions there are at most. */
export const SESSION_CAPACITY = 1024;

/**
 * How many numbers a call frees in its session at most: when one that was pending for long has its answer, many
 * others are to be forgotten, and no entry may take long to apply.
 */
const MAX_RELEASED = 256;

/** A call that was admitted. */
export interface HeldCall {
  readonly routerId: number;
  readonly routerCall: number;
  /** Where in the log it stands. */
  readonly index: number;
}

/** What is known of a frontend beside the calls held. Calls are named by their numbers, from 1 on. */
export interface Session {
  /** No lower call is sent again. */
  readonly pending: number;
  /** Lower calls have been let go. It follows `pending`, not always at once. */
  readonly released: number;
  /** The highest call that was forgotten while it was pending; 0: none was. No lower one that is not held is known. */
  readonly forgotten: number;
  /** The call that opened it when sessions had expired before, perhaps this one; 0: none had. */
  readonly opener: number;
  /** Where its last new call stands in the log. */
  readonly index: number;
}

/** "new": it takes effect now, if nothing else is against it. Otherwise as in PutResult. */
export type Admission = "new" | "repeated" | "expired";

export class Sessions {
  /** By "routerId/routerCall". */
  readonly #calls: FifoMap<HeldCall>;
  /** By "routerId". */
  readonly #sessions: FifoMap<Session>;
  #expired = 0;

  /**
   * @param callCapacity the calls held of all sessions together, at least 1.
   * @param sessionCapacity the sessions, at least 1.
   */
  constructor(callCapacity: number, sessionCapacity: number) {
    this.#calls = new FifoMap(callCapacity);
    this.#sessions = new FifoMap(sessionCapacity);
  }

  get sessionCapacity(): number {
    return this.#sessions.capacity;
  }

  /** How many sessions have expired so far. */
  get expired(): number {
    return this.#expired;
  }

  /** What to do with the call at `index`. Remembers it when it is new; ask once per index. */
  admit(index: number, call: RoutedCall): Admission {
    const { routerId, routerCall, pending } = call;
    const name = `${routerId}/${routerCall}`;
    if (this.#calls.has(name)) return "repeated";
    if (pending > 0) {
      const session = this.#sessions.get(`${routerId}`);
      const refusal = session === undefined ? this.#refusalOfUnknown(call) : refusalBy(session, call);
      if (refusal !== null) return refusal;
      if (session === undefined) this.#open(index, call);
      else this.#advance(index, call, session);
    }
    const gone = this.#calls.set(name, { routerId, routerCall, index });
    if (gone !== null) this.#forget(gone);
    return "new";
  }

  /** Oldest first. */
  calls(): Iterable<readonly [name: string, call: HeldCall]> {
    return this.#calls.entries();
  }

  /** The one whose last new call is the oldest first. */
  sessions(): Iterable<readonly [routerId: string, session: Session]> {
    return this.#sessions.entries();
  }

  /** What is remembered at this moment, to be read later. */
  freeze(): FrozenSessions {
    return { calls: this.#calls.freeze(), sessions: this.#sessions.freeze(), expired: this.#expired };
  }

  /**
   * Remembers what another one did: the next call, in the order in which that one had them. false, and nothing is
   * changed: the call is known already, or there is no room.
   */
  recallCall(call: HeldCall): boolean {
    const name = `${call.routerId}/${call.routerCall}`;
    if (this.#calls.has(name) || this.#calls.size === this.#calls.capacity) return false;
    this.#calls.set(name, call);
    return true;
  }

  /** The same for the next session. */
  recallSession(routerId: number, session: Session): boolean {
    const name = `${routerId}`;
    if (this.#sessions.has(name) || this.#sessions.size === this.#sessions.capacity) return false;
    this.#sessions.set(name, session);
    return true;
  }

  /** The same for the number of sessions that have expired. */
  recallExpired(expired: number): void {
    this.#expired = expired;
  }

  /** The digests of all of it, which also give away the order. */
  digests(): readonly [calls: bigint, sessions: bigint, expired: bigint] {
    return [this.#calls.digest(), this.#sessions.digest(), BigInt(this.#expired)];
  }

  #refusalOfUnknown({ retried }: RoutedCall): "expired" | null {
    return retried && this.#expired > 0 ? "expired" : null;
  }

  #open(index: number, { routerId, routerCall, pending }: RoutedCall): void {
    const opener = this.#expired > 0 ? routerCall : 0;
    const session = { pending, released: pending, forgotten: 0, opener, index };
    if (this.#sessions.set(`${routerId}`, session) !== null) this.#expired += 1;
  }

  #advance(index: number, { routerId, ...call }: RoutedCall, session: Session): void {
    const pending = Math.max(session.pending, call.pending);
    const released = Math.min(pending, session.released + MAX_RELEASED);
    for (let n = session.released; n < released; n += 1) this.#calls.delete(`${routerId}/${n}`);
    const { forgotten, opener } = session;
    this.#sessions.set(`${routerId}`, { pending, released, forgotten, opener, index });
  }

  /** A call was pushed out. Below `pending` nobody asks for it. */
  #forget({ routerId, routerCall }: HeldCall): void {
    const name = `${routerId}`;
    const session = this.#sessions.get(name);
    if (session === undefined || routerCall < Math.max(session.pending, session.forgotten)) return;
    this.#sessions.replace(name, { ...session, forgotten: routerCall });
  }
}

/** Sessions as they were, oldest first. */
export interface FrozenSessions {
  readonly calls: Iterable<readonly [name: string, call: HeldCall]>;
  readonly sessions: Iterable<readonly [routerId: string, session: Session]>;
  readonly expired: number;
}

/** Why a call that is not held is not new; null: it is. */
function refusalBy(session: Session, { routerCall, pending, retried }: RoutedCall): Admission | null {
  if (routerCall < session.pending) return "repeated";
  if (routerCall <= session.forgotten) return "expired";
  if (retried && pending <= session.opener) return "expired";
  return null;
}
