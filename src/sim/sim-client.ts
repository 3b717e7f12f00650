/**
 * A client as there are many: it puts and gets, finds the leader by trying, gives up on an attempt that
 * takes too long, and tries again. What it was told and when is the history that is checked in the end.
 *
 * A read goes through the log: the client writes a mark of its own and takes the value that the leader has
 * when the mark is applied there. That is linearizable whoever leads.
 */
import type { Command, PutCommand } from "../kv/command.ts";
import type { Node } from "../node/node.ts";
import type { PutOutcome } from "../node/waiting-clients.ts";
import type { ServerId } from "../raft/entry.ts";
import type { History } from "./history.ts";
import type { Random } from "./random.ts";
import { READ_MARK_KEY } from "./read-mark.ts";
import type { SimNetwork } from "./sim-network.ts";
import type { SimServer } from "./sim-server.ts";
import type { Swarm } from "./swarm.ts";
import type { Timeline } from "./timeline.ts";

/** How a client names its writes, and so whether it may send one again. */
export type ClientKind = "namesRequests" | "reusesName" | "routed" | "nameless";

export interface ClientParts {
  readonly timeline: Timeline;
  readonly random: Random;
  readonly swarm: Swarm;
  readonly network: SimNetwork;
  readonly servers: readonly SimServer[];
  readonly history: History;
  readonly onAcknowledged: (command: PutCommand) => void;
  readonly onEvent: (who: string, what: string, detail?: unknown) => void;
}

const ATTEMPT_MIN_US = 200_000;
const ATTEMPT_MAX_US = 1_200_000;
const PAUSE_MAX_US = 60_000;
/** After this it gives up on an operation. */
const PATIENCE_US = 6_000_000;

/** What an attempt came to; null: nothing was heard. */
type Answer = { readonly outcome: PutOutcome; readonly read: string | null } | null;

/** One operation under way. */
interface Attempted {
  readonly command: PutCommand;
  /** null: a put. */
  readonly readKey: string | null;
  readonly giveUpUs: number;
  /** An attempt may have taken effect without an answer. */
  doubtful: boolean;
  readonly done: (read: string | null) => void;
  readonly gaveUp: (doubtful: boolean) => void;
}

export class SimClient {
  readonly #id: number;
  readonly #kind: ClientKind;
  readonly #parts: ClientParts;
  #sequence = 0;
  #leader: ServerId;
  #busy = false;
  #stopped = false;
  /** Between operations, in microseconds. */
  #thinkTimeUs: number;
  /** Counts its starts: what was to follow before a stop does not follow after it. */
  #round = 0;

  constructor(id: number, kind: ClientKind, parts: ClientParts) {
    this.#id = id;
    this.#kind = kind;
    this.#parts = parts;
    this.#thinkTimeUs = parts.swarm.thinkTimeUs;
    this.#leader = parts.random.int(0, parts.servers.length - 1);
    this.#next();
  }

  get idle(): boolean {
    return !this.#busy;
  }

  /** Starts no more operations. */
  stop(): void {
    this.#stopped = true;
  }

