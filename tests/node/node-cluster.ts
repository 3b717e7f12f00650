import type { Command } from "../../src/kv/command.ts";
import { KvStateMachine } from "../../src/kv/state-machine.ts";
import { DiskRoom } from "../../src/node/disk-room.ts";
import type { NodeEvent } from "../../src/node/node-event.ts";
import type { NodeLimits, SnapshotOptions } from "../../src/node/node-parts.ts";
import { Node } from "../../src/node/node.ts";
import type { PeerReply, PeerRequest } from "../../src/node/peer-message.ts";
import type { Transport } from "../../src/node/transport.ts";
import { initialConfiguration, type Configuration } from "../../src/raft/configuration.ts";
import type { ServerId } from "../../src/raft/entry.ts";
import { FakeStore } from "./fake-store.ts";
import { VirtualClock } from "./virtual-clock.ts";

const LATENCY_MS = 1;

const LIMITS: NodeLimits = {
  maxPendingProposals: 200,
  maxPendingBytes: 1_000_000,
  maxPendingReads: 200,
  maxPendingRpcs: 50,
};

/** Small numbers, so that a few hundred puts make several snapshots of several chunks each. */
const SNAPSHOTS: SnapshotOptions = {
  entries: 1_000_000,
  bytes: 1_000_000_000,
  keepEntries: 10,
  transferBytesPerSecond: 10_000_000,
  chunkBytes: 500,
};

/** Real nodes on a virtual clock, fake disks and a network in memory whose links can be cut. */
export class NodeCluster {
  readonly clock = new VirtualClock();
  readonly nodes = new Map<ServerId, Node>();
  readonly stores = new Map<ServerId, FakeStore>();
  readonly events: { readonly id: ServerId; readonly event: NodeEvent }[] = [];
  readonly failures: unknown[] = [];
  /** What happens to a request on its way: another one arrives, or none (null). */
  onTheWay: (from: ServerId, to: ServerId, request: PeerRequest) => PeerRequest | null = (
    _from,
    _to,
    request,
  ) => request;
  /** How long a reply to `from` takes. */
  replyLatencyMs: (from: ServerId, to: ServerId, request: PeerRequest) => number = () => LATENCY_MS;
  readonly #isolated = new Set<ServerId>();
  readonly #lives = new Map<ServerId, { over: boolean }>();
  /** What each server was created with. */
  readonly #created = new Map<ServerId, Configuration>();
  readonly #snapshots: SnapshotOptions;

  constructor(size: number, snapshots: Partial<SnapshotOptions> = {}) {
    this.#snapshots = { ...SNAPSHOTS, ...snapshots };
    const ids = Array.from({ length: size }, (_, id) => id);
    for (const id of ids) this.#create(id, initialConfiguration(ids));
  }

  /** Starts a new server that waits to be added to the cluster. */
  join(id: ServerId): Node {
    return this.#create(id, []);
  }

  /** Starts the server with what its disk holds. */
  start(id: ServerId): Node {
    const store = this.store(id);
    const life = { over: false };
    this.#lives.set(id, life);
    const diskRoom = new DiskRoom(this.clock);
    store.diskRoom = diskRoom;
    const node = new Node({
      raftOptions: {
        id,
        electionTimeoutMinTicks: 15,
        electionTimeoutMaxTicks: 30,
        heartbeatTicks: 5,
        maxBatchEntries: 100,
        maxBatchBytes: 1_000_000,
        maxInflight: 4,
        maxCommittedPerBatch: 50,
        // Server 0 is always first, so tests know who leads.
        randomInt: (min, max) => Math.min(max, min + id * 5),
      },
      tickMs: 10,
      limits: LIMITS,
      snapshots: this.#snapshots,
      clock: this.clock,
      transport: this.#transportOf(id, life),
      store,
      diskRoom,
      recovered: store.recovered(id, this.#created.get(id) ?? []),
      machine: new KvStateMachine(),
      onEvent: (event) => !life.over && this.events.push({ id, event }),
      onFailure: (error) => !life.over && this.failures.push(error),
    });
    this.nodes.set(id, node);
    node.start();
    return node;
  }

  /** Stops the server and starts it with what its disk holds; what it had not saved is gone. */
  async restart(id: ServerId): Promise<Node> {
    await this.finish(this.node(id).stop());
    return this.start(id);
  }

  /** SIGKILL, and a start: the old process does nothing any more, and only what was durable is there. */
  killAndStart(id: ServerId): Node {
    const life = this.#lives.get(id);
    if (life !== undefined) life.over = true;
    this.stores.set(id, this.store(id).copy());
    return this.start(id);
  }

  /** How often server `id`, or any, has told of it. */
  count(kind: NodeEvent["kind"], id: ServerId | null = null): number {
    return this.events.filter((told) => told.event.kind === kind && (id === null || told.id === id)).length;
  }

  /** Lets time pass until `condition` holds; fails when it does not within `deadlineMs` of virtual time. */
  async until(condition: () => boolean, deadlineMs = 10_000): Promise<void> {
    const untilMs = this.clock.nowMs() + deadlineMs;
    while (!condition()) {
      if (this.clock.nowMs() >= untilMs) throw new Error(`not within ${deadlineMs} ms: ${condition}`);
      await this.clock.advance(1);
    }
  }

  /** Lets time pass until `promise` is settled, and gives what came of it. */
  async finish<T>(promise: Promise<T>, deadlineMs = 10_000): Promise<T> {
    let pending = true;
    const end = (): void => void (pending = false);
    promise.then(end, end);
    await this.until(() => !pending, deadlineMs);
    return promise;
  }

  /** Whether the server leads and has applied its no-op. */
  isReady(id: ServerId): boolean {
    const { noopIndex } = this.node(id).status();
    return noopIndex !== null && this.node(id).appliedIndex >= noopIndex;
  }

  node(id: ServerId): Node {
    const node = this.nodes.get(id);
    if (node === undefined) throw new TypeError(`no server ${id}`);
    return node;
  }

  store(id: ServerId): FakeStore {
    const store = this.stores.get(id);
    if (store === undefined) throw new TypeError(`no server ${id}`);
    return store;
  }

  /** Sees every request of `kind` that reaches its receiver. */
  watch<K extends PeerRequest["kind"]>(kind: K): Extract<PeerRequest, { readonly kind: K }>[] {
    const seen: Extract<PeerRequest, { readonly kind: K }>[] = [];
    const before = this.onTheWay;
    this.onTheWay = (from, to, request) => {
      const arrives = before(from, to, request);
      if (arrives !== null && isOf(kind, arrives)) seen.push(arrives);
      return arrives;
    };
    return seen;
  }

  isolate(id: ServerId): void {
    this.#isolated.add(id);
  }

  heal(): void {
    this.#isolated.clear();
  }

  #create(id: ServerId, members: Configuration): Node {
    this.stores.set(id, new FakeStore(this.clock));
    this.#created.set(id, members);
    return this.start(id);
  }

