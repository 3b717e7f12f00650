/** Makes a state from its sections (kv-state.ts) and refuses what no server would have written. */
import type { KvState } from "./kv-state.ts";
import { RetryWindow } from "./retry-window.ts";

/** The order of the kinds of section. */
const KINDS = ["retryCapacity", "data", "requests", "routedCalls"] as const;

type Kind = (typeof KINDS)[number];

/** Two integers as a client or a frontend names its calls. */
const NAME = /^(?:0|-?[1-9][0-9]*)\/(?:0|-?[1-9][0-9]*)$/;

/** A SHA-256 in base64url. */
const FINGERPRINT = /^[A-Za-z0-9_-]{43}$/;

/** A state being read. `add` the sections in order, then `finish`. After a refusal it is of no more use. */
export class KvStateLoader {
  readonly #appliedIndex: number;
  readonly #data = new Map<string, string>();
  /** null: no section has said how large it is. */
  #retries: RetryWindow | null = null;
  #kind: Kind = "retryCapacity";
  /** Of the newest name of the present kind. */
  #newestIndex = 0;

  /** @param appliedIndex of the last entry in the state; no name may be remembered from after it. */
  constructor(appliedIndex: number) {
    this.#appliedIndex = appliedIndex;
  }

  /** Takes one section over. Returns what is wrong with it, in a few words; null when nothing is. */
  add(section: string): string | null {
    const [kind, value] = parseSection(section) ?? [null, null];
    if (kind === null) return "not a section of a state";
    if (kind === "retryCapacity") return this.#addCapacity(value);
    if (this.#retries === null || KINDS.indexOf(kind) < KINDS.indexOf(this.#kind)) {
      return `a section "${kind}" out of order`;
    }
    if (!Array.isArray(value)) return `a section "${kind}" that is not a list`;
    if (kind !== this.#kind) this.#newestIndex = 0;
    this.#kind = kind;
    switch (kind) {
      case "data":
        return this.#addData(value);
      case "requests":
        return this.#addRequests(value, this.#retries);
      case "routedCalls":
        return this.#addRoutedCalls(value, this.#retries);
    }
  }

  /** The state; null when the sections that every state has are not there. Call it once, without a refusal before. */
  finish(): KvState | null {
    if (this.#retries === null) return null;
    return { appliedIndex: this.#appliedIndex, data: this.#data, retries: this.#retries };
  }

  #addCapacity(value: unknown): string | null {
    if (this.#retries !== null) return `a second section "retryCapacity"`;
    if (!isIndex(value)) return `a "retryCapacity" that is no number`;
    this.#retries = new RetryWindow(value);
    return null;
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
      if (!isName(name) || typeof fingerprint !== "string" || !FINGERPRINT.test(fingerprint)) {
        return "a request without name or fingerprint";
      }
      if (!this.#isNext(index)) return "a request out of order";
      if (!retries.recallRequest(name, { fingerprint, index })) return "a request too many";
    }
    return null;
  }

  #addRoutedCalls(values: readonly unknown[], retries: RetryWindow): string | null {
    for (let at = 0; at < values.length; at += 2) {
      const name = values[at];
      const index = values[at + 1];
      if (!isName(name)) return "a routed call without name";
      if (!this.#isNext(index)) return "a routed call out of order";
      if (!retries.recallRoutedCall(name, index)) return "a routed call too many";
    }
    return null;
  }

  /** A window is in the order of the log, at most one name of a kind from each entry. */
  #isNext(index: unknown): index is number {
    if (!isIndex(index) || index <= this.#newestIndex || index > this.#appliedIndex) return false;
    this.#newestIndex = index;
    return true;
  }
}

function parseSection(section: string): readonly [kind: Kind, value: unknown] | null {
  let parsed: unknown;
  try {
    parsed = JSON.parse(section);
  } catch {
    return null;
  }
  if (typeof parsed !== "object" || parsed === null) return null;
  const [first, ...others] = Object.entries(parsed);
  if (first === undefined || others.length > 0) return null;
  const kind = KINDS.find((each) => each === first[0]);
  return kind === undefined ? null : [kind, first[1]];
}

function isIndex(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 1;
}

function isName(value: unknown): value is string {
  return typeof value === "string" && NAME.test(value);
}
