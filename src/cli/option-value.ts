import { parseAddresses, parsePeers } from "../config/peers.ts";
import type { Seed } from "../frontend/seed-search.ts";
import { UsageError } from "./usage-error.ts";

/** A longer wait than this is a slip: an hour, in seconds. */
const MAX_TIMEOUT_SECONDS = 3600;

const HOST_AND_PORT = /^(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})$/;

/** The number that `text` spells in decimal digits, from `min` to `max`. `name` is the option or argument. */
export function parseWholeNumber(name: string, text: string, min: number, max: number): number {
  const number = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (number >= min && number <= max) return number;
  throw new UsageError(`${name} must be a whole number from ${min} to ${max}, not ${JSON.stringify(text)}`);
}

/** Milliseconds from seconds, which may have a fraction: "0.5" is 500. */
export function parseTimeoutMs(name: string, text: string): number {
  const seconds = /^\d{1,4}(\.\d{1,3})?$/.test(text) ? Number(text) : Number.NaN;
  if (seconds > 0 && seconds <= MAX_TIMEOUT_SECONDS) return Math.round(seconds * 1000);
  throw new UsageError(
    `${name} must be seconds, above 0 and up to ${MAX_TIMEOUT_SECONDS}, not ${JSON.stringify(text)}`,
  );
}

/** "host:port", with IPv6 hosts in brackets. */
export function parseAddress(name: string, text: string): string {
  const port = Number(HOST_AND_PORT.exec(text)?.[1] ?? 0);
  if (port >= 1 && port <= 65_535) return text;
  throw new UsageError(
    `${name} must be host:port, for example 127.0.0.1:8001 or [::1]:8001, not ${JSON.stringify(text)}`,
  );
}

/** Where servers are: "host:port,…", of any servers of a cluster, or "0=host:port,…" of those. */
export function parseSeeds(name: string, text: string): readonly Seed[] {
  const seeds = text.includes("=")
    ? parsePeers(text)
    : parseAddresses(text)?.map((address) => ({ id: null, address }));
  if (seeds !== null && seeds !== undefined) return seeds;
  const expected = "10.0.0.1:9001,10.0.0.2:9001 or 0=10.0.0.1:9001,1=10.0.0.2:9001";
  throw new UsageError(
    `${name} must be the addresses of servers, as ${expected}, not ${JSON.stringify(text)}`,
  );
}