  /** Goes on after a stop, with so much time between operations. */
  resume(thinkTimeUs: number): void {
    this.#thinkTimeUs = thinkTimeUs;
    this.#stopped = false;
    this.#round += 1;
    if (!this.#busy) this.#next();
  }

  #next(): void {
    const { timeline, random, swarm } = this.#parts;
    const round = this.#round;
    timeline.schedule(random.int(1, 2 * this.#thinkTimeUs), () => {
      if (this.#stopped || this.#round !== round) return;
      this.#busy = true;
      this.#sequence += 1;
      const key = `k${random.int(1, swarm.keys)}`;
      if (random.chance(0.5)) this.#put(key);
      else this.#get(key);
    });
  }

  #put(key: string): void {
    const sequence = this.#sequence;
    const { random } = this.#parts;
    // Now and then one that fills sectors of a disk.
    const padding = random.chance(0.1) ? random.int(100, 2000) : 0;
    const value = `c${this.#id}-${sequence}`.padEnd(padding, "-");
    const command: PutCommand = {
      kind: "put",
      key,
      value,
      ...this.#names(sequence),
    };
    const { history, timeline } = this.#parts;
    const settle = history.put({ client: `c${this.#id}`, key, invokedAt: timeline.nowUs }, value);
    this.#tell("puts", { key, value });
    this.#try({
      command,
      readKey: null,
      giveUpUs: timeline.nowUs + PATIENCE_US,
      doubtful: false,
      done: () => settle({ kind: "ok", completedAt: timeline.nowUs }),
      gaveUp: (doubtful) => settle({ kind: doubtful ? "unknown" : "failed" }),
    });
  }

  /** One that reuses its pair, as existing clients do, comes through a frontend: that names its calls. */
  #names(sequence: number): Pick<PutCommand, "request" | "routed"> {
    const kind = this.#kind;
    const clientId = this.#id + 1;
    const named = kind === "namesRequests" || kind === "reusesName";
    return {
      request: named ? { clientId, requestId: kind === "reusesName" ? 1 : sequence } : null,
      routed:
        kind === "routed" || kind === "reusesName" ? { routerId: clientId, routerCall: sequence } : null,
    };
  }

  #get(key: string): void {
    const mark: PutCommand = {
      kind: "put",
      key: READ_MARK_KEY,
      value: `c${this.#id}-${this.#sequence}`,
      request: null,
      routed: null,
    };
    const { history, timeline } = this.#parts;
    const settle = history.get({ client: `c${this.#id}`, key, invokedAt: timeline.nowUs });
    this.#tell("gets", { key });
    this.#try({
      command: mark,
      readKey: key,
      giveUpUs: timeline.nowUs + PATIENCE_US,
      doubtful: false,
      done: (value) => settle({ kind: "ok", completedAt: timeline.nowUs, value }),
      gaveUp: () => settle({ kind: "unanswered" }),
    });
  }

  #try(operation: Attempted): void {
    const { timeline, random } = this.#parts;
    if (timeline.nowUs >= operation.giveUpUs) {
      this.#giveUp(operation);
      return;
    }
    let settled = false;
    const settle = (answer: Answer): void => {
      if (settled) return;
      settled = true;
      this.#answered(operation, answer);
    };
    timeline.schedule(random.int(ATTEMPT_MIN_US, ATTEMPT_MAX_US), () => settle(null));
    this.#send(operation.command, operation.readKey, settle);
  }

  #answered(operation: Attempted, answer: Answer): void {
    const { timeline, random, servers, onAcknowledged } = this.#parts;
    const isPut = operation.readKey === null;
    if (answer?.outcome.kind === "done") {
      if (isPut) onAcknowledged(operation.command);
      this.#tell("is served", { key: operation.readKey ?? operation.command.key, read: answer.read });
      operation.done(answer.read);
      this.#free();
      return;
    }
    if (answer === null || answer.outcome.kind === "unknown") operation.doubtful = true;
    if (operation.doubtful && isPut && this.#kind === "nameless") {
      this.#giveUp(operation);
      return;
    }
    const hint = answer?.outcome.kind === "notLeader" ? answer.outcome.leaderId : null;
    this.#leader = hint !== null && hint < servers.length ? hint : random.int(0, servers.length - 1);
    timeline.schedule(random.int(1, PAUSE_MAX_US), () => this.#try(operation));
  }

  /** To the server that it believes leads, and back. */
  #send(command: Command, readKey: string | null, settle: (answer: Answer) => void): void {
    const { network, servers } = this.#parts;
    const server = servers[this.#leader];
    network.carryForClient(() => {
      const node = server?.node ?? null;
      if (server === undefined || node === null) {
        network.carryForClient(() => settle({ outcome: { kind: "stopping" }, read: null }));
        return;
      }
      server.process.input(0, () => {
        const answering = serve(node, command, readKey).finally(server.clientWaits());
        void answering.then((answer) => network.carryForClient(() => settle(answer)));
      });
    });
  }

  #giveUp(operation: Attempted): void {
    this.#tell("gives up", { key: operation.readKey ?? operation.command.key, doubtful: operation.doubtful });
    operation.gaveUp(operation.doubtful);
    this.#free();
  }

  #free(): void {
    this.#busy = false;
    this.#next();
  }

  #tell(what: string, detail: unknown): void {
    this.#parts.onEvent(`client ${this.#id}`, what, detail);
  }
}

/** What a server does with the call: the value is read in the very moment in which the mark is applied. */
async function serve(node: Node, command: Command, readKey: string | null): Promise<NonNullable<Answer>> {
  const outcome = await node.put(command);
  const read = outcome.kind === "done" && readKey !== null ? (node.get(readKey) ?? null) : null;
  return { outcome, read };
}
