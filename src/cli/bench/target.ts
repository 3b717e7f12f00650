/** The calls of one process, over its connections. */
import { defined } from "../../base/assert.ts";
import { RpcClient } from "../../rpc/rpc-client.ts";
import { frontEndOutcome, getOutcome, putOutcome, type CallOutcome } from "./call-outcome.ts";
import { LeaderRoute } from "./leader-route.ts";
import type { Consistency } from "./settings.ts";
import type { Operation } from "./workload.ts";

/** Whom the calls go to, as it travels between processes. */
export type TargetAddress =
  | { readonly kind: "frontend"; readonly address: string }
  | {
      readonly kind: "servers";
      /** At least one. */
      readonly servers: readonly ServerAddress[];
      /** null: nobody led when it was asked. */
      readonly leaderId: number | null;
    };

export interface ServerAddress {
  readonly id: number;
  readonly address: string;
}

export interface CallSettings {
  /** To the frontend, or to each server. */
  readonly connections: number;
  readonly consistency: Consistency;
  readonly timeoutMs: number;
}

/** Calls take the connections in turn. */
export interface Target {
  /** Calls `done` once, never before this returns. */
  send(operation: Operation, done: (outcome: CallOutcome) => void): void;
}

/** Its connections are made when they are first used. */
export function openTarget(target: TargetAddress, settings: CallSettings): Target {
  return target.kind === "frontend"
    ? new FrontendTarget(target.address, settings)
    : new ServersTarget(target.servers, target.leaderId, settings);
}

class FrontendTarget implements Target {
  readonly #clients: readonly RpcClient<"FrontEnd">[];
  readonly #settings: CallSettings;
  #sent = 0;

  constructor(address: string, settings: CallSettings) {
    this.#clients = Array.from({ length: settings.connections }, () => new RpcClient("FrontEnd", address));
    this.#settings = settings;
  }

  send(operation: Operation, done: (outcome: CallOutcome) => void): void {
    const { timeoutMs } = this.#settings;
    const client = inTurn(this.#clients, this.#sent);
    this.#sent += 1;
    const { kind, key } = operation;
    if (kind === "put") {
      client.send("Put", { key, value: operation.value }, timeoutMs, (reply) => done(frontEndOutcome(reply)));
      return;
    }
    const consistency = this.#settings.consistency === "local" ? "LOCAL" : "LINEARIZABLE";
    client.send("Get", { key, consistency }, timeoutMs, (reply) => done(frontEndOutcome(reply)));
  }
}

/** The connections of one server. */
interface ServerClients {
  readonly id: number;
  readonly clients: readonly RpcClient<"KeyValueStore">[];
}

/** Puts and linearizable gets go to the leader, local gets to all servers in turn. Nothing is sent twice. */
class ServersTarget implements Target {
  readonly #servers: readonly ServerClients[];
  readonly #byId: ReadonlyMap<number, ServerClients>;
  readonly #route: LeaderRoute;
  readonly #settings: CallSettings;
  #sent = 0;

  constructor(servers: readonly ServerAddress[], leaderId: number | null, settings: CallSettings) {
    const { connections: length } = settings;
    this.#servers = servers.map(({ id, address }) => ({
      id,
      clients: Array.from({ length }, () => new RpcClient("KeyValueStore", address)),
    }));
    this.#byId = new Map(this.#servers.map((server) => [server.id, server]));
    this.#route = new LeaderRoute([...this.#byId.keys()], leaderId);
    this.#settings = settings;
  }

  send(operation: Operation, done: (outcome: CallOutcome) => void): void {
    const { consistency, timeoutMs } = this.#settings;
    const isLocal = operation.kind === "get" && consistency === "local";
    const server = isLocal ? inTurn(this.#servers, this.#sent) : this.#leader();
    const client = inTurn(server.clients, isLocal ? this.#sent / this.#servers.length : this.#sent);
    this.#sent += 1;
    const end = (outcome: CallOutcome): void => {
      this.#route.note(server.id, outcome);
      done(outcome);
    };
    const { kind, key } = operation;
    if (kind === "put") {
      client.send("Put", { key, value: operation.value }, timeoutMs, (reply) => end(putOutcome(reply)));
      return;
    }
    const request = { arg: key, consistency: isLocal ? "LOCAL" : "LINEARIZABLE" } as const;
    client.send("Get", request, timeoutMs, (reply) => end(getOutcome(reply)));
  }

  #leader(): ServerClients {
    return defined(this.#byId.get(this.#route.current), "the route knows the servers that there are");
  }
}

function inTurn<T>(list: readonly T[], turn: number): T {
  return defined(list[Math.floor(turn) % list.length], "nothing to take in turn");
}
