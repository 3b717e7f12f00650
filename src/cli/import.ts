/** `raftkv import FILE`: sets the keys that a file of JSON lines names, in batches. */
import { describeError, RaftKvError, type ErrorCode } from "../base/errors.ts";
import { refusedWrite } from "../rpc/put-many-arguments.ts";
import { RpcClient } from "../rpc/rpc-client.ts";
import { Lanes, type Batch } from "./bulk/lanes.ts";
import { EXPECTED, parsePairLine } from "./bulk/pair-line.ts";
import { BulkProgress, counted } from "./bulk/progress.ts";
import { LineError, textLines, type TextLines } from "./bulk/text-lines.ts";
import { command } from "./command.ts";
import { clientOptions, explain, served } from "./frontend-client.ts";
import { Interruption } from "./interruption.ts";
import { parseAddress, parseTimeoutMs } from "./option-value.ts";
import { pathKind } from "./path-kind.ts";
import { answered, type Answer } from "./result.ts";

/** Before a batch is sent again that found the cluster overloaded. */
const OVERLOADED_PAUSE_MS = 100;
/** How long an interrupted import waits for what is under way. */
const INTERRUPTED_GRACE_MS = 1000;

interface ImportOptions {
  /** "-": stdin. */
  readonly file: string;
  /** The frontend's "host:port". */
  readonly address: string;
  /** For each batch. */
  readonly timeoutMs: number;
}

export const importCommand = command(
  {
    name: "raftkv import",
    description: "Set many keys from a file, a JSON object a line, as raftkv export writes it",
    details:
      'Every line is {"key":"…","value":"…"}; empty lines are passed over. Of several lines with one key the last one counts. Lines travel in batches, each of which takes effect as a whole. An import that ended early can be begun anew: what was done before is done again.',
  },
  {
    file: { type: "positional", required: true, description: '"-" reads stdin' },
    ...clientOptions(30),
  },
  async ({ file, address, timeout }) => {
    const options = {
      file,
      address: parseAddress("--address", address),
      timeoutMs: parseTimeoutMs("--timeout", timeout),
    };
    return { kind: "job", run: (signal) => importFile(options, signal) };
  },
);

/** Aborted, it ends soon. Rejects with RaftKvError only where nothing was sent. */
async function importFile(options: ImportOptions, signal: AbortSignal): Promise<Answer> {
  const source = await openSource(options.file);
  const run = new Import(options, source, signal);
  const startMs = performance.now();
  try {
    await run.run();
  } catch (error) {
    if (!(error instanceof RaftKvError)) throw error;
    return failed(error, run.entries);
  } finally {
    run.end();
  }
  const seconds = (performance.now() - startMs) / 1000;
  const perSecond = Math.round(run.entries / Math.max(seconds, 0.001));
  const text = `imported ${counted(run.entries)} from ${source.name} in ${seconds.toFixed(1)} s, ${perSecond.toLocaleString("en")} /s`;
  return answered(text, { ok: true, file: options.file, entries: run.entries, seconds, perSecond });
}

/** How much was done stands in the message, too. */
function failed({ code, message }: RaftKvError, entries: number): Answer {
  const json = { error: { code, message }, entries };
  return { kind: "answer", exitCode: 1, output: { stdout: null, stderr: `raftkv: ${message}`, json } };
}

interface Source {
  /** As it is called in messages. */
  readonly name: string;
  /** null: not known. */
  readonly bytes: number | null;
  readonly chunks: AsyncIterable<Uint8Array>;
}

async function openSource(file: string): Promise<Source> {
  if (file === "-") return { name: "stdin", bytes: null, chunks: Bun.stdin.stream() };
  const kind = await pathKind(file);
  if (kind === null) throw new RaftKvError("failedPrecondition", `${file}: there is no such file`);
  if (kind === "directory")
    throw new RaftKvError("failedPrecondition", `${file} is a directory: name a file`);
  const source = Bun.file(file);
  return { name: file, bytes: kind === "file" ? source.size : null, chunks: source.stream() };
}

/** One import: reads, sends, and counts what was acknowledged. */
class Import {
  readonly #options: ImportOptions;
  readonly #source: Source;
  readonly #client: RpcClient<"FrontEnd">;
  readonly #lanes = new Lanes((batch) => this.#send(batch));
  readonly #progress = new BulkProgress();
  readonly #interruption: Interruption;
  #entries = 0;
  /** Of the lines that were acknowledged. */
  #bytes = 0;
  /** More may have taken effect than was acknowledged, whichever error the import ends with. */
  #isInDoubt = false;

  constructor(options: ImportOptions, source: Source, signal: AbortSignal) {
    this.#options = options;
    this.#source = source;
    this.#client = new RpcClient("FrontEnd", options.address);
    this.#interruption = new Interruption(signal, "interrupted");
  }

  /** Lines that were acknowledged. */
  get entries(): number {
    return this.#entries;
  }

