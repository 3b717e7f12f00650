/**
 * Clients of a run. Each does one thing after the other, at moments of its own chance: a put or a linearizable get of
 * one of the keys of the moment, within a deadline. What became of it goes into the record: a put is "failed" only
 * when every attempt at it was told so.
 */
import { RaftKvError } from "../../src/base/errors.ts";
import type { ServerId } from "../../src/raft/entry.ts";
import { RpcClient } from "../../src/rpc/rpc-client.ts";
import { decodeText, encodeText } from "../../src/rpc/text.ts";
import type { WireCode } from "../../src/rpc/wire.ts";
import type { Random } from "../../src/sim/random.ts";
import type { ChaosKeys } from "./chaos-keys.ts";
import type { ChaosRecord, GetEnd, PutEnd } from "./chaos-record.ts";

const DEADLINE_MS = 2000;
/** How long a server may think before another one is asked. */
const ATTEMPT_MS = 500;
const RETRY_PAUSE_MS = 15;
const MAX_PAUSE_MS = 120;
const REPEATED = 0.1;
const MAX_REPEAT_MS = 1000;

/** What one client does its operations with. Neither method rejects. */
export interface ChaosRoute {
  readonly put: (name: CallName, key: string, value: string) => Promise<PutEnd>;
  readonly get: (key: string) => Promise<GetEnd>;
  readonly close: () => void;
}

/** The same in every attempt at one put. */
export interface CallName {
  readonly clientId: number;
  readonly requestId: number;
}

type Attempt = "done" | "notDone" | "doubtful";

/**
 * One client. It goes on until it is stopped. Now and then it sends a put once more that was acknowledged, as one does
 * that missed the answer: that must change nothing (C1).
 */
export class ChaosClient {
  readonly #id: number;
  readonly #route: ChaosRoute;
  readonly #record: ChaosRecord;
  readonly #keys: ChaosKeys;
  readonly #random: Random;
  readonly #ended: Promise<void>;
  readonly #repeats = new Set<Promise<void>>();
  #requests = 0;
  #stopped = false;

  /** `id` is above 0, and its own. */
  constructor(id: number, route: ChaosRoute, record: ChaosRecord, keys: ChaosKeys, random: Random) {
    this.#id = id;
    this.#route = route;
    this.#record = record;
    this.#keys = keys;
    this.#random = random;
    this.#ended = this.#run();
  }

  /** Resolves when what was under way has been answered. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#ended;
    await Promise.all(this.#repeats);
    this.#route.close();
  }

  async #run(): Promise<void> {
    const name = `client ${this.#id}`;
    while (!this.#stopped) {
      await Bun.sleep(this.#random.int(0, MAX_PAUSE_MS));
      const key = this.#keys.next();
      if (this.#random.chance(0.5)) {
        await this.#record.get(name, key, () => this.#route.get(key));
        continue;
      }
      this.#requests += 1;
      const call = { clientId: this.#id, requestId: this.#requests };
      const value = this.#keys.value();
      const put = (): Promise<PutEnd> => this.#route.put(call, key, value);
      const end = await this.#record.put(name, key, value, put);
      if (end === "ok" && this.#random.chance(REPEATED))
        this.#repeat(put, this.#random.int(0, MAX_REPEAT_MS));
    }
  }

  #repeat(put: () => Promise<PutEnd>, afterMs: number): void {
    const repeat = Bun.sleep(afterMs)
      .then(put)
      .then(() => void this.#repeats.delete(repeat));
    this.#repeats.add(repeat);
  }
}

/** Through the frontend, which looks for the leader by itself; asked again only when it is gone. */
export function frontendRoute(address: string): ChaosRoute {
  const frontend = new RpcClient("FrontEnd", address);
  return {
    put: (name, key, value) => {
      const request = { key: encodeText(key), value: encodeText(value), ...name };
      return untilDone(async (timeoutMs) => {
        const reply = await frontend.call("Put", request, timeoutMs);
        return reply.error === "" ? "done" : attemptOf(reply.code);
      }, DEADLINE_MS);
    },
    get: async (key) => {
      const reply = await answered(frontend.call("Get", { key: encodeText(key) }, DEADLINE_MS));
      return reply === null || reply.error !== "" ? null : read(reply);
    },
    close: () => frontend.close(),
  };
}

/**
 * Straight to the servers: puts to whichever leads, as far as that is known; gets to any, leader or not. `ids` are
 * those of the servers that may be there, `addressOf` says where.
 */
export function serversRoute(
  ids: readonly ServerId[],
  addressOf: (id: ServerId) => string,
  random: Random,
): ChaosRoute {
  const servers = ids.map((id) => new RpcClient("KeyValueStore", addressOf(id)));
  const anyOf = (): number => random.int(0, servers.length - 1);
  let leader = anyOf();
  return {
    put: (name, key, value) => {
      const request = { key: encodeText(key), value: encodeText(value), ...name };
      return untilDone(async (timeoutMs) => {
        const asked = leader;
        leader = anyOf(); // Unless the one asked knows better.
        const reply = await servers[asked]?.call("Put", request, timeoutMs);
        if (reply === undefined) return "notDone";
        const known = reply.success ? asked : ids.findIndex((id) => id === reply.leaderId);
        if (known >= 0) leader = known;
        return reply.success ? "done" : attemptOf(reply.code);
      }, ATTEMPT_MS);
    },
    get: async (key) => {
      const request = { arg: encodeText(key), consistency: "LINEARIZABLE" } as const;
      const reply = await answered(servers[anyOf()]?.call("Get", request, ATTEMPT_MS));
      return reply === null || reply.code !== "OK" ? null : read(reply);
    },
    close: () => {
      for (const server of servers) server.close();
    },
  };
}

/** Makes attempts of at most `attemptMs` each until one is done or the deadline has passed. */
async function untilDone(
  attempt: (timeoutMs: number) => Promise<Attempt>,
  attemptMs: number,
): Promise<PutEnd> {
  const deadline = performance.now() + DEADLINE_MS;
  let doubtful = false;
  for (;;) {
    const leftMs = deadline - performance.now();
    if (leftMs < 1) return doubtful ? "unknown" : "failed";
    const outcome = await attempt(Math.min(attemptMs, leftMs)).catch(attemptOfError);
    if (outcome === "done") return "ok";
    if (outcome === "doubtful") doubtful = true;
    await Bun.sleep(RETRY_PAUSE_MS);
  }
}

function attemptOf(code: WireCode): Attempt {
  return code === "UNKNOWN_OUTCOME" || code === "INTERNAL" ? "doubtful" : "notDone";
}

/** A call that never left its client certainly does nothing. */
function attemptOfError(error: unknown): Attempt {
  if (!(error instanceof RaftKvError)) throw error;
  return error.code === "unavailable" ? "notDone" : "doubtful";
}

async function answered<T>(call: Promise<T> | undefined): Promise<T | null> {
  try {
    return (await call) ?? null;
  } catch (error) {
    if (error instanceof RaftKvError) return null;
    throw error;
  }
}

/** `value: null`: there is no such key. */
export function read({ found, value }: { found: boolean; value: Buffer }): GetEnd {
  return { value: found ? decodeText(value) : null };
}
