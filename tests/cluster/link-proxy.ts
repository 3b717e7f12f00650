/**
 * One server's connections to another, through a TCP proxy that mistreats them. Each of the two ways has a
 * treatment of its own, which goes for connections that are there and for those to come.
 *
 * What the bytes of one way meet:
 *   pass       nothing
 *   hold       a network that is cut: what was sent arrives when it ends, in order, as TCP sends it again
 *   swallow    the same, and too long for TCP: the bytes are lost, and the connection is reset when it ends
 *   delay      each byte arrives so much later
 *   throttle   so many bytes a second arrive
 *
 * That one side has gone is told to the other in the order of the bytes, so not while they are held or swallowed.
 */
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";

export type Treatment =
  | { readonly kind: "pass" | "hold" | "swallow" }
  | { readonly kind: "delay"; readonly delayMs: number }
  | { readonly kind: "throttle"; readonly bytesPerSecond: number };

export const PASS: Treatment = { kind: "pass" };

/** From the server that connects, or back to it. */
export type Way = "forward" | "backward";

const HOST = "127.0.0.1";
/** How often held bytes are looked at again. */
const STEP_MS = 5;
/** Beyond it nothing more is read from the sender, who then waits as for any slow network. */
const MAX_HELD_BYTES = 4 * 1024 * 1024;

export class LinkProxy {
  readonly #server: Server;
  readonly #targetPort: number;
  readonly #treatments: Record<Way, Treatment> = { forward: PASS, backward: PASS };
  readonly #connections = new Set<Connection>();

  private constructor(server: Server, targetPort: number) {
    this.#server = server;
    this.#targetPort = targetPort;
    server.on("connection", (socket) => this.#accept(socket));
  }

  /** Listens on a port that the system chooses and leads to another one of this machine. */
  static async to(targetPort: number): Promise<LinkProxy> {
    const server = createServer();
    const listening = Promise.withResolvers<void>();
    server.once("error", listening.reject);
    server.listen(0, HOST, listening.resolve);
    await listening.promise;
    return new LinkProxy(server, targetPort);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  treatment(way: Way): Treatment {
    return this.#treatments[way];
  }

  treat(way: Way, treatment: Treatment): void {
    this.#treatments[way] = treatment;
    for (const connection of this.#connections) connection.treat(way, treatment);
  }

  /** Ends every connection at once, as a router does that has lost its memory. */
  reset(): void {
    for (const connection of this.#connections) connection.reset();
  }

  /** Resolves when the port is free. */
  async close(): Promise<void> {
    const closed = Promise.withResolvers<void>();
    this.#server.close(() => closed.resolve());
    this.reset();
    await closed.promise;
  }

  #accept(socket: Socket): void {
    const connection = new Connection(socket, connect(this.#targetPort, HOST), () =>
      this.#connections.delete(connection),
    );
    this.#connections.add(connection);
    connection.treat("forward", this.#treatments.forward);
    connection.treat("backward", this.#treatments.backward);
  }
}

class Connection {
  readonly #sockets: readonly [Socket, Socket];
  readonly #pipes: Readonly<Record<Way, Pipe>>;

  constructor(near: Socket, far: Socket, ended: () => void) {
    this.#sockets = [near, far];
    const reset = (): void => this.reset();
    this.#pipes = { forward: new Pipe(near, far, reset), backward: new Pipe(far, near, reset) };
    let open = 2;
    for (const socket of this.#sockets) {
      socket.setNoDelay(true);
      socket.on("close", () => {
        open -= 1;
        if (open === 0) ended();
      });
    }
  }

  treat(way: Way, treatment: Treatment): void {
    this.#pipes[way].treat(treatment);
  }

  reset(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }
}

interface Held {
  readonly bytes: Buffer;
  readonly sinceMs: number;
}

/** One way of one connection. */
class Pipe {
  readonly #source: Socket;
  readonly #target: Socket;
  readonly #reset: () => void;
  #treatment: Treatment = PASS;
  /** In the order of their arrival. */
  readonly #held: Held[] = [];
  #heldBytes = 0;
  #hasHole = false;
  #sourceClosed = false;
  /** How many bytes may pass now; only while throttled. */
  #allowance = 0;
  #lastPumpMs = performance.now();
  #timer: NodeJS.Timeout | null = null;

  constructor(source: Socket, target: Socket, reset: () => void) {
    this.#source = source;
    this.#target = target;
    this.#reset = reset;
    source.on("data", (bytes: Buffer) => this.#take(bytes));
    source.on("error", () => {}); // It closes next.
    source.on("close", () => {
      this.#sourceClosed = true;
      this.#pump();
    });
    target.on("drain", () => this.#pump());
    target.on("close", () => this.#clear());
  }

  treat(treatment: Treatment): void {
    this.#treatment = treatment;
    if (this.#hasHole && treatment.kind !== "swallow") this.#reset();
    else this.#pump();
  }

  #take(bytes: Buffer): void {
    if (this.#treatment.kind === "swallow") {
      this.#hasHole = true;
      return;
    }
    this.#held.push({ bytes, sinceMs: performance.now() });
    this.#heldBytes += bytes.length;
    if (this.#heldBytes > MAX_HELD_BYTES) this.#source.pause();
    this.#pump();
  }

  /** Passes on what may pass by now. */
  #pump(): void {
    const nowMs = performance.now();
    if (this.#treatment.kind === "throttle") {
      const { bytesPerSecond } = this.#treatment;
      const earned = ((nowMs - this.#lastPumpMs) / 1000) * bytesPerSecond;
      this.#allowance = Math.min(this.#allowance + earned, bytesPerSecond / 10 + 1);
    }
    this.#lastPumpMs = nowMs;
    while (!this.#target.writableNeedDrain) {
      const [first] = this.#held;
      if (first === undefined) break;
      const length = this.#passable(first, nowMs);
      if (length === 0) break;
      this.#pass(first, length);
    }
    if (this.#heldBytes <= MAX_HELD_BYTES && this.#source.isPaused()) this.#source.resume();
    const { kind } = this.#treatment;
    if (this.#sourceClosed && this.#held.length === 0 && kind !== "hold" && kind !== "swallow") {
      this.#target.destroy();
    }
    if (this.#held.length > 0 && (kind === "delay" || kind === "throttle")) {
      this.#timer ??= setTimeout(() => {
        this.#timer = null;
        this.#pump();
      }, STEP_MS);
    }
  }

  /** How many of its first bytes may pass. */
  #passable({ bytes, sinceMs }: Held, nowMs: number): number {
    switch (this.#treatment.kind) {
      case "pass":
        return bytes.length;
      case "delay":
        return nowMs - sinceMs >= this.#treatment.delayMs ? bytes.length : 0;
      case "throttle":
        return Math.min(bytes.length, Math.floor(this.#allowance));
      case "hold":
      case "swallow":
        return 0;
    }
  }

  #pass({ bytes, sinceMs }: Held, length: number): void {
    this.#target.write(bytes.subarray(0, length));
    this.#heldBytes -= length;
    if (this.#treatment.kind === "throttle") this.#allowance -= length;
    if (length === bytes.length) this.#held.shift();
    else this.#held[0] = { bytes: bytes.subarray(length), sinceMs };
  }

  #clear(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#held.length = 0;
    this.#heldBytes = 0;
  }
}
