/** Who listens on a TCP port of this machine. */
import { readdir, readFile, readlink } from "node:fs/promises";
import { connect } from "node:net";

/** A listener on this machine accepts within microseconds, unless it is stuck. */
const CONNECT_TIMEOUT_MS = 500;

/** How /proc/net/tcp writes the state of a socket that listens. */
const LISTEN = "0A";

const ANY_IPV4 = "00000000";
const ANY_IPV6 = "0".repeat(32);
/** Before an IPv4 address that an IPv6 socket listens on. */
const MAPPED_PREFIX = "00000000000000000000FFFF";

/** What a connection is refused with where nobody listens, or where this machine has no such address. */
const FREE_ERRORS: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "EADDRNOTAVAIL",
  "EAFNOSUPPORT",
  "ENETUNREACH",
  "EHOSTUNREACH",
]);

/** A socket that listens: its address as hexadecimal digits, 8 or 32 of them, in network order. */
interface Listener {
  readonly address: string;
  /** As /proc/<pid>/fd names it. */
  readonly inode: string;
}

/**
 * Whether somebody listens on the port where we would, at one of the hosts, which are IP addresses.
 * Linux tells; elsewhere a connection is tried, and one that is neither made nor refused means a listener
 * too: it hangs, or was stopped. Takes nothing, sends nothing.
 */
export async function isPortTaken(hosts: readonly string[], port: number): Promise<boolean> {
  const listeners = await listenersOn(port).catch(() => null);
  if (listeners !== null) {
    return hosts.some((host) => listeners.some(({ address }) => excludes(address, hexAddress(host))));
  }
  const taken = await Promise.all(hosts.map((host) => isTakenAt(host, port)));
  return taken.includes(true);
}

/** The process that listens on the port and its name; null when the system does not tell. Linux only. */
export async function portHolder(port: number): Promise<{ pid: number; name: string } | null> {
  try {
    const inodes = new Set((await listenersOn(port)).map(({ inode }) => inode));
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

/** By trying to connect: for systems without /proc. */
export function isTakenAt(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const settle = (taken: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(taken);
    };
    const timer = setTimeout(() => settle(true), CONNECT_TIMEOUT_MS);
    socket.on("connect", () => settle(true));
    socket.on("error", (error: Error & { code?: string }) => settle(!FREE_ERRORS.has(error.code ?? "")));
  });
}

/** Rejects where there is no /proc. */
async function listenersOn(port: number): Promise<readonly Listener[]> {
  const ipv4 = await readFile("/proc/net/tcp", "utf8");
  // Absent on a machine without IPv6.
  const ipv6 = await readFile("/proc/net/tcp6", "utf8").catch(() => "");
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return `${ipv4}\n${ipv6}`.split("\n").flatMap((line) => {
    const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
    if (local?.endsWith(suffix) !== true || state !== LISTEN) return [];
    return [{ address: networkOrder(local.slice(0, -suffix.length)), inode: `socket:[${inode}]` }];
  });
}

/**
 * Whether a socket that listens at the first address keeps another from listening at the second, on the
 * same port. "::" may serve IPv4 as well, which the system does not tell.
 */
function excludes(listening: string, wanted: string): boolean {
  const isSameFamily = listening.length === wanted.length;
  if (listening === ANY_IPV6 || wanted === ANY_IPV6) return true;
  return listening === wanted || (isSameFamily && (listening === ANY_IPV4 || wanted === ANY_IPV4));
}

/** Each word of four bytes stands there as this little-endian machine has it. */
function networkOrder(digits: string): string {
  const words = digits.match(/.{8}/g) ?? [];
  const address = words.map((word) => (word.match(/../g) ?? []).toReversed().join("")).join("");
  return address.startsWith(MAPPED_PREFIX) ? address.slice(MAPPED_PREFIX.length) : address;
}

/** An IP address as hexadecimal digits. */
function hexAddress(host: string): string {
  if (!host.includes(":"))
    return host
      .split(".")
      .map((byte) => hex(Number(byte), 2))
      .join("");
  // The URL parser writes every spelling of an address in one way, without dots.
  const [head = "", tail] = new URL(`http://[${host}]`).hostname.slice(1, -1).split("::");
  const front = groups(head);
  const back = groups(tail ?? "");
  const zeros = Array.from({ length: 8 - front.length - back.length }, () => "0000");
  const address = [...front, ...zeros, ...back].join("");
  return address.startsWith(MAPPED_PREFIX) ? address.slice(MAPPED_PREFIX.length) : address;
}

function groups(text: string): readonly string[] {
  return text === "" ? [] : text.split(":").map((group) => hex(Number.parseInt(group, 16), 4));
}

function hex(value: number, digits: number): string {
  return value.toString(16).toUpperCase().padStart(digits, "0");
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
