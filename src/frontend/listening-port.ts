/** Who listens on a TCP port of this machine. */
import { readdir, readFile, readlink } from "node:fs/promises";
import { connect } from "node:net";

/** A listener on this machine accepts within microseconds; a stopped one still does, its kernel does it. */
const CONNECT_TIMEOUT_MS = 500;

/** How /proc/net/tcp writes the state of a socket that listens. */
const LISTEN = "0A";

/** Whether something accepts connections there at one of the hosts. Takes nothing, sends nothing. */
export async function isPortTaken(hosts: readonly string[], port: number): Promise<boolean> {
  const taken = await Promise.all(hosts.map((host) => accepts(host, port)));
  return taken.includes(true);
}

/** The process that listens on the port and its name; null when the system does not tell. Linux only. */
export async function portHolder(port: number): Promise<{ pid: number; name: string } | null> {
  try {
    const inodes = await listeningInodes(port);
    if (inodes.size === 0) return null;
    for (const pid of (await readdir("/proc")).filter((name) => /^[0-9]+$/.test(name))) {
      if (!(await holdsSocket(pid, inodes))) continue;
      const name = (await readFile(`/proc/${pid}/comm`, "utf8")).trim();
      return { pid: Number(pid), name };
    }
    return null;
  } catch {
    return null;
  }
}

function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const settle = (taken: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(taken);
    };
    const timer = setTimeout(() => settle(false), CONNECT_TIMEOUT_MS);
    socket.on("connect", () => settle(true));
    socket.on("error", () => settle(false));
  });
}

/** The inodes of the sockets that listen on the port, as /proc/<pid>/fd names them. */
async function listeningInodes(port: number): Promise<ReadonlySet<string>> {
  const tables = await Promise.all(["tcp", "tcp6"].map((name) => readFile(`/proc/net/${name}`, "utf8")));
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const rows = tables.flatMap((table) => table.split("\n").map((row) => row.trim().split(/\s+/)));
  const listening = rows.filter((row) => row[1]?.endsWith(suffix) === true && row[3] === LISTEN);
  return new Set(listening.map((row) => `socket:[${row[9]}]`));
}

/** False also when we may not look. */
async function holdsSocket(pid: string, inodes: ReadonlySet<string>): Promise<boolean> {
  try {
    for (const descriptor of await readdir(`/proc/${pid}/fd`)) {
      const target = await readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => "");
      if (inodes.has(target)) return true;
    }
    return false;
  } catch {
    return false;
  }
}
