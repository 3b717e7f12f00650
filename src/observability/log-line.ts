/**
 * What a log line looks like. For machines, one JSON object a line:
 *
 *   {"time":"2025-01-31T12:00:00.000Z","level":"warn","logger":"server.storage","message":"…","fields":{…}}
 *
 * `fields` is absent when there are none. For people at a terminal, the same in short:
 *
 *   12:00:00.000 WARN  server.storage  torn tail cut off  file=log-1.jsonl bytes=17
 */
import type { LogLevel } from "./log-level.ts";

/** What is known beside the message, by name. Never keys' values: they belong to the clients. */
export type LogFields = Readonly<Record<string, unknown>>;

export interface LogEvent {
  /** Milliseconds since the epoch. */
  readonly timeMs: number;
  readonly level: LogLevel;
  /** Who says it, dotted. */
  readonly logger: string;
  readonly message: string;
  readonly fields: LogFields;
}

/** One line, newline included, whatever the fields hold. */
export function jsonLine(event: LogEvent): string {
  const { timeMs, level, logger, message, fields } = event;
  const head = { time: new Date(timeMs).toISOString(), level, logger, message };
  if (Object.keys(fields).length === 0) return `${JSON.stringify(head)}\n`;
  try {
    return `${JSON.stringify({ ...head, fields }, toPlain)}\n`;
  } catch (error) {
    return `${JSON.stringify({ ...head, fields: { unprintable: String(error) } })}\n`;
  }
}

/** One line, newline included. Times are UTC, so that they can be found again in the machines' form. */
export function humanLine(event: LogEvent): string {
  const time = new Date(event.timeMs).toISOString().slice(11, 23);
  const fields = Object.entries(event.fields).map(
    ([name, value]) => ` ${oneLine(name)}=${humanValue(value)}`,
  );
  const separator = fields.length === 0 ? "" : " ";
  return `${time} ${event.level.toUpperCase().padEnd(5)} ${event.logger}  ${oneLine(event.message)}${separator}${fields.join("")}\n`;
}

/** An error as a plain object; its name is left out, for it says no more than `code` and `stack`. */
interface PlainError {
  readonly code?: unknown;
  readonly message: string;
  readonly stack?: string;
  readonly cause?: PlainError;
}

/** How many causes are told below an error; further down there may be a circle. */
const MAX_CAUSES = 4;

function plainError(error: Error, causes = MAX_CAUSES): PlainError {
  const { cause } = error;
  return {
    ...("code" in error && error.code !== undefined && { code: error.code }),
    message: error.message,
    ...(error.stack !== undefined && { stack: error.stack }),
    ...(cause instanceof Error && causes > 0 && { cause: plainError(cause, causes - 1) }),
  };
}

/** What JSON cannot say, as something it can. */
function toPlain(_name: string, value: unknown): unknown {
  if (value instanceof Error) return plainError(value);
  return typeof value === "bigint" ? String(value) : value;
}

/** A word stands as it is; anything else is quoted as JSON. */
function humanValue(value: unknown): string {
  if (value instanceof Error) {
    const code = "code" in value && value.code !== undefined ? ` (${String(value.code)})` : "";
    return oneLine(`${value.message}${code}`);
  }
  if (typeof value === "string") return /^[\w.:/@+-]+$/.test(value) ? value : JSON.stringify(value);
  try {
    return JSON.stringify(value, toPlain) ?? String(value);
  } catch (error) {
    return `unprintable: ${String(error)}`;
  }
}

/** Without what would break the line or command the terminal. */
function oneLine(text: string): string {
  return text.replaceAll(/[\p{Cc}\u2028\u2029]+/gu, " ");
}
