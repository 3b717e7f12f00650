import { RaftKvError } from "../../base/errors.ts";

/** Lines that came together. */
export interface TextLines {
  /** The number of the first one, from 1 on. */
  readonly firstNumber: number;
  /** Without their ends. */
  readonly lines: readonly string[];
  /** What they have on average in the file, with their ends. */
  readonly bytesPerLine: number;
}

/** A line that is no text, or of which the end does not come. */
export class LineError extends RaftKvError {
  readonly lineNumber: number;

  constructor(lineNumber: number, message: string) {
    super("invalidArgument", message);
    this.lineNumber = lineNumber;
  }
}

/** The largest key and value that can be configured, each byte of them escaped, fit in. */
const MAX_LINE_BYTES = 32 * 1024 * 1024;
const NEWLINE = 0x0a;

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * The lines of a stream of UTF-8, as they come; what follows the last newline is a line, too, if it is anything. Holds
 * no more than what came last and the beginning of a line. Throws LineError for the first line that cannot be given,
 * after all before it.
 */
export async function* textLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<TextLines, void, void> {
  let firstNumber = 1;
  /** The beginning of a line, as it came: it is joined once. */
  let rest: Uint8Array[] = [];
  let restBytes = 0;
  for await (const chunk of chunks) {
    const end = chunk.lastIndexOf(NEWLINE) + 1;
    if (end > 0) {
      const taken = take(Buffer.concat([...rest, chunk.subarray(0, end - 1)]), firstNumber);
      yield taken.lines;
      if (taken.error !== null) throw taken.error;
      firstNumber += taken.lines.lines.length;
      [rest, restBytes] = [[], 0];
    }
    // A copy: the chunk may be overwritten once the next one is asked for.
    const beginning = chunk.slice(end);
    rest.push(beginning);
    restBytes += beginning.length;
    if (restBytes > MAX_LINE_BYTES) {
      throw new LineError(firstNumber, `the line has more than ${MAX_LINE_BYTES} bytes`);
    }
  }
  if (restBytes === 0) return;
  const taken = take(Buffer.concat(rest), firstNumber);
  yield taken.lines;
  if (taken.error !== null) throw taken.error;
}

interface Taken {
  readonly lines: TextLines;
  /** Of the line after them. */
  readonly error: LineError | null;
}

/** `bytes` is whole lines, without the last one's end. */
function take(bytes: Buffer, firstNumber: number): Taken {
  try {
    const lines = decoder.decode(bytes).split("\n");
    return { lines: { firstNumber, lines, bytesPerLine: (bytes.length + 1) / lines.length }, error: null };
  } catch {
    return takeUntilDamage(bytes, firstNumber);
  }
}

function takeUntilDamage(bytes: Buffer, firstNumber: number): Taken {
  const lines: string[] = [];
  for (let start = 0; start <= bytes.length;) {
    const newline = bytes.indexOf(NEWLINE, start);
    const end = newline === -1 ? bytes.length : newline;
    try {
      lines.push(decoder.decode(bytes.subarray(start, end)));
    } catch {
      const error = new LineError(firstNumber + lines.length, "it is not UTF-8 text");
      return { lines: { firstNumber, lines, bytesPerLine: start / Math.max(1, lines.length) }, error };
    }
    start = end + 1;
  }
  return { lines: { firstNumber, lines, bytesPerLine: (bytes.length + 1) / lines.length }, error: null };
}
