/**
 * The retry rule: which writes are a write of their own, and which repeat one that has taken effect.
 *
 * A write, of one key or of many, can carry two names, and repeats another if either says so.
 *
 *   routed call   A frontend's name for one call of a client, however often it sends that call. It is
 *                 never reused, so the name alone decides, by the rules of sessions.ts. It is remembered
 *                 even when the request below says "repeat": the frontend may send this call once more
 *                 after the pair has moved on.
 *   request       A client's (clientId, requestId). Clients reuse one pair for different writes, so it
 *                 names the *last* write under the pair, told by a fingerprint of key and value, or of
 *                 all of them: the same again is a repeat, and anything else is a new write that takes its
 *                 place.
 *
 *   log                        | why                                             |
 *   [1/1 A, routed 7/1]        | new pair                                        | applied
 *   [1/1 B, routed 7/2]        | the pair's last write was A, not B              | applied
 *   [1/1 A, routed 7/1]        | the frontend sends its first call again         | repeated
 *   [1/1 A, routed 7/3]        | a new call, and the pair's last write was B     | applied
 *   [1/1 A, routed 7/4]        | the client sends its last write again           | repeated
 *   [1/1 B] then [1/1 A, 7/4]  | B is new; 7/4 was remembered when it repeated   | applied, repeated
 *
 * Pairs are remembered for the last `capacity` writes that carried a new one, and forgotten by nothing but
 * log order, so they are the same on every server (C3). A new write under an old pair makes the pair the
 * newest; a repeat does not move it, so that a place in the window always means one thing: the log index at
 * which a write took effect. The capacity is part of what the log means: servers that differ in it would part.
 */
import { hash } from "node:crypto";
import { unreachable } from "../base/assert.ts";
import type { Command } from "./command.ts";
import { FifoMap } from "./fifo-map.ts";
import { SESSION_CAPACITY, Sessions, type FrozenSessions } from "./sessions.ts";

/** How many requests are remembered, and how many routed calls beside them at most. */
export const RETRY_WINDOW_CAPACITY = 65_536;

/** The last write that took effect under a request's pair. */
export interface RememberedRequest {
  /** Of its keys and values. */
  readonly fingerprint: string;
  /** Where in the log it stands. */
  readonly index: number;
}

export class RetryWindow {
  /** By "clientId/requestId". */
  readonly #requests: FifoMap<RememberedRequest>;
  /** Of the frontends. */
  readonly sessions: Sessions;

  /**
   * @param capacity the requests remembered, and the routed calls, at least 1.
   * @param sessionCapacity the sessions of frontends, at least 1.
   */
  constructor(capacity: number, sessionCapacity = SESSION_CAPACITY) {
    this.#requests = new FifoMap(capacity);
    this.sessions = new Sessions(capacity, sessionCapacity);
  }

  /** What becomes of the write at `index`, as in PutResult. Remembers its names; call it once per index. */
  admit(index: number, write: Command): "applied" | "repeated" | "expired" {
    const { request, routed } = write;
    if (routed !== null) {
      const admission = this.sessions.admit(index, routed);
      if (admission !== "new") return admission;
    }
    if (request !== null) {
      const name = `${request.clientId}/${request.requestId}`;
      const fingerprint = fingerprintOf(write);
      if (this.#requests.get(name)?.fingerprint === fingerprint) return "repeated";
      this.#requests.set(name, { fingerprint, index });
    }
    return "applied";
  }

  /** How many requests, and how many routed calls, are remembered at most. */
  get capacity(): number {
    return this.#requests.capacity;
  }

  /**
   * Remembers what another window did: the next request, in the order in which that window had them. false,
   * and nothing is changed: the name is known already, or there is no room.
   */
  recallRequest(name: string, last: RememberedRequest): boolean {
    if (this.#requests.has(name) || this.#requests.size === this.#requests.capacity) return false;
    this.#requests.set(name, last);
    return true;
  }

  /** What is remembered at this moment, to be read later. */
  freeze(): FrozenRetries {
    return { requests: this.#requests.freeze(), ...this.sessions.freeze() };
  }

  /** Oldest first. */
  requests(): Iterable<readonly [name: string, last: RememberedRequest]> {
    return this.#requests.entries();
  }

  /** The digests of all that is remembered, which also give away its order. */
  digests(): readonly bigint[] {
    return [this.#requests.digest(), ...this.sessions.digests()];
  }
}

/** What a RetryWindow remembered, oldest first. */
export interface FrozenRetries extends FrozenSessions {
  readonly requests: Iterable<readonly [name: string, last: RememberedRequest]>;
}

/**
 * Equal for equal writes and, as far as SHA-256 goes, only for those, whatever a hostile client sends: JSON marks
 * where a key or a value ends, and escapes lone surrogates, which UTF-8 would make one character.
 */
function fingerprintOf(write: Command): string {
  return hash("sha256", JSON.stringify(contentOf(write)), "base64url");
}

/** A put of one key is another write than a batch of one, and its fingerprint is that of older versions. */
function contentOf(write: Command): unknown {
  switch (write.kind) {
    case "put":
      return [write.key, write.value];
    case "putMany":
      return write.writes.map(({ key, value }) => [key, value]);
    default:
      return unreachable(write);
  }
}
