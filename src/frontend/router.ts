/**
 * Carries clients' calls to the leader, across leader changes, within the caller's deadline.
 *
 * A call is sent to the leader that is known, with all the time that the call has left: a leader that is
 * slow is not asked twice. When no answer has come after a moment, the other servers are asked whether
 * they lead by now, and only when one does, or the connection breaks, is the call sent again (F7).
 *
 * Every attempt at one Put carries the same name, (routerId, routerCall), by which the state machine
 * applies it once however often it is sent (C1). An attempt without an answer leaves the write in doubt;
 * if no later attempt is served, that is what the caller is told (C2).
 */
import { randomBytes } from "node:crypto";
import { RaftKvError } from "../base/errors.ts";
import { parseKey, parsePut, parseRequestId, type TextLimits } from "../rpc/arguments.ts";
import type { GetKey, KeyValue, ServerStatus } from "../rpc/wire.ts";
import {
  CERTAINLY_NOT_DONE,
  getOutcome,
  MAYBE_DONE,
  putOutcome,
  type AttemptOutcome,
} from "./attempt-outcome.ts";
import { ClusterLink, type Leader, type ServerClient } from "./cluster-link.ts";
import { NO_CLUSTER_MESSAGE, type Cluster, type ClusterState } from "./cluster.ts";
import { failure, failureOf, type Reply } from "./reply.ts";
import { deadlineIn, remainingMs, type Deadline } from "./waiting.ts";

export interface RouterLimits extends TextLimits {
  /** Bytes of keys and values in flight. */
  readonly maxPendingBytes: number;
}

export interface RouterOptions {
  /** A server's "host:port". */
  readonly addressOf: (id: number) => string;
  readonly limits: RouterLimits;
  /** The time a call gets whose caller set no deadline. */
  readonly requestTimeoutMs: number;
}

/** Calls in flight; beyond them the answer is OVERLOADED, at once (I3). */
export const MAX_CALLS = 10_000;
/** A caller that would wait longer than this gets its answer after this. */
const MAX_BUDGET_MS = 60_000;
/** After this time without an answer the leader is doubted, though not yet given up. */
const SUSPICION_MS = 250;
/** Between attempts that failed at once. */
const FIRST_PAUSE_MS = 10;
const MAX_PAUSE_MS = 100;

/** One client call, however often it is sent. */
interface Call {
  /** What it holds in memory, roughly. */
  readonly bytes: number;
  readonly send: (client: ServerClient, timeoutMs: number, done: (outcome: AttemptOutcome) => void) => void;
  /** What an attempt means that was given up without an answer. */
  readonly abandoned: AttemptOutcome;
}

export class Router {
  readonly #options: RouterOptions;
  /** Names this frontend process among all that ever were; never 0. */
  readonly #routerId = 1 + randomBytes(6).readUIntBE(0, 6);
  #calls = 0;
  #state: ClusterState = { kind: "changing" };
  #link: ClusterLink | null = null;
  readonly #onState = new Set<() => void>();
  #inFlight = 0;
  #inFlightBytes = 0;

  /** A new router waits to be told of a cluster. */
  constructor(options: RouterOptions) {
    this.#options = options;
  }

  /** The cluster to route to from now on. What is under way in the one before is answered, and not sent again. */
  setState(state: ClusterState): void {
    this.#state = state;
    this.#link?.close();
    this.#link = state.kind === "running" ? new ClusterLink(state.cluster, this.#options.addressOf) : null;
    for (const wake of this.#onState) wake();
  }

  /** Every failure is in the reply; it rejects for a bug alone. `callerMs`: until the caller gives up, null: never. */
  async put(message: KeyValue, callerMs: number | null): Promise<Reply> {
    const { key, value, clientId, requestId } = message;
    try {
      // Whatever name a client gives the call as if it were a frontend, here it gets ours.
      parsePut({ ...message, routerId: 0, routerCall: 0 }, this.#options.limits);
    } catch (error) {
      if (error instanceof RaftKvError) return failureOf(error);
      throw error;
    }
    this.#calls += 1;
    const request = {
      key,
      value,
      clientId,
      requestId,
      routerId: this.#routerId,
      routerCall: this.#calls,
    };
    return this.#admit(callerMs, {
      bytes: key.length + value.length,
      send: (client, timeoutMs, done) =>
        client.send("Put", request, timeoutMs, (result) => done(putOutcome(result))),
      abandoned: MAYBE_DONE,
    });
  }

