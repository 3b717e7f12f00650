import { RpcClient } from "../../src/rpc/rpc-client.ts";
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
  readonly keys: number;
  readonly timeoutMs: number;
}

/** Puts at the leader's own port, each client one at a time, all ids distinct. */
export function putAtServer(address: string, options: LoadOptions): Promise<LoadResult> {
  const client = new RpcClient("KeyValueStore", address);
  const value = encodeText("x".repeat(options.valueBytes));
  return closedLoop(
    options,
    () => client.close(),
    async (clientId, requestId, key) => {
      const reply = await client.call("Put", { key, value, clientId, requestId }, options.timeoutMs);
      return reply.success;
    },
  );
}

/** Puts through the frontend, as most clients send them. */
export function putAtFrontend(address: string, options: LoadOptions): Promise<LoadResult> {
  const client = new RpcClient("FrontEnd", address);
  const value = encodeText("x".repeat(options.valueBytes));
  return closedLoop(
    options,
    () => client.close(),
    async (clientId, requestId, key) => {
      const reply = await client.call("Put", { key, value, clientId, requestId }, options.timeoutMs);
      return reply.error === "";
    },
  );
}

/** Local reads of one server. */
export function getAtServer(address: string, options: LoadOptions): Promise<LoadResult> {
  const client = new RpcClient("KeyValueStore", address);
  return closedLoop(
    options,
    () => client.close(),
    async (_clientId, _requestId, key) => {
      await client.call("Get", { arg: key }, options.timeoutMs);
      return true;
    },
  );
}

type Operation = (clientId: number, requestId: number, key: Buffer) => Promise<boolean>;

async function closedLoop(
  options: LoadOptions,
  close: () => void,
  operation: Operation,
): Promise<LoadResult> {
  const { clients, operations = Infinity, durationMs = Infinity, keys } = options;
  const latenciesMs: number[] = [];
  const firstClient = 1 + Math.floor(Math.random() * 2 ** 40);
  let [started, errors] = [0, 0];
  const startMs = performance.now();
  const run = async (client: number): Promise<void> => {
    while (started < operations && performance.now() - startMs < durationMs) {
      started += 1;
      const key = encodeText(`key-${started % keys}`);
      const fromMs = performance.now();
      const succeeded = await operation(firstClient + client, started, key).catch(() => false);
      latenciesMs.push(performance.now() - fromMs);
      if (!succeeded) errors += 1;
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, client) => run(client)));
  const elapsedMs = performance.now() - startMs;
  close();
  const perSecond = ((latenciesMs.length - errors) / elapsedMs) * 1000;
  return { operations: latenciesMs.length, errors, perSecond, latenciesMs };
}

/** The value below which the share `p` (0..1) of `values` lies. */
export function percentile(values: readonly number[], p: number): number {
  const ascending = values.toSorted((a, b) => a - b);
  return ascending[Math.min(ascending.length - 1, Math.floor(p * ascending.length))] ?? NaN;
}
