/**
 * Arguments that are data. What is not UTF-8 in an argument reaches this program as U+FFFD, the replacement
 * character, which people may also mean: only the bytes tell. Linux keeps them.
 */
import { readFileSync } from "node:fs";
import { encodeText } from "../rpc/text.ts";
import { UsageError } from "./usage-error.ts";

const REPLACEMENT = "\uFFFD";
const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * The argument `name` as it travels. `rawArgs` are the last arguments of this process, of which it is one.
 * Throws UsageError when what was written is not UTF-8.
 */
export function textBytes(name: string, text: string, rawArgs: readonly string[]): Buffer {
  const altered = text.includes(REPLACEMENT) && wasAltered(text, rawArgs);
  if (altered) throw new UsageError(`${name} is not UTF-8 text: encode it, for example with base64`);
  return encodeText(text);
}

/** False also where the system does not tell. */
function wasAltered(text: string, rawArgs: readonly string[]): boolean {
  const words = commandLineWords();
  const first = words.length - rawArgs.length;
  return rawArgs.some((arg, at) => {
    const word = words[first + at];
    return arg === text && word !== undefined && !isUtf8(word);
  });
}

/** The words of the command line as bytes; none where the system does not tell. */
function commandLineWords(): readonly Buffer[] {
  let bytes: Buffer;
  try {
    bytes = readFileSync("/proc/self/cmdline");
  } catch {
    return [];
  }
  const words: Buffer[] = [];
  for (let start = 0, end = bytes.indexOf(0); end !== -1; start = end + 1, end = bytes.indexOf(0, start)) {
    words.push(bytes.subarray(start, end));
  }
  return words;
}

function isUtf8(bytes: Uint8Array): boolean {
  try {
    strictDecoder.decode(bytes);
    return true;
  } catch {
    return false;
  }
}