  /** As `put`. The value is "" and `found` false when there is no such key. */
  async get(message: GetKey, callerMs: number | null): Promise<Reply> {
    const { key } = message;
    try {
      parseKey(key, this.#options.limits);
      parseRequestId(message);
    } catch (error) {
      if (error instanceof RaftKvError) return failureOf(error);
      throw error;
    }
    return this.#admit(callerMs, {
      bytes: key.length,
      send: (client, timeoutMs, done) =>
        client.send("Get", { arg: key, consistency: "LEADER" }, timeoutMs, (result) =>
          done(getOutcome(result)),
        ),
      abandoned: CERTAINLY_NOT_DONE,
    });
  }

  /** The cluster, and what each of its servers says of itself; null when there is no cluster. */
  async statuses(
    timeoutMs: number,
  ): Promise<{ cluster: Cluster; servers: readonly (ServerStatus | null)[] } | null> {
    if (this.#link === null) return null;
    return { cluster: this.#link.cluster, servers: await this.#link.statuses(timeoutMs) };
  }

  async #admit(callerMs: number | null, call: Call): Promise<Reply> {
    const { maxPendingBytes } = this.#options.limits;
    const isFull = this.#inFlight > 0 && this.#inFlightBytes + call.bytes > maxPendingBytes;
    if (isFull || this.#inFlight >= MAX_CALLS) {
      return failure("OVERLOADED", "the frontend is overloaded: nothing was done, try again later");
    }
    this.#inFlight += 1;
    this.#inFlightBytes += call.bytes;
    try {
      return await this.#route(call, budgetMs(callerMs, this.#options.requestTimeoutMs));
    } finally {
      this.#inFlight -= 1;
      this.#inFlightBytes -= call.bytes;
    }
  }

  async #route(call: Call, budgetMs: number): Promise<Reply> {
    const deadline = deadlineIn(budgetMs);
    const link = await this.#settledLink(deadline);
    if (link === null) return this.#noLink(budgetMs);
    let doubtful = false;
    let reason: string | null = null;
    let pauseMs = 0;
    while (remainingMs(deadline) > 0) {
      const leader = await link.waitForLeader(deadline);
      if (leader === null || remainingMs(deadline) === 0) break;
      const outcome = await attempt(link, leader, call, deadline);
      if (outcome.kind === "answered") {
        // It refuses this attempt; an earlier one may still be carried out.
        if (doubtful && outcome.reply.code === "OVERLOADED") break;
        return outcome.reply;
      }
      doubtful ||= outcome.doubtful;
      reason = outcome.reason ?? reason;
      link.lost(leader);
      await Bun.sleep(Math.min(pauseMs, remainingMs(deadline)));
      pauseMs = Math.min(MAX_PAUSE_MS, Math.max(FIRST_PAUSE_MS, pauseMs * 2));
    }
    if (link.closed) return unserved(doubtful, "the cluster was replaced or stopped");
    const said = reason === null ? "" : `; the last one said: ${reason}`;
    return unserved(doubtful, `no leader served the call within ${Math.round(budgetMs)} ms${said}`);
  }

  /** The link to the cluster once it is settled whether there is one; null when there is none in time. */
  async #settledLink(deadline: Deadline): Promise<ClusterLink | null> {
    while (this.#state.kind === "changing" && remainingMs(deadline) > 0) {
      await new Promise<void>((resolve) => {
        const settle = (): void => {
          clearTimeout(timer);
          this.#onState.delete(settle);
          resolve();
        };
        const timer = setTimeout(settle, remainingMs(deadline));
        this.#onState.add(settle);
      });
    }
    return this.#link;
  }

  #noLink(budgetMs: number): Reply {
    if (this.#state.kind === "none") return failure("NO_CLUSTER", NO_CLUSTER_MESSAGE);
    const waited = `within ${Math.round(budgetMs)} ms`;
    return failure(
      "UNAVAILABLE",
      `the cluster is being started and had no leader ${waited}: nothing was done`,
    );
  }
}

/** One attempt. It ends with an answer, a broken connection, the deadline, or another leader. */
function attempt(link: ClusterLink, leader: Leader, call: Call, deadline: Deadline): Promise<AttemptOutcome> {
  if (link.closed) return Promise.resolve(CERTAINLY_NOT_DONE);
  return new Promise((resolve) => {
    let unwatch: (() => void) | null = null;
    const settle = (outcome: AttemptOutcome): void => {
      clearTimeout(suspicion);
      unwatch?.();
      resolve(outcome);
    };
    const suspicion = setTimeout(() => {
      unwatch = link.watch(leader, () => settle(call.abandoned));
    }, SUSPICION_MS);
    call.send(link.client(leader.id), remainingMs(deadline), settle);
  });
}

/** What a call may take whose caller gives up after `callerMs`: less, so that it still gets our answer. null: never. */
export function budgetMs(callerMs: number | null, requestTimeoutMs: number): number {
  if (callerMs === null) return Math.min(requestTimeoutMs, MAX_BUDGET_MS);
  const marginMs = Math.min(100, Math.max(10, callerMs / 10));
  return Math.min(Math.max(0, callerMs - marginMs), MAX_BUDGET_MS);
}

function unserved(doubtful: boolean, why: string): Reply {
  return doubtful
    ? failure("UNKNOWN_OUTCOME", `outcome unknown: ${why}; the write may still take effect`)
    : failure("UNAVAILABLE", `${why}: nothing was done; see "raftkv status"`);
}
