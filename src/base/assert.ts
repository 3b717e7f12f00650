/** Thrown when the program itself is wrong. It is never caught to go on: it ends the process. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/** States what must be true at this point whatever the outside world does. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** Ends a `switch` over a closed union: a new member becomes a type error here. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${JSON.stringify(value)}`);
}

/** The value, where its absence would be a bug. */
export function defined<T>(value: T, message: string): NonNullable<T> {
  assert(value !== undefined && value !== null, message);
  return value;
}
