/** Closed loops of clients: each sends its next call when the one before is answered. */
import { defined } from "../../src/base/assert.ts";
import { encodeText } from "../../src/rpc/text.ts";
import type { WireConsistency } from "../../src/rpc/wire.ts";
import { Link } from "./link.ts";
import { frontendPuts, serverGets, serverPuts, type Target } from "./target.ts";

/** What a closed-loop run measured. Latencies in milliseconds. */
export interface LoadResult {
  readonly operations: number;
  readonly errors: number;
  /** What the first of them was; null: there was none. */
  readonly firstError: string | null;
  /** Without the errors. */
  readonly perSecond: number;
  readonly latenciesMs: readonly number[];
}

export interface LoadOptions {
  readonly clients: number;
  /** HTTP/2 connections among which the clients are dealt out; 1 if not given. */
  readonly connections?: number;
  /** Ends after this many operations or this long, whichever is given. */
  readonly operations?: number;
  readonly durationMs?: number;
  readonly valueBytes: number;
  /** The keys key-0 to key-(keys - 1) are taken in turn, from `firstKey` on (0 if not given). */
  readonly keys: number;
  readonly firstKey?: number;
  readonly timeoutMs: number;
}

export function putAtServer(address: string, options: LoadOptions): Promise<LoadResult> {
  return closedLoop(serverPuts(address), options);
}

export function putAtFrontend(address: string, options: LoadOptions): Promise<LoadResult> {
  return closedLoop(frontendPuts(address), options);
}

export function getAtServer(
  address: string,
  options: LoadOptions,
  consistency: WireConsistency = "LOCAL",
): Promise<LoadResult> {
  return closedLoop(serverGets(address, consistency), options);
}

/** Rejects when nobody answers at the address within the time that a call has. */
export async function closedLoop(target: Target, options: LoadOptions): Promise<LoadResult> {
  const { clients, connections = 1, operations = Infinity, durationMs = Infinity, timeoutMs } = options;
  const { keys, firstKey = 0 } = options;
  const links = Array.from({ length: connections }, () => new Link(target));
  const value = encodeText("x".repeat(options.valueBytes));
  const latenciesMs: number[] = [];
  const firstClient = 1 + Math.floor(Math.random() * 2 ** 40);
  let [started, errors] = [0, 0];
  let firstError: string | null = null;
  await Promise.all(links.map((link) => link.connect(timeoutMs)));
  const startMs = performance.now();
  const run = async (link: Link, clientId: number): Promise<void> => {
    while (started < operations && performance.now() - startMs < durationMs) {
      const key = encodeText(`key-${(firstKey + started) % keys}`);
      started += 1;
      const turn = { key, value, clientId, requestId: started };
      const fromMs = performance.now();
      const refusal = await link.call(turn, timeoutMs);
      latenciesMs.push(performance.now() - fromMs);
      if (refusal === null) continue;
      errors += 1;
      firstError ??= refusal;
    }
  };
  await Promise.all(
    Array.from({ length: clients }, (_, at) => {
      return run(defined(links[at % links.length], "a load needs a connection"), firstClient + at);
    }),
  );
  const elapsedMs = performance.now() - startMs;
  for (const link of links) link.close();
  const perSecond = ((latenciesMs.length - errors) / elapsedMs) * 1000;
  return { operations: latenciesMs.length, errors, firstError, perSecond, latenciesMs };
}

/** The value below which the share `p` (0..1) of `values` lies. */
export function percentile(values: readonly number[], p: number): number {
  const ascending = values.toSorted((a, b) => a - b);
  return ascending[Math.min(ascending.length - 1, Math.floor(p * ascending.length))] ?? NaN;
}
