/** What a run leaves behind that it should not. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { connect } from "node:net";
import { hasEnded } from "./process-end.ts";

/** Every process whose working directory this is. */
export function processesIn(directory: string): readonly { readonly pid: number; readonly name: string }[] {
  return readdirSync("/proc").flatMap((entry) => {
    const pid = Number(entry);
    if (!Number.isInteger(pid)) return [];
    try {
      if (readlinkSync(`/proc/${pid}/cwd`) !== directory || hasEnded(pid)) return [];
      const [name = ""] = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      return [{ pid, name }];
    } catch {
      return []; // It ended while we looked, or is not ours.
    }
  });
}

/** Those of the ports of this machine on which somebody listens. */
export async function openPorts(ports: readonly number[]): Promise<readonly number[]> {
  const open = await Promise.all(ports.map(isOpen));
  return ports.filter((_, at) => open[at]);
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