  #transportOf(from: ServerId, life: { readonly over: boolean }): Transport {
    const reaches = (to: ServerId): boolean => !this.#isolated.has(from) && !this.#isolated.has(to);
    let peers: Configuration = [];
    return {
      setPeers: (latest) => {
        peers = latest;
      },
      send: (to, request, settle) => {
        if (life.over) return;
        if (!peers.some(({ id }) => id === to)) {
          settle(null);
          return;
        }
        let settled = false;
        const once = (reply: PeerReply | null): void => {
          if (!settled) settle(reply);
          settled = true;
        };
        this.clock.setTimer(200, () => once(null));
        this.clock.setTimer(LATENCY_MS, () => {
          const arrives = reaches(to) ? this.onTheWay(from, to, request) : null;
          if (arrives === null) return;
          const receiver = this.#lives.get(to);
          const answer = (reply: PeerReply | null): void => {
            this.clock.setTimer(this.replyLatencyMs(from, to, arrives), () => {
              if (reaches(to) && receiver?.over === false) once(reply);
            });
          };
          this.nodes
            .get(to)
            ?.handleRequest(arrives)
            .then(answer, () => answer(null));
        });
      },
      close: () => {},
    };
  }
}

function isOf<K extends PeerRequest["kind"]>(
  kind: K,
  request: PeerRequest,
): request is Extract<PeerRequest, { readonly kind: K }> {
  return request.kind === kind;
}

/** A cluster of so many servers that server 0 leads, and all of them know it. */
export async function ledByServer0(
  size: number,
  snapshots: Partial<SnapshotOptions> = {},
): Promise<NodeCluster> {
  const cluster = new NodeCluster(size, snapshots);
  await cluster.until(() => cluster.isReady(0));
  await cluster.until(() => [...cluster.nodes.values()].every((node) => node.status().leaderId === 0));
  return cluster;
}

export function put(key: string, value: string): Command {
  return { kind: "put", key, value, request: null, routed: null };
}

/** Puts `count` keys, `first` on, with values of `valueLength`, as fast as they are taken. */
export async function fill(
  cluster: NodeCluster,
  leader: ServerId,
  count: number,
  { first = 0, valueLength = 20 } = {},
): Promise<void> {
  for (let at = 0; at < count; at += 100) {
    const keys = Array.from({ length: Math.min(100, count - at) }, (_, i) => `k${first + at + i}`);
    const outcomes = keys.map((key) => cluster.node(leader).put(put(key, key.padEnd(valueLength, "."))));
    let pending = outcomes.length;
    for (const outcome of outcomes) void outcome.then(() => (pending -= 1));
    await cluster.until(() => pending === 0);
    const kinds = new Set((await Promise.all(outcomes)).map(({ kind }) => kind));
    if (kinds.size !== 1 || !kinds.has("done")) throw new Error(`puts ended: ${[...kinds].join(", ")}`);
  }
}
