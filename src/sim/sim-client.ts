/**
 * A client as there are many: it puts, one key or a batch of them, and gets, finds the leader by trying, gives up on an attempt that
 * takes too long, and tries again. What it was told and when is the history that is checked in the end.
 * It reads from any server, whether that leads, follows, or belongs to the cluster at all.
 */
import type { Command, Names, RequestId, Write } from "../kv/command.ts";
import type { ServerId } from "../raft/entry.ts";
import type { History, PutOutcome } from "./history.ts";
import type { Random } from "./random.ts";
import type { NumberedCall, SimFrontend } from "./sim-frontend.ts";
import type { SimNetwork } from "./sim-network.ts";
import type { SimServer } from "./sim-server.ts";
import { REFUSED, serve, type Call, type Served } from "./sim-service.ts";
import type { Safety } from "./safety.ts";
import { LARGE_WINDOW, MANY_SESSIONS, type Swarm } from "./swarm.ts";
import type { Timeline } from "./timeline.ts";

/** How a client names its writes, and so whether it may send one again. */
export type ClientKind = "namesRequests" | "reusesName" | "routed" | "nameless";

export interface ClientParts {
  readonly timeline: Timeline;
  readonly random: Random;
  readonly swarm: Swarm;
  readonly network: SimNetwork;
  readonly servers: readonly SimServer[];
  readonly safety: Safety;
  readonly history: History;
  /** What "routed" calls and those that reuse a name go through. */
  readonly frontend: SimFrontend;
  readonly onEvent: (who: string, what: string, detail?: unknown) => void;
  /** A property was violated. */
  readonly onFailure: (error: unknown) => void;
}

const ATTEMPT_MIN_US = 200_000;
const ATTEMPT_MAX_US = 1_200_000;
const PAUSE_MAX_US = 60_000;
/** After this it gives up on an operation. */
const PATIENCE_US = 6_000_000;

/** How often it reads from whom it believes to lead, and not from just anybody. */
const READS_FROM_LEADER = 0.4;

/** Writes of a batch; they may be of one key. */
const BATCH_MAX = 4;