  /** Rejects with RaftKvError, whose message says how much was done. */
  async run(): Promise<void> {
    try {
      await this.#readAll();
      await this.#interruption.or(this.#lanes.finish());
    } catch (error) {
      await this.#settle();
      throw this.#explained(error);
    }
  }

  end(): void {
    this.#progress.end();
    this.#interruption.end();
    this.#client.close();
  }

  async #readAll(): Promise<void> {
    const blocks = textLines(this.#source.chunks);
    try {
      for (;;) {
        const block = await this.#interruption.or(blocks.next());
        if (block.done === true) return;
        await this.#add(block.value);
      }
    } catch (error) {
      // What stands before the line is to be done whatever that line is.
      if (error instanceof LineError) await this.#interruption.or(this.#lanes.finish());
      throw unreadable(error);
    }
  }

  async #add({ firstNumber, lines, bytesPerLine }: TextLines): Promise<void> {
    for (const [at, line] of lines.entries()) {
      if (line === "" || line === "\r") continue;
      const lineNumber = firstNumber + at;
      const write = parsePairLine(line);
      if (typeof write === "string") throw new LineError(lineNumber, write);
      const room = this.#lanes.add(write, lineNumber, bytesPerLine);
      if (room !== null) await this.#interruption.or(room);
    }
  }

  /** Resolves when the batch was acknowledged. Rejects with RaftKvError. */
  async #send(batch: Batch): Promise<void> {
    const { timeoutMs } = this.#options;
    const untilMs = performance.now() + timeoutMs;
    for (;;) {
      try {
        served(await this.#call(batch, Math.max(1, untilMs - performance.now())));
        break;
      } catch (error) {
        const again = error instanceof RaftKvError && error.code === "overloaded";
        if (!again || performance.now() + OVERLOADED_PAUSE_MS > untilMs) {
          this.#isInDoubt ||= leavesDoubt(error);
          throw locate(error, batch);
        }
      }
      await Bun.sleep(OVERLOADED_PAUSE_MS);
    }
    this.#entries += batch.writes.length;
    this.#bytes += batch.fileBytes;
    this.#progress.note({ entries: this.#entries, bytes: this.#bytes, totalBytes: this.#source.bytes });
  }

  async #call({ writes }: Batch, timeoutMs: number) {
    try {
      return await this.#client.call("PutMany", { writes }, timeoutMs);
    } catch (error) {
      throw error instanceof RaftKvError
        ? explain(error, this.#options.address, this.#options.timeoutMs)
        : error;
    }
  }

  /** What is under way is waited for, so that it is known how much was done; not for long by who was interrupted. */
  async #settle(): Promise<void> {
    const grace = this.#interruption.signal.aborted ? [Bun.sleep(INTERRUPTED_GRACE_MS)] : [];
    await Promise.race([this.#lanes.idle(), ...grace]);
  }

  #explained(error: unknown): unknown {
    if (!(error instanceof RaftKvError)) return error;
    const { name } = this.#source;
    const done = `${counted(this.#entries)} ${this.#entries === 1 ? "was" : "were"} acknowledged`;
    if (error instanceof LineError) {
      const what = `${EXPECTED}, but ${error.message}; ${done}, all before it`;
      return new RaftKvError(error.code, `${name}:${error.lineNumber}: ${what}`, { cause: error });
    }
    const hint = this.#isInDoubt || leavesDoubt(error) ? "; to be sure of the others import it again" : "";
    return new RaftKvError(error.code, `${name}${placeOf(error)}: ${error.message}; ${done}${hint}`, {
      cause: error,
    });
  }
}

/** After these more may have taken effect than was acknowledged. */
const DOUBTFUL: ReadonlySet<ErrorCode> = new Set(["unknownOutcome", "unavailable", "internal"]);

function leavesDoubt(error: unknown): boolean {
  return error instanceof RaftKvError && DOUBTFUL.has(error.code);
}

/** A refusal of one write, with the line that it stands on. */
class RefusedLine extends RaftKvError {
  readonly lineNumber: number;

  constructor(lineNumber: number, error: RaftKvError) {
    super(error.code, error.message.replace(/^.*write \d+ of the batch: /, ""), { cause: error });
    this.lineNumber = lineNumber;
  }
}

function locate(error: unknown, { lineNumbers }: Batch): unknown {
  if (!(error instanceof RaftKvError) || error.code !== "invalidArgument") return error;
  const position = refusedWrite(error.message);
  const lineNumber = position === null ? undefined : lineNumbers[position - 1];
  return lineNumber === undefined ? error : new RefusedLine(lineNumber, error);
}

function placeOf(error: RaftKvError): string {
  return error instanceof RefusedLine ? `:${error.lineNumber}` : "";
}

/** What the operating system says of the file, in one line. */
function unreadable(error: unknown): unknown {
  const isSystem = error instanceof Error && "code" in error && "errno" in error;
  if (!isSystem) return error;
  return new RaftKvError("io", `cannot be read: ${describeError(error)}`, { cause: error });
}
