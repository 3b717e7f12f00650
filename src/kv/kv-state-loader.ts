/** Makes a state from its sections (kv-state.ts) and refuses what no server would have written. */
import { unreachable } from "../base/assert.ts";
import type { KvState } from "./kv-state.ts";
import { RetryWindow } from "./retry-window.ts";
import type { Sessions } from "./sessions.ts";

/** The kinds of section after the first, in their order. */
const KINDS = ["data", "requests", "routedCalls", "sessions"] as const;

type Kind = (typeof KINDS)[number];

/** An integer as a client or a frontend names things. */
const ID = /^(?:0|-?[1-9][0-9]*)$/;

/** Two integers as a client names its request. */
const NAME = /^(?:0|-?[1-9][0-9]*)\/(?:0|-?[1-9][0-9]*)$/;

/** A SHA-256 in base64url. */
const FINGERPRINT = /^[A-Za-z0-9_-]{43}$/;

/** A state being read. `add` the sections in order, then `finish`. After a refusal it is of no more use. */
export class KvStateLoader {
  readonly #appliedIndex: number;
  readonly #data = new Map<string, string>();
  /** null: no section has said how large it is. */
  #retries: RetryWindow | null = null;
  #kind: Kind = "data";
  /** Of the newest name of the present kind. */
  #newestIndex = 0;

  /** @param appliedIndex of the last entry in the state; no name may be remembered from after it. */
  constructor(appliedIndex: number) {
    this.#appliedIndex = appliedIndex;
  }

  /** Takes one section over. Returns what is wrong with it, in a few words; null when nothing is. */
  add(section: string): string | null {
    const [first, ...others] = parseSection(section);
    if (first === undefined) return "not a section of a state";
    if (first[0] === "retryCapacity") return this.#begin(first[1], others);
    const kind = KINDS.find((each) => each === first[0]);
    if (kind === undefined || others.length > 0) return "not a section of a state";
    if (this.#retries === null || KINDS.indexOf(kind) < KINDS.indexOf(this.#kind)) {
      return `a section "${kind}" out of order`;
    }
    const [, values] = first;
    if (!Array.isArray(values)) return `a section "${kind}" that is not a list`;
    if (kind !== this.#kind) this.#newestIndex = 0;
    this.#kind = kind;
    return this.#addValues(kind, values, this.#retries);
  }

  /** The state; null when the sections that every state has are not there. Call it once, without a refusal before. */
  finish(): KvState | null {
    if (this.#retries === null) return null;
    return { appliedIndex: this.#appliedIndex, data: this.#data, retries: this.#retries };
  }

  #begin(retryCapacity: unknown, others: readonly Field[]): string | null {
    if (this.#retries !== null) return `a second section "retryCapacity"`;
    if (!isIndex(retryCapacity)) return `a "retryCapacity" that is no number`;
    if (others.length === 0) {
      this.#retries = new RetryWindow(retryCapacity);
      return null;
    }
    const { sessionCapacity, expiredSessions, ...more } = Object.fromEntries(others);
    if (!isIndex(sessionCapacity) || !isCount(expiredSessions) || Object.keys(more).length > 0) {
      return "a first section without the numbers of sessions";
    }
    this.#retries = new RetryWindow(retryCapacity, sessionCapacity);
    this.#retries.sessions.recallExpired(expiredSessions);
    return null;
  }

  #addValues(kind: Kind, values: readonly unknown[], retries: RetryWindow): string | null {
    switch (kind) {
      case "data":
        return this.#addData(values);
      case "requests":
        return this.#addRequests(values, retries);
      case "routedCalls":
        return this.#addRoutedCalls(values, retries.sessions);
      case "sessions":
        return this.#addSessions(values, retries.sessions);
      default:
        return unreachable(kind);
    }
  }

  #addData(values: readonly unknown[]): string | null {
    const data = this.#data;
    const sizeBefore = data.size;
    for (let at = 0; at < values.length; at += 2) {
      const key = values[at];
      const value = values[at + 1];
      if (typeof key !== "string" || typeof value !== "string") return "a key or value that is not a text";
      data.set(key, value);
    }
    return data.size - sizeBefore === values.length / 2 ? null : "a key that is there twice";
  }

  #addRequests(values: readonly unknown[], retries: RetryWindow): string | null {
    for (let at = 0; at < values.length; at += 3) {
      const name = values[at];
      const fingerprint = values[at + 1];
      const index = values[at + 2];
      if (typeof name !== "string" || !NAME.test(name)) return "a request without name or fingerprint";
      if (typeof fingerprint !== "string" || !FINGERPRINT.test(fingerprint)) {
        return "a request without name or fingerprint";
      }
      if (!this.#isNext(index)) return "a request out of order";
      if (!retries.recallRequest(name, { fingerprint, index })) return "a request too many";
    }
    return null;
  }

  #addRoutedCalls(values: readonly unknown[], sessions: Sessions): string | null {
    for (let at = 0; at < values.length; at += 2) {
      const [routerId, routerCall, ...more] = parseIds(values[at]);
      const index = values[at + 1];
      if (routerId === undefined || routerCall === undefined || more.length > 0)
        return "a routed call without name";
      if (!this.#isNext(index)) return "a routed call out of order";
      if (!sessions.recallCall({ routerId, routerCall, index })) return "a routed call too many";
    }
    return null;
  }

  #addSessions(values: readonly unknown[], sessions: Sessions): string | null {
    for (let at = 0; at < values.length; at += 6) {
      const [routerId, ...more] = parseIds(values[at]);
      const [pending, released, forgotten, opener, index] = values.slice(at + 1, at + 6);
      if (routerId === undefined || more.length > 0) return "a session without name";
      if (!isIndex(pending) || !isIndex(released) || released > pending) return "a session without numbers";
      if (!isCount(forgotten) || !isCount(opener)) return "a session without numbers";
      if (!this.#isNext(index)) return "a session out of order";
      const session = { pending, released, forgotten, opener, index };
      if (!sessions.recallSession(routerId, session)) return "a session too many";
    }
    return null;
  }

  /** Memory is in the order of the log, at most one name of a kind from each entry. */
  #isNext(index: unknown): index is number {
    if (!isIndex(index) || index <= this.#newestIndex || index > this.#appliedIndex) return false;
    this.#newestIndex = index;
    return true;
  }
}

type Field = readonly [name: string, value: unknown];

/** The fields of an object, in their order; none: it is no object. */
function parseSection(section: string): readonly Field[] {
  try {
    const parsed: unknown = JSON.parse(section);
    return typeof parsed === "object" && parsed !== null ? Object.entries(parsed) : [];
  } catch {
    return [];
  }
}

/** The integers of a name like "4" or "4/7"; none: it is not written as we write it. */
function parseIds(name: unknown): readonly number[] {
  if (typeof name !== "string") return [];
  const ids = name.split("/");
  const numbers = ids.map(Number);
  return ids.every((id) => ID.test(id)) && numbers.every(Number.isSafeInteger) ? numbers : [];
}

function isIndex(value: unknown): value is number {
  return isCount(value) && value >= 1;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}
