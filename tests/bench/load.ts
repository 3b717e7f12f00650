/** Closed loops of clients: each sends its next call when the one before is answered. */
import { RpcClient } from "../../src/rpc/rpc-client.ts";
import type { ServiceName } from "../../src/rpc/definition.ts";
import { encodeText } from "../../src/rpc/text.ts";

/** What a closed-loop run measured. Latencies in milliseconds. */
export interface LoadResult {
  readonly operations: number;
  readonly errors: number;
  readonly perSecond: number;
  readonly latenciesMs: readonly number[];
}

export interface LoadOptions {
  readonly clients: number;
  /** Ends after this many operations or this long, whichever is given. */
  readonly operations?: number;
  readonly durationMs?: number;
  readonly valueBytes: number;
  /** The keys key-0 to key-(keys - 1) are taken in turn, from `firstKey` on (0 if not given). */
  readonly keys: number;
  readonly firstKey?: number;
  readonly timeoutMs: number;
}

/** A put with ids that nobody else uses. */
interface Put {
  readonly key: Buffer;
  readonly value: Buffer;
  readonly clientId: number;
  readonly requestId: number;
}

/** Puts at the leader's own port. */
export function putAtServer(address: string, options: LoadOptions): Promise<LoadResult> {
  return closedLoop("KeyValueStore", address, options, async (client, put, timeoutMs) => {
    return (await client.call("Put", put, timeoutMs)).success;
  });
}

/** Puts through the frontend, as most clients send them. */
export function putAtFrontend(address: string, options: LoadOptions): Promise<LoadResult> {
  return closedLoop("FrontEnd", address, options, async (client, put, timeoutMs) => {
    return (await client.call("Put", put, timeoutMs)).error === "";
  });
}

/** Reads at one server. */
export function getAtServer(
  address: string,
  options: LoadOptions,
  consistency: "LOCAL" | "LINEARIZABLE" = "LOCAL",
): Promise<LoadResult> {
  return closedLoop("KeyValueStore", address, options, async (client, { key }, timeoutMs) => {
    return (await client.call("Get", { arg: key, consistency }, timeoutMs)).code === "OK";
  });
}

async function closedLoop<S extends ServiceName>(
  service: S,
  address: string,
  options: LoadOptions,
  operation: (client: RpcClient<S>, put: Put, timeoutMs: number) => Promise<boolean>,
): Promise<LoadResult> {
  const { clients, operations = Infinity, durationMs = Infinity, keys, firstKey = 0, timeoutMs } = options;
  const client = new RpcClient(service, address);
  const value = encodeText("x".repeat(options.valueBytes));
  const latenciesMs: number[] = [];
  const firstClient = 1 + Math.floor(Math.random() * 2 ** 40);
  let [started, errors] = [0, 0];
  const startMs = performance.now();
  const run = async (clientId: number): Promise<void> => {
    while (started < operations && performance.now() - startMs < durationMs) {
      const key = encodeText(`key-${(firstKey + started) % keys}`);
      started += 1;
      const put = { key, value, clientId, requestId: started };
      const fromMs = performance.now();
      const succeeded = await operation(client, put, timeoutMs).catch(() => false);
      latenciesMs.push(performance.now() - fromMs);
      if (!succeeded) errors += 1;
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, at) => run(firstClient + at)));
  const elapsedMs = performance.now() - startMs;
  client.close();
  const perSecond = ((latenciesMs.length - errors) / elapsedMs) * 1000;
  return { operations: latenciesMs.length, errors, perSecond, latenciesMs };
}

/** The value below which the share `p` (0..1) of `values` lies. */
export function percentile(values: readonly number[], p: number): number {
  const ascending = values.toSorted((a, b) => a - b);
  return ascending[Math.min(ascending.length - 1, Math.floor(p * ascending.length))] ?? NaN;
}
