import { RaftKvError } from "../base/errors.ts";

/** A term, an index, an id, a size from the wire. Throws RaftKvError "invalidArgument" for what is none. */
export function counter(name: string, value: number): number {
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw invalid(`${name} is ${value}; expected a whole number from 0 to 2^53 - 1`);
}

export function invalid(message: string): RaftKvError {
  return new RaftKvError("invalidArgument", message);
}
