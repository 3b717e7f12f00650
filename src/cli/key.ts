import { textBytes } from "./text-argument.ts";
import { UsageError } from "./usage-error.ts";

/** The KEY argument as it travels. `rawArgs` are the command's arguments, of which it is one. */
export function parseKey(text: string, rawArgs: readonly string[]): Buffer {
  if (text === "") throw new UsageError("KEY must not be empty");
  return textBytes("KEY", text, rawArgs);
}
