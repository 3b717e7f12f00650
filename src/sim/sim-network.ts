import type { PeerReply, PeerRequest } from "../node/peer-message.ts";
import type { Transport } from "../node/transport.ts";
import { memberOf, type Configuration, type Member } from "../raft/configuration.ts";
import type { ServerId } from "../raft/entry.ts";
import type { FaultCounter } from "./fault-counter.ts";
import type { Random } from "./random.ts";
import type { SimProcess } from "./sim-process.ts";
import type { NetworkFaults } from "./swarm.ts";
import type { Timeline } from "./timeline.ts";
import { require } from "./violation.ts";

/** As in the real transport, but for chunks: a connection sends once more what was lost, here nothing does. */
const REQUEST_VOTE_TIMEOUT_MS = 300;
const APPEND_ENTRIES_TIMEOUT_MS = 1000;
const TIMEOUT_NOW_TIMEOUT_MS = 300;
const READ_INDEX_TIMEOUT_MS = 1000;
const CHUNK_TIMEOUT_MS = 500;
/** The receiver reads, checks and installs the whole snapshot before it answers. */
const LAST_CHUNK_TIMEOUT_MS = 2000;

/** Who answers at an address. */
export interface Endpoint {
  readonly process: SimProcess;
  handle(request: PeerRequest, reply: (reply: PeerReply | null) => void): void;
}

export interface NetworkParts {
  readonly timeline: Timeline;
  readonly random: Random;
  readonly faults: FaultCounter;
  /** Who serves as this server now; null when nobody does. */
  readonly endpoint: (id: ServerId) => Endpoint | null;
  readonly onMessage: (from: ServerId, to: ServerId, message: PeerRequest | PeerReply, fate: string) => void;
  /** `from` heard from `to`. */
  readonly onReply: (from: ServerId, to: ServerId, reply: PeerReply) => void;
}

/** Loses, doubles, delays and reorders what servers and clients send each other; links can be cut. */
export class SimNetwork {
  readonly #parts: NetworkParts;
  /** Directed: "from>to". */
  #cuts = new Set<string>();
  trouble: NetworkFaults;

  constructor(parts: NetworkParts, trouble: NetworkFaults) {
    this.#parts = parts;
    this.trouble = trouble;
  }

  /** From now on nothing of `from` reaches `to`. */
  cut(from: ServerId, to: ServerId): void {
    this.#cuts.add(`${from}>${to}`);
  }

  heal(): void {
    this.#cuts = new Set();
  }

  reaches(from: ServerId, to: ServerId): boolean {
    return !this.#cuts.has(`${from}>${to}`);
  }

