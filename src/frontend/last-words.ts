/** Why a server ended, as its log tells. */
import { z } from "zod";
import { LOG_LEVELS } from "../observability/log-level.ts";

/** How much of a log's end is looked at, and how much of a line is quoted. */
const MAX_TAIL_BYTES = 16_384;
const MAX_QUOTE_CHARACTERS = 500;

const logLine = z.object({
  level: z.enum(LOG_LEVELS),
  message: z.string(),
  fields: z.object({ error: z.object({ message: z.string() }).optional() }).optional(),
});

/**
 * The last complaint written to the log after `startBytes`: a warning, an error, or a line that is not
 * structured. What else a server says is no reason to end; without a complaint, this says where the log is.
 */
export async function lastWords(logPath: string, startBytes: number): Promise<string> {
  const complaint = (await tailLines(logPath, startBytes)).findLast((line) => complaintOf(line) !== null);
  const words = complaint === undefined ? null : complaintOf(complaint);
  return words?.slice(0, MAX_QUOTE_CHARACTERS) ?? `its log is ${logPath}`;
}

async function tailLines(path: string, startBytes: number): Promise<readonly string[]> {
  try {
    const file = Bun.file(path);
    const start = Math.max(startBytes, file.size - MAX_TAIL_BYTES);
    const lines = (await file.slice(start).text()).split("\n");
    // Where the tail begins in the middle, its first line is what is left of one.
    return start > startBytes ? lines.slice(1) : lines;
  } catch {
    return [];
  }
}

/** null for what is none. */
function complaintOf(line: string): string | null {
  const text = line.trim();
  if (text === "") return null;
  const parsed = logLine.safeParse(parseJson(text));
  if (!parsed.success) return text;
  const { level, message, fields } = parsed.data;
  if (level !== "warn" && level !== "error") return null;
  return fields?.error === undefined ? message : `${message}: ${fields.error.message}`;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
