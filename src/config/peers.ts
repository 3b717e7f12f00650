/**
 * Servers with their addresses, as people write them: "0=10.0.0.1:9001,1=[fd00::2]:9001,2=db-2.local:9001".
 * A host is an IPv4 address, an IPv6 address in brackets or a name; a port is never left out.
 */
import { isIPv4, isIPv6 } from "node:net";
import { integer, MAX_SERVER_ID, port } from "./value-reader.ts";

/** A server, and where it is reached, "host:port". */
export interface PeerAddress {
  readonly id: number;
  readonly address: string;
}

/** What "host:port" says. */
export interface HostAndPort {
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
}

/** What `parsePeers` wants, in words that follow "expected" or "must be". */
export const PEERS_EXPECTED =
  "distinct servers with distinct addresses, as 0=10.0.0.1:9001,1=10.0.0.2:9001 (IPv6 in brackets)";

/** What `parseAddress` wants, in the same way. */
export const ADDRESS_EXPECTED = "host:port where others reach it, such as 10.0.0.1:9001 or [fd00::1]:9001";

const serverId = integer(0, MAX_SERVER_ID);

const HOST_AND_PORT = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/;

/** Listened on, they mean every address of the machine; nobody can be reached there. */
const ANY_HOSTS: ReadonlySet<string> = new Set(["0.0.0.0", "::"]);

/** The servers that `text` lists, ascending by id; null: it is not PEERS_EXPECTED. */
export function parsePeers(text: string): readonly PeerAddress[] | null {
  const peers = text.split(",").map(parsePeer);
  const known = peers.filter((peer) => peer !== null);
  const ids = new Set(known.map(({ id }) => id));
  const addresses = new Set(known.map(({ address }) => address));
  if (ids.size < peers.length || addresses.size < peers.length) return null;
  return known.toSorted((a, b) => a.id - b.id);
}

/** How `parsePeers` reads it back. */
export function formatPeers(peers: readonly PeerAddress[]): string {
  return peers.map(({ id, address }) => `${id}=${address}`).join(",");
}

/** Addresses where servers are, whichever they are: "host:port,host:port"; null: it is not that, or one twice. */
export function parseAddresses(text: string): readonly string[] | null {
  const parts = text.split(",").map(parseAddress);
  const addresses = new Set(parts.filter((address) => address !== null));
  return addresses.size === parts.length ? [...addresses] : null;
}

/** Where a server is reached, the one way that it is written; null: it is not ADDRESS_EXPECTED. */
export function parseAddress(text: string): string | null {
  const parsed = parseHostAndPort(text);
  return parsed === null || ANY_HOSTS.has(parsed.host) ? null : formatAddress(parsed);
}

/** Where to listen or to connect; null: it is not "host:port". */
export function parseHostAndPort(text: string): HostAndPort | null {
  const [, bracketed, plain = "", digits = ""] = HOST_AND_PORT.exec(text.trim()) ?? [];
  const number = port.read(digits);
  if (number === undefined) return null;
  if (bracketed !== undefined) {
    return isIPv6(bracketed) ? { host: bracketed.toLowerCase(), port: number } : null;
  }
  const looksLikeIp = /^[\d.]+$/.test(plain);
  return looksLikeIp && !isIPv4(plain) ? null : { host: plain.toLowerCase(), port: number };
}

/** As gRPC writes it: "127.0.0.1:9001", "[::1]:9001". */
export function formatAddress(address: HostAndPort): string {
  const host = isIPv6(address.host) ? `[${address.host}]` : address.host;
  return `${host}:${address.port}`;
}

function parsePeer(text: string): PeerAddress | null {
  const equals = text.indexOf("=");
  const id = serverId.read(text.slice(0, Math.max(equals, 0)).trim());
  const address = parseAddress(text.slice(equals + 1));
  return id === undefined || address === null ? null : { id, address };
}
