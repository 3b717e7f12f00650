import { encodeText } from "../rpc/text.ts";
import { UsageError } from "./usage-error.ts";

/** The KEY argument as it travels. */
export function parseKey(text: string): Buffer {
  if (text === "") throw new UsageError("KEY must not be empty");
  return encodeText(text);
}
