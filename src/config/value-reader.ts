import { isIP } from "node:net";

/** How the text of one value is read. */
export interface ValueReader<T> {
  /** What is wanted, in words that follow "expected". */
  readonly expected: string;
  /** The value, or undefined when the text is not what is expected. */
  read(text: string): T | undefined;
}

/** A whole number from `min` to `max`, both included, in plain decimal digits. */
export function integer(min: number, max: number): ValueReader<number> {
  return {
    expected: `an integer from ${min} to ${max}`,
    read: (text) => parseDecimal(text, min, max),
  };
}

/** A TCP port. */
export const port: ValueReader<number> = integer(1, 65_535);

/** One of the `choices`. */
export function oneOf<T extends string>(choices: readonly T[]): ValueReader<T> {
  return {
    expected: `one of ${choices.join(", ")}`,
    read: (text) => choices.find((choice) => choice === text),
  };
}

/** Above it, no base port leaves a port for the server. */
export const MAX_SERVER_ID = 65_534;

/** Distinct server ids, at least one. */
export const serverIds: ValueReader<readonly number[]> = {
  expected: `distinct ids from 0 to ${MAX_SERVER_ID}, separated by commas, such as 0,1,2`,
  read(text) {
    const parts = text.split(",").map((part) => parseDecimal(part.trim(), 0, MAX_SERVER_ID));
    const ids = new Set(parts.filter((id) => id !== undefined));
    return ids.size === parts.length ? [...ids] : undefined;
  },
};

/** An IP address, or the name that every machine has for itself. */
export const address: ValueReader<string> = {
  expected: "an IPv4 address, an IPv6 address without brackets, or localhost",
  read: (text) => (text === "localhost" || isIP(text) !== 0 ? text : undefined),
};

/** A directory. "memory", found in older files, means the usual one: state is always kept. */
export const stateDirectory: ValueReader<string> = {
  expected: "the path of a directory",
  read(text) {
    if (text === "" || /\p{Cc}/u.test(text)) return undefined;
    return text === "memory" ? "raft_state" : text;
  },
};

/** A number from `min` to `max`, written the one way that numbers are written. */
function parseDecimal(text: string, min: number, max: number): number | undefined {
  if (!/^(?:0|[1-9]\d*)$/.test(text)) return undefined;
  const value = Number(text);
  return value >= min && value <= max ? value : undefined;
}