/** One operation under way. */
interface Attempted {
  /** The key or keys that it is about, as it is told. */
  readonly key: string;
  /** The call as it is sent the next time. */
  readonly call: () => Call;
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
      if (!random.chance(0.5)) this.#get(key);
      else if (random.chance(swarm.batches)) this.#putMany(key);
      else this.#put(key);
    });
  }

  #put(key: string): void {
    const sequence = this.#sequence;
    const { random } = this.#parts;
    // Now and then one that fills sectors of a disk.
    const padding = random.chance(0.1) ? random.int(100, 2000) : 0;
    const value = `c${this.#id}-${sequence}`.padEnd(padding, "-");
    this.#tell("puts", { key, value });
    this.#write([{ key, value }], (names) => ({ kind: "put", key, value, ...names }));
  }

  #putMany(firstKey: string): void {
    const { random, swarm } = this.#parts;
    const keys = Array.from({ length: random.int(0, BATCH_MAX - 1) }, () => `k${random.int(1, swarm.keys)}`);
    const writes = [firstKey, ...keys].map((key, n) => ({
      key,
      value: `c${this.#id}-${this.#sequence}.${n}`,
    }));
    this.#tell("puts a batch", { writes: writes.map(({ key, value }) => `${key} = ${value}`).join(", ") });
    this.#write(writes, (names) => ({ kind: "putMany", writes, ...names }));
  }

  #write(writes: readonly Write[], commandOf: (names: Names) => Command): void {
    const { frontend, timeline } = this.#parts;
    const request = this.#requestId(this.#sequence);
    const numbered = this.#isRouted ? frontend.number() : null;
    const settle = this.#begin(writes);
    const operation: Attempted = {
      key: writes.map(({ key }) => key).join(),
      call: () => ({ kind: "put", command: commandOf({ request, routed: routedOf(numbered, operation) }) }),
      giveUpUs: timeline.nowUs + PATIENCE_US,
      doubtful: false,
      done: () => {
        numbered?.finished();
        settle({ kind: "ok", completedAt: timeline.nowUs });
      },
      gaveUp: (doubtful) => {
        numbered?.finished();
        settle({ kind: doubtful ? "unknown" : "failed" });
      },
    };
    this.#try(operation);
  }

  /**
   * To the history each key has a put of its own, all of them at the same time. Of a key that is written twice in one
   * batch nobody may ever see the first value: that one is not in the history.
   */
  #begin(writes: readonly Write[]): (outcome: PutOutcome) => void {
    const { history, timeline } = this.#parts;
    const lasting = new Map(writes.map(({ key, value }) => [key, value]));
    const settles = Array.from(lasting, ([key, value]) =>
      history.put({ client: `c${this.#id}`, key, invokedAt: timeline.nowUs }, value),
    );
    return (outcome) => {
      for (const settle of settles) settle(outcome);
    };
  }

  get #isRouted(): boolean {
    return this.#kind === "routed" || this.#kind === "reusesName";
  }

  /** One that reuses its pair, as existing clients do, comes through a frontend: that names its calls. */
  #requestId(sequence: number): RequestId | null {
    const clientId = this.#id + 1;
    if (this.#kind === "reusesName") return { clientId, requestId: 1 };
    return this.#kind === "namesRequests" ? { clientId, requestId: sequence } : null;
  }

  #get(key: string): void {
    const { history, timeline } = this.#parts;
    const settle = history.get({ client: `c${this.#id}`, key, invokedAt: timeline.nowUs });
    this.#tell("gets", { key });
    this.#try({
      key,
      call: () => ({ kind: "get", key }),
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
    const call = operation.call();
    const timeoutUs = random.int(ATTEMPT_MIN_US, ATTEMPT_MAX_US);
    let settled = false;
    const settle = (answer: Served | null): void => {
      if (settled) return;
      settled = true;
      this.#answered(operation, call, answer);
    };
    timeline.schedule(timeoutUs, () => settle(null));
    this.#send(call, timeline.nowUs + timeoutUs, settle);
  }

  /** `answer` null: nothing was heard. */
  #answered(operation: Attempted, call: Call, answer: Served | null): void {
    const { timeline, random, servers } = this.#parts;
    if (answer?.kind === "done") {
      this.#tell("is served", { key: operation.key, read: answer.read });
      operation.done(answer.read);
      this.#free();
      return;
    }
    if (answer === null || answer.kind !== "refused") operation.doubtful = true;
    const givesUp = this.#kind === "nameless" && operation.doubtful;
    if (call.kind === "put" && (givesUp || answer?.kind === "expired")) {
      this.#giveUp(operation);
      return;
    }
    const hint = answer?.kind === "refused" ? answer.leaderId : null;
    this.#leader = hint !== null && hint < servers.length ? hint : random.int(0, servers.length - 1);
    timeline.schedule(random.int(1, PAUSE_MAX_US), () => this.#try(operation));
  }

  /**
   * There and back. Where servers forget sessions soon, none begins with a call whose deadline has passed (C6), as it
   * may be sent again by then; where they do not, calls are known however late they are.
   */
  #send(call: Call, deadlineUs: number, settle: (answer: Served) => void): void {
    const { network, servers, safety, timeline, random, swarm, onFailure } = this.#parts;
    const forgets = swarm.memory.window < LARGE_WINDOW || swarm.memory.sessions < MANY_SESSIONS;
    const anybody = call.kind === "get" && !random.chance(READS_FROM_LEADER);
    const server = servers[anybody ? random.int(0, servers.length - 1) : this.#leader];
    network.carryForClient(() => {
      const node = server?.node ?? null;
      if (server === undefined || node === null) {
        network.carryForClient(() => settle(REFUSED));
        return;
      }
      server.process.input(0, () => {
        if (forgets && timeline.nowUs >= deadlineUs) return;
        serve(server, node, call, safety)
          .then((answer) => network.carryForClient(() => settle(answer)))
          .catch(onFailure);
      });
    });
  }

  #giveUp(operation: Attempted): void {
    this.#tell("gives up", { key: operation.key, doubtful: operation.doubtful });
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

function routedOf(numbered: NumberedCall | null, { doubtful }: Attempted): Names["routed"] {
  return numbered?.routed(doubtful) ?? null;
}
