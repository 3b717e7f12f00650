import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import type { Intake, Source } from "./intake.ts";

/** What waits of one connection before TCP holds the sender up, in bytes. */
const MAX_WAITING_BYTES = 64 * 1024;
/** What may be gathered to be sent before the writer waits, in bytes. */
const MAX_GATHERED_BYTES = 256 * 1024;
/** How long what was written may take to leave, and the other side to hang up, once this side has. */
const FAREWELL_MS = 500;

/**
 * A client's connection as the gRPC library gets it: it gives what has come when Intake says so, and what is written
 * in one turn of the event loop leaves in one piece, which costs either end one wake-up instead of one a frame.
 */
export class PacedConnection extends Duplex implements Source {
  readonly #socket: Socket;
  readonly #intake: Intake;
  readonly #farewellMs: number;
  #isOurs = false;
  /** What has come and was not given. */
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  /** Whether the other side has sent its last, and the reader knows. */
  #input: "open" | "ended" | "told" = "open";
  /** The reader takes more. */
  #isWanted = false;
  /** Intake knows that there is something. */
  #isReady = false;
  /** What was written and has not been sent. */
  #gathered: Buffer[] = [];
  #gatheredBytes = 0;
  #sendIsDue = false;
  /** The socket is full. */
  #isCongested = false;
  /** Who waits until there is room. */
  #writer: (() => void) | null = null;

  constructor(socket: Socket, intake: Intake, farewellMs = FAREWELL_MS) {
    super({ allowHalfOpen: false });
    this.#socket = socket;
    this.#intake = intake;
    this.#farewellMs = farewellMs;
    socket.on("data", (bytes) => this.#arrived(Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes)));
    socket.on("end", () => {
      this.#input = "ended";
      this.#offer();
    });
    socket.on("drain", () => this.#drained());
    socket.on("error", () => this.destroy());
    socket.on("close", () => this.destroy());
    this.on("drain", () => this.#offer());
    // Whoever uses it hears of "close".
    this.on("error", () => {});
  }

  get remoteAddress(): string | undefined {
    return this.#socket.remoteAddress;
  }

  get remotePort(): number | undefined {
    return this.#socket.remotePort;
  }

  get isOurs(): boolean {
    return this.#isOurs;
  }

  markAsOurs(): void {
    this.#isOurs = true;
    this.#intake.preferred(this);
  }

  /** Only for Intake. */
  give(maxBytes: number): boolean {
    // Who does not take the answers is not asked for more, or they would pile up.
    const bytes = this.writableNeedDrain ? null : this.#take(maxBytes);
    if (bytes !== null) {
      this.#isWanted = false;
      // The reader may ask for more before this returns.
      if (this.push(bytes)) this.#isWanted = true;
    }
    if (this.#waitingBytes < MAX_WAITING_BYTES && this.#socket.isPaused()) this.#socket.resume();
    if (this.#input === "ended" && this.#waitingBytes === 0) {
      this.#input = "told";
      this.push(null);
    }
    this.#isReady = this.#isWanted && this.#waitingBytes > 0 && !this.writableNeedDrain && !this.destroyed;
    return this.#isReady;
  }

  /** Ends it at once, whatever was written and has not left. */
  abort(): void {
    this.#socket.destroy();
    this.destroy();
  }

  override _read(): void {
    this.#isWanted = true;
    this.#offer();
  }

  override _write(bytes: Buffer, _encoding: string, done: () => void): void {
    this.#gathered.push(bytes);
    this.#gatheredBytes += bytes.length;
    if (this.#isCongested || this.#gatheredBytes >= MAX_GATHERED_BYTES) this.#writer = done;
    else done();
    if (this.#sendIsDue || this.#isCongested) return;
    this.#sendIsDue = true;
    // What our own processes are answered has been gathered already (CallDesk).
    if (this.#isOurs) queueMicrotask(() => this.#send());
    else setImmediate(() => this.#send());
  }

  override _final(done: () => void): void {
    this.#send();
    this.#socket.end();
    done();
    this.#offer();
  }

  /** What the library has written has left, as far as it knows: "close" comes when it has. */
  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#intake.gone(this);
    this.#waiting = [];
    this.#waitingBytes = 0;
    if (this.#socket.destroyed) {
      done(error);
      return;
    }
    this.#send();
    this.#socket.end();
    // With bytes that nobody reads it would be reset, and the other side might not get all of the answers.
    this.#socket.resume();
    const timer = setTimeout(() => this.#socket.destroy(), this.#farewellMs);
    this.#socket.once("close", () => {
      clearTimeout(timer);
      done(error);
    });
  }

  #arrived(bytes: Buffer): void {
    if (this.destroyed) return;
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    this.#offer();
    if (this.#waitingBytes >= MAX_WAITING_BYTES) this.#socket.pause();
  }

  #offer(): void {
    if (this.#isReady || this.writableNeedDrain || !this.#isWanted || this.destroyed) return;
    if (this.#waitingBytes === 0 && this.#input !== "ended") return;
    this.#isReady = true;
    this.#intake.arrived(this);
  }

  /** What came first, at most so many bytes of it; null: there is nothing. */
  #take(maxBytes: number): Buffer | null {
    const [first] = this.#waiting;
    if (first === undefined) return null;
    if (first.length <= maxBytes) this.#waiting.shift();
    else this.#waiting[0] = first.subarray(maxBytes);
    const taken = first.subarray(0, maxBytes);
    this.#waitingBytes -= taken.length;
    return taken;
  }

  #send(): void {
    this.#sendIsDue = false;
    const gathered = this.#gathered;
    if (gathered.length === 0 || this.#socket.destroyed) return;
    this.#gathered = [];
    this.#gatheredBytes = 0;
    const [first] = gathered;
    const bytes = gathered.length === 1 && first !== undefined ? first : Buffer.concat(gathered);
    this.#isCongested = !this.#socket.write(bytes);
    if (!this.#isCongested) this.#admitWriter();
  }

  #drained(): void {
    this.#isCongested = false;
    this.#send();
    if (!this.#isCongested) this.#admitWriter();
  }

  #admitWriter(): void {
    const writer = this.#writer;
    this.#writer = null;
    writer?.();
  }
}