  /**
   * What a server's node sends through; it ends with its process. `maxInflight` is a leadership's window
   * to one follower: of AppendEntries with entries one more may be under way, a probe (I4). Of snapshot
   * chunks there is one, whatever the term.
   */
  transport(from: ServerId, process: SimProcess, maxInflight: number): Transport {
    const inflight = new Map<string, number>();
    let peers: Configuration = [];
    /** How often each has come and gone: what was under way before does not count against it. */
    const comings = new Map<ServerId, number>();
    return {
      send: (to, request, settle) => {
        const peer = memberOf(peers, to);
        if (peer === null || !isAddressOf(peer)) {
          process.input(0, () => settle(null));
          return;
        }
        const { window, cost, most } = windowOf(`${to}/${comings.get(to) ?? 0}`, request, maxInflight);
        const count = (inflight.get(window) ?? 0) + cost;
        require("Bounded queues", count <= most, () => {
          return `server ${from} has ${count} ${request.kind} under way: ${window}`;
        });
        inflight.set(window, count);
        this.#call(from, process, to, request, (reply) => {
          inflight.set(window, (inflight.get(window) ?? 0) - cost);
          settle(reply);
        });
      },
      setPeers: (configuration) => {
        for (const { id } of peers) {
          if (memberOf(configuration, id) === null) comings.set(id, (comings.get(id) ?? 0) + 1);
        }
        peers = configuration;
      },
      close: () => {},
    };
  }

  #call(
    from: ServerId,
    process: SimProcess,
    to: ServerId,
    request: PeerRequest,
    settle: (reply: PeerReply | null) => void,
  ): void {
    let settled = false;
    const once = (reply: PeerReply | null): void => {
      if (settled) return;
      settled = true;
      if (reply !== null) this.#parts.onReply(from, to, reply);
      settle(reply);
    };
    process.setTimer(timeoutMs(request), () => once(null));
    this.carry(from, to, request, () => {
      const endpoint = this.#parts.endpoint(to);
      if (endpoint === null) {
        // The machine is there and refuses the connection.
        this.carry(to, from, null, () => process.input(0, () => once(null)));
        return;
      }
      endpoint.process.input(0, () =>
        endpoint.handle(request, (reply) =>
          this.carry(to, from, reply, () => process.input(0, () => once(reply))),
        ),
      );
    });
  }

  /** Takes a message across a link, as the link is: `arrive` is called never, once or twice, later. */
  carry(from: ServerId, to: ServerId, message: PeerRequest | PeerReply | null, arrive: () => void): void {
    const { random, faults, timeline } = this.#parts;
    const lost = random.chance(this.trouble.loss);
    if (lost) {
      faults.count("messageLost");
      this.#tell(from, to, message, "is lost");
      return;
    }
    const twice = random.chance(this.trouble.duplication);
    if (twice) faults.count("messageDuplicated");
    for (let copy = 0; copy < (twice ? 2 : 1); copy += 1) {
      timeline.schedule(this.#latencyUs(), () => {
        const reaches = this.reaches(from, to);
        this.#tell(from, to, message, reaches ? "arrives" : "is cut off");
        if (reaches) arrive();
      });
    }
  }

  /** Between a client and a server: links that are never cut. */
  carryForClient(arrive: () => void): void {
    if (this.#parts.random.chance(this.trouble.loss)) return;
    this.#parts.timeline.schedule(this.#latencyUs(), arrive);
  }

  #latencyUs(): number {
    const { random, faults } = this.#parts;
    const { latencyMinUs, latencyMaxUs, delay, delayMaxUs } = this.trouble;
    if (random.chance(delay)) {
      faults.count("messageDelayed");
      return random.int(latencyMaxUs, latencyMaxUs + delayMaxUs);
    }
    return random.skewed(latencyMinUs, latencyMaxUs);
  }

  #tell(from: ServerId, to: ServerId, message: PeerRequest | PeerReply | null, fate: string): void {
    if (message !== null) this.#parts.onMessage(from, to, message, fate);
  }
}

/** Where a server that is added later is reached; the first ones are where the configuration file says. */
export function spareAddress(id: ServerId): string {
  return `spare-${id}:9001`;
}

/** Whether whoever sends there reaches that server. */
function isAddressOf({ id, address }: Member): boolean {
  return address === "" || address === spareAddress(id);
}

/** What a request counts against, by how much, and the most that may be under way. */
function windowOf(
  to: string,
  request: PeerRequest,
  maxInflight: number,
): { readonly window: string; readonly cost: number; readonly most: number } {
  switch (request.kind) {
    case "snapshotChunk":
      return { window: `chunk to ${to}`, cost: 1, most: 1 };
    case "appendEntries": {
      const cost = request.entries.length > 0 ? 1 : 0;
      return { window: `${to} in term ${request.term}`, cost, most: maxInflight + 1 };
    }
    case "requestVote":
    case "timeoutNow":
    case "readIndex":
      return { window: "unbounded", cost: 0, most: 0 };
  }
}

function timeoutMs(request: PeerRequest): number {
  switch (request.kind) {
    case "timeoutNow":
      return TIMEOUT_NOW_TIMEOUT_MS;
    case "readIndex":
      return READ_INDEX_TIMEOUT_MS;
    case "requestVote":
      return REQUEST_VOTE_TIMEOUT_MS;
    case "appendEntries":
      return APPEND_ENTRIES_TIMEOUT_MS;
    case "snapshotChunk": {
      const { offset, data, info } = request;
      return offset + data.length === info.totalBytes ? LAST_CHUNK_TIMEOUT_MS : CHUNK_TIMEOUT_MS;
    }
  }
}
