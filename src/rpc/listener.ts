import { createServer, type Server } from "node:net";
import { describeError, RaftKvError } from "../base/errors.ts";
import { Intake } from "./intake.ts";
import { PacedConnection } from "./paced-connection.ts";

/** The ports of a server, and the connections that came in there. */
export class Listener {
  readonly #onConnection: (connection: PacedConnection) => void;
  readonly #intake = new Intake();
  readonly #servers: Server[] = [];
  readonly #connections = new Set<PacedConnection>();

  /** Waits for the connections to end. */
  #onNoneLeft: (() => void) | null = null;

  constructor(onConnection: (connection: PacedConnection) => void) {
    this.#onConnection = onConnection;
  }

  /**
   * Serves on `port` at every one of `hosts`, the first of which must work; the others are left out where
   * the machine does not have them. Rejects with RaftKvError "io" when the port is taken, and serves nowhere then.
   */
  async listen(hosts: readonly string[], port: number): Promise<void> {
    for (const [position, host] of hosts.entries()) {
      try {
        await this.#bind(host, port);
      } catch (error) {
        const taken = /EADDRINUSE/.test(String(error));
        if (position > 0 && !taken) continue;
        this.close();
        const why = taken ? "is in use by another process" : `cannot be opened: ${describeError(error)}`;
        throw new RaftKvError("io", `port ${port} on ${host} ${why}`, { cause: error });
      }
    }
  }

  /** Whoever has this address, "host:port" as the gRPC library writes it, is another server or a frontend. */
  markAsOurs(peer: string): void {
    for (const connection of this.#connections) {
      if (`${connection.remoteAddress}:${connection.remotePort}` === peer) connection.markAsOurs();
    }
  }

  /** Takes no new connections. */
  close(): void {
    for (const server of this.#servers.splice(0)) server.close();
  }

  /** Resolves when all connections have ended, by themselves within `graceMs` or by force. */
  ended(graceMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        for (const connection of this.#connections) connection.abort();
      }, graceMs);
      this.#onNoneLeft = () => {
        clearTimeout(timer);
        resolve();
      };
      this.#tellIfNoneLeft();
    });
  }

  #bind(host: string, port: number): Promise<void> {
    const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
      const connection = new PacedConnection(socket, this.#intake);
      this.#connections.add(connection);
      connection.once("close", () => {
        this.#connections.delete(connection);
        this.#tellIfNoneLeft();
      });
      this.#onConnection(connection);
    });
    this.#servers.push(server);
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen({ host, port }, () => {
        server.off("error", reject);
        resolve();
      });
    });
  }

  #tellIfNoneLeft(): void {
    if (this.#connections.size === 0) this.#onNoneLeft?.();
  }
}
