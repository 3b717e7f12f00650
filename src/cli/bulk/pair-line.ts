/**
 * A key and its value as a line of a file, the form that `import` reads and `export` writes:
 *
 *   {"key":"greeting","value":"hello"}
 *
 * JSON escapes control characters and lone surrogates, so that every key and value comes back as it was.
 */
import type { Write } from "../../kv/command.ts";

/** What a line should have been, for whoever wrote another. */
export const EXPECTED = `expected {"key":"…","value":"…"}`;

/** The line, its newline included. */
export function pairLine(key: string, value: string): string {
  return `{"key":${JSON.stringify(key)},"value":${JSON.stringify(value)}}\n`;
}

/** The key and value in a line; or, as a text, what is wrong with it. */
export function parsePairLine(line: string): Write | string {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch {
    return "it is not JSON";
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) return "it is no object";
  const { key, value, ...others }: { key?: unknown; value?: unknown } = parsed;
  if (typeof key !== "string") return `"key" is ${key === undefined ? "missing" : "no text"}`;
  if (typeof value !== "string") return `"value" is ${value === undefined ? "missing" : "no text"}`;
  const [other] = Object.keys(others);
  if (other !== undefined) return `${JSON.stringify(other)} is not known`;
  return key === "" ? `"key" is empty` : { key, value };
}
