import { writeSync } from "node:fs";
import { isatty } from "node:tty";
import { configureSync, getLogger, type LogRecord } from "@logtape/logtape";
import type { LogLevel } from "./log-level.ts";
import { humanLine, jsonLine, type LogEvent, type LogFields } from "./log-line.ts";

/** Says what happens, under one name. Before `configureLogging`, to nobody. It never throws. */
export interface Logger {
  /** For whoever looks for a fault in this program. */
  debug(message: string, fields?: LogFields): void;
  /** What an operator wants to know. */
  info(message: string, fields?: LogFields): void;
  /** What an operator should look at. */
  warn(message: string, fields?: LogFields): void;
  /** What went wrong. */
  error(message: string, fields?: LogFields): void;
}

const ROOT = "raftkv";
const STDERR = 2;

/**
 * Sends what is at `level` or above to stderr: JSON lines, or a short form for people when that is a
 * terminal. A line is written before the call returns, so that nothing is lost when the process ends.
 * Called again, the new level holds.
 */
export function configureLogging(level: LogLevel): void {
  const format = isatty(STDERR) ? humanLine : jsonLine;
  configureSync({
    reset: true,
    sinks: { stderr: (record: LogRecord) => writeAll(STDERR, format(eventOf(record))) },
    loggers: [
      { category: ROOT, sinks: ["stderr"], lowestLevel: level === "warn" ? "warning" : level },
      { category: ["logtape", "meta"], sinks: ["stderr"], lowestLevel: "warning" },
    ],
  });
}

/** A logger named `category`, dotted: `createLogger("server", "storage")` says "server.storage". */
export function createLogger(...category: readonly string[]): Logger {
  const logger = getLogger([ROOT, ...category]);
  return {
    debug: (message, fields = {}) => logger.debug(message, fields),
    info: (message, fields = {}) => logger.info(message, fields),
    warn: (message, fields = {}) => logger.warn(message, fields),
    error: (message, fields = {}) => logger.error(message, fields),
  };
}

function eventOf(record: LogRecord): LogEvent {
  const [root, ...rest] = record.category;
  return {
    timeMs: record.timestamp,
    level: levelOf(record.level),
    logger: root === ROOT && rest.length > 0 ? rest.join(".") : record.category.join("."),
    // The raw message: braces in it are text like any other.
    message: String(record.rawMessage),
    fields: record.properties,
  };
}

/** We log at four of the library's six levels; its own messages may use the others. */
function levelOf(level: LogRecord["level"]): LogLevel {
  switch (level) {
    case "trace":
      return "debug";
    case "warning":
      return "warn";
    case "fatal":
      return "error";
    default:
      return level;
  }
}

/** How long a reader that does not read may hold the process up at one line. */
const MAX_WAITS = 100;
const WAIT_MS = 1;

/**
 * Writes all of `text` before it returns. A pipe that is full and does not block is waited for, though
 * not for ever: a reader that has stopped must not stop the server, and then the rest of the line is
 * lost. So it is when nobody can read it any more, or the disk is full: a log has nobody to complain to.
 */
function writeAll(descriptor: number, text: string): void {
  let rest: Uint8Array = Buffer.from(text);
  for (let waits = 0; rest.length > 0 && waits < MAX_WAITS;) {
    try {
      rest = rest.subarray(writeSync(descriptor, rest));
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EAGAIN")) return;
      waits += 1;
      Bun.sleepSync(WAIT_MS);
    }
  }
}
