import { createConnection } from "node:net";

/** A packet and its answer, also from far away, when the network is well. */
const TIMEOUT_MS = 300;

/** Whether somebody takes connections at "host:port" now. */
export function isReachable(address: string): Promise<boolean> {
  const colon = address.lastIndexOf(":");
  const host = address.slice(0, colon).replace(/^\[(.*)\]$/, "$1");
  return new Promise((resolve) => {
    const socket = createConnection({ host, port: Number(address.slice(colon + 1)) });
    const timer = setTimeout(() => end(false), TIMEOUT_MS);
    const end = (reachable: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(reachable);
    };
    socket.on("connect", () => end(true));
    socket.on("error", () => end(false));
  });
}
