/**
 * Carries clients' reads and writes to where they can be served, within the caller's deadline: to the leader
 * (leader-call.ts), or, for reads that may be out of date, to any server (local-reads.ts).
 *
 * Every attempt at one Put or PutMany carries the same name, (routerId, routerCall), by which the state machine
 * applies it once however often it is sent (C1). An attempt without an answer leaves the write in doubt;
 * if no later attempt is served, that is what the caller is told (C2).
 */
import { randomBytes } from "node:crypto";
import { RaftKvError } from "../base/errors.ts";
import { CallNumbers } from "../kv/call-numbers.ts";
import { parseKey, parsePut, parseRequestId, type TextLimits } from "../rpc/arguments.ts";
import { checkPutMany } from "../rpc/put-many-arguments.ts";
import type { GenericResponse, GetKey, KeyValue, PutManyArgs } from "../rpc/wire.ts";
import { CERTAINLY_NOT_DONE, getOutcome, MAYBE_DONE, putOutcome } from "./attempt-outcome.ts";
import { budgetFromNow, type CallBudget } from "./call-budget.ts";
import type { ClusterLink } from "./cluster-link.ts";
import type { CurrentCluster } from "./current-cluster.ts";
import { callLeader, unservedReply, type Call, type CallResult } from "./leader-call.ts";
import { LocalReads } from "./local-reads.ts";
import { failure, failureOf, type Reply } from "./reply.ts";
import type { ServerClient } from "./server-clients.ts";

export interface RouterLimits extends TextLimits {
  /** Bytes of keys and values in flight. */
  readonly maxPendingBytes: number;
}

export interface RouterOptions {
  readonly clusters: CurrentCluster;
  readonly limits: RouterLimits;
  /** The time a call gets whose caller set no deadline. */
  readonly requestTimeoutMs: number;
}

/** Calls in flight; beyond them the answer is OVERLOADED, at once (I3). */
export const MAX_CALLS = 10_000;

/** One client call, however often it is sent. */
interface Admitted {
  /** What it holds in memory, roughly. */
  readonly bytes: number;
  readonly run: (link: ClusterLink, budget: CallBudget) => Promise<CallResult>;
}

type SendWrite = (
  client: ServerClient,
  name: Pick<KeyValue, "routerId" | "routerCall" | "routerPending" | "routerRetried">,
  timeoutMs: number,
  done: (result: GenericResponse | RaftKvError) => void,
) => void;

export class Router {
  readonly #options: RouterOptions;
  /** Names this frontend process among all that ever were; never 0. */
  readonly #routerId = 1 + randomBytes(6).readUIntBE(0, 6);
  readonly #numbers = new CallNumbers();
  readonly #localReads = new LocalReads();
  #inFlight = 0;
  #inFlightBytes = 0;

  constructor(options: RouterOptions) {
    this.#options = options;
  }

  /** Every failure is in the reply; it rejects for a bug alone. `callerMs`: until the caller gives up, null: never. */
  async put(message: KeyValue, callerMs: number | null): Promise<Reply> {
    const { key, value, clientId, requestId } = message;
    try {
      // Whatever name a client gives the call as if it were a frontend, here it gets ours.
      parsePut({ ...message, routerId: 0, routerCall: 0, routerPending: 0 }, this.#options.limits);
    } catch (error) {
      if (error instanceof RaftKvError) return failureOf(error);
      throw error;
    }
    const request = { key, value, clientId, requestId };
    return this.#write(key.length + value.length, callerMs, (client, name, timeoutMs, done) =>
      client.send("Put", { ...request, ...name }, timeoutMs, done),
    );
  }

  /** As `put`. Whether keys and values are text the leader finds out, who has to read them anyway. */
  async putMany(message: PutManyArgs, callerMs: number | null): Promise<Reply> {
    const { writes, clientId, requestId } = message;
    let bytes: number;
    try {
      bytes = checkPutMany(message, this.#options.limits);
    } catch (error) {
      if (error instanceof RaftKvError) return failureOf(error);
      throw error;
    }
    const request = { writes, clientId, requestId };
    return this.#write(bytes, callerMs, (client, name, timeoutMs, done) =>
      client.send("PutMany", { ...request, ...name }, timeoutMs, done),
    );
  }

  /** As `put`. The value is "" and `found` false when there is no such key. */
  async get(message: GetKey, callerMs: number | null): Promise<Reply> {
    const { key, consistency } = message;
    try {
      parseKey(key, this.#options.limits);
      parseRequestId(message);
    } catch (error) {
      if (error instanceof RaftKvError) return failureOf(error);
      throw error;
    }
    const run =
      consistency === "LOCAL"
        ? (link: ClusterLink, budget: CallBudget) => this.#localReads.read(link, key, budget)
        : (link: ClusterLink, budget: CallBudget) => callLeader(link, linearizableRead(key), budget);
    return this.#admit(callerMs, { bytes: key.length, run });
  }

  /** `bytes` of keys and values, `send` under a name that is the same however often it is sent. */
  async #write(bytes: number, callerMs: number | null, send: SendWrite): Promise<Reply> {
    const { number, pending } = this.#numbers.next();
    const name = { routerId: this.#routerId, routerCall: number, routerPending: pending };
    const call: Call = {
      send: (client, timeoutMs, doubtful, done) =>
        send(client, { ...name, routerRetried: doubtful }, timeoutMs, (result) => done(putOutcome(result))),
      abandoned: MAYBE_DONE,
      repeatable: true,
    };
    try {
      return await this.#admit(callerMs, { bytes, run: (link, budget) => callLeader(link, call, budget) });
    } finally {
      this.#numbers.finished(number);
    }
  }

  async #admit(callerMs: number | null, { bytes, run }: Admitted): Promise<Reply> {
    const { clusters, limits, requestTimeoutMs } = this.#options;
    const isFull = this.#inFlight > 0 && this.#inFlightBytes + bytes > limits.maxPendingBytes;
    if (isFull || this.#inFlight >= MAX_CALLS) {
      return failure("OVERLOADED", "the frontend is overloaded: nothing was done, try again later");
    }
    this.#inFlight += 1;
    this.#inFlightBytes += bytes;
    try {
      const budget = budgetFromNow(callerMs, requestTimeoutMs);
      const link = await clusters.settledLink(budget.deadline);
      if (link === null) return clusters.noLink(budget.ms);
      const result = await run(link, budget);
      return result.kind === "answered" ? result.reply : unservedReply(result);
    } finally {
      this.#inFlight -= 1;
      this.#inFlightBytes -= bytes;
    }
  }
}

/** A read changes nothing: it may be sent as often as need be, and is never in doubt. */
function linearizableRead(key: Buffer): Call {
  return {
    send: (client, timeoutMs, _doubtful, done) =>
      client.send("Get", { arg: key, consistency: "LINEARIZABLE" }, timeoutMs, (result) =>
        done(getOutcome(result)),
      ),
    abandoned: CERTAINLY_NOT_DONE,
    repeatable: true,
  };
}
