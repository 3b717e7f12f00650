import { createServer } from "node:net";

/** Below the range from which the system takes ports for outgoing connections. */
const LOWEST = 12_000;
const HIGHEST = 31_000;

/**
 * How long nobody else is given these ports, also in other processes that run tests: by then whoever asked for them
 * listens there, or needs them no more.
 */
const RESERVED_MS = 60_000;

/** The first of `count` consecutive ports that nobody listens on now and nobody else was given. */
export async function freePorts(count: number): Promise<number> {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const first = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST - count));
    const ports = Array.from({ length: count }, (_, i) => first + i);
    const reservations = await Promise.all(ports.map(reserve));
    const release = (): void => {
      for (const reservation of reservations) reservation?.close();
    };
    if (reservations.every(Boolean) && (await Promise.all(ports.map(isFree))).every(Boolean)) {
      setTimeout(release, RESERVED_MS).unref();
      return first;
    }
    release();
  }
  throw new Error(`no ${count} consecutive free ports`);
}

/** Holds the port's number among those of UDP, which nothing else here uses. null: somebody else does. */
async function reserve(port: number): Promise<{ readonly close: () => void } | null> {
  try {
    const socket = await Bun.udpSocket({ hostname: "127.0.0.1", port });
    socket.unref();
    return socket;
  } catch {
    return null;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
