/**
 * The state of the store as a value, and as text: a row of sections, each a JSON text without a newline,
 *
 *   {"retryCapacity":65536,"sessionCapacity":1024,"expiredSessions":0}      the first one, once
 *   {"data":["k1","v1","k2","v2"]}              keys with their values, in the order in which they were first set
 *   {"requests":["1/9","<fingerprint>",44]}     the last write under each pair, oldest first, with its log index
 *   {"routedCalls":["4/7",45]}                  the calls held, oldest first, with their log index
 *   {"sessions":["4",7,7,0,0,45]}               the sessions: pending, released, forgotten, opener and index of each
 *
 * of about SECTION_LENGTH characters; any number of each of the last four, in this order. Servers that have
 * applied the same log write the same sections, byte for byte. JSON escapes control characters and lone
 * surrogates, so every string comes back as it was. kv-state-loader.ts reads them.
 *
 * The capacities stand there because the same memory means something else where there is room for more or less:
 * the next new name would push out another old one. Older versions knew no sessions: their first section is
 * {"retryCapacity":65536}, and their routed calls are held as those of frontends without a session.
 */
import type { FrozenRetries, RetryWindow } from "./retry-window.ts";

/** A section ends with the pair that makes it this long, in UTF-16 units of its strings. */
export const SECTION_LENGTH = 65_536;

/** Everything that the state machine is, at one moment of the log. */
export interface KvState {
  /** The index of the last entry in it. */
  readonly appliedIndex: number;
  readonly data: Map<string, string>;
  readonly retries: RetryWindow;
}

/** What sections are made of; each part is walked once. */
export interface StateParts extends FrozenRetries {
  readonly retryCapacity: number;
  readonly sessionCapacity: number;
  readonly data: Iterable<readonly [key: string, value: string]>;
}

/** The parts of a whole state, which must not change while they are walked. */
export function partsOf({ data, retries }: KvState): StateParts {
  const { capacity, sessions } = retries;
  return {
    retryCapacity: capacity,
    sessionCapacity: sessions.sessionCapacity,
    data,
    requests: retries.requests(),
    calls: sessions.calls(),
    sessions: sessions.sessions(),
    expired: sessions.expired,
  };
}

/** The sections, each made when it is asked for. */
export function* encodeSections(parts: StateParts): Generator<string, void, undefined> {
  const { retryCapacity, sessionCapacity, expired } = parts;
  yield JSON.stringify({ retryCapacity, sessionCapacity, expiredSessions: expired });
  yield* pack("data", parts.data, ([key, value]) => [key, value]);
  yield* pack("requests", parts.requests, ([name, last]) => [name, last.fingerprint, last.index]);
  yield* pack("routedCalls", parts.calls, ([name, call]) => [name, call.index]);
  yield* pack("sessions", parts.sessions, ([routerId, { pending, released, forgotten, opener, index }]) => [
    routerId,
    pending,
    released,
    forgotten,
    opener,
    index,
  ]);
}

type Scalar = string | number;

/** What an index or a short name adds to a section's length, roughly. */
const SCALAR_LENGTH = 8;

function* pack<T>(
  name: string,
  items: Iterable<T>,
  flatten: (item: T) => readonly Scalar[],
): Generator<string, void, undefined> {
  let values: Scalar[] = [];
  let length = 0;
  for (const item of items) {
    for (const value of flatten(item)) {
      values.push(value);
      length += typeof value === "string" ? value.length + SCALAR_LENGTH : SCALAR_LENGTH;
    }
    if (length >= SECTION_LENGTH) {
      yield JSON.stringify({ [name]: values });
      values = [];
      length = 0;
    }
  }
  if (values.length > 0) yield JSON.stringify({ [name]: values });
}
