import { RaftKvError } from "../../src/base/errors.ts";
import type { Command } from "../../src/kv/command.ts";
import { KvStateMachine } from "../../src/kv/state-machine.ts";
import { Node } from "../../src/node/node.ts";
import type { Transport } from "../../src/node/transport.ts";
import type { Persist } from "../../src/raft/batch.ts";
import type { Entry, ServerId } from "../../src/raft/entry.ts";
import type { RaftEvent } from "../../src/raft/event.ts";
import { INITIAL_HARD_STATE, type HardState } from "../../src/raft/hard-state.ts";
import type { Store } from "../../src/storage/store.ts";
import { VirtualClock } from "./virtual-clock.ts";

const LATENCY_MS = 1;

/** A disk in memory whose every persist takes as long as the test says. */
export class FakeStore implements Store {
  readonly logBytes = 0;
  readonly persists: Persist<Command>[] = [];
  hardState: HardState = INITIAL_HARD_STATE;
  entries: Entry<Command>[] = [];
  /** null: the disk hangs. */
  delayMs: number | null = 1;
  fails = false;
  readonly #clock: VirtualClock;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  persist(persist: Persist<Command>): Promise<void> {
    this.persists.push(persist);
    const { delayMs } = this;
    return new Promise((resolve, reject) => {
      if (delayMs === null) return;
      this.#clock.setTimer(delayMs, () => {
        if (this.fails) {
          reject(new RaftKvError("io", "fsync failed"));
          return;
        }
        this.#take(persist);
        resolve();
      });
    });
  }

  async close(): Promise<void> {}

  #take({ hardState, writes }: Persist<Command>): void {
    this.hardState = hardState ?? this.hardState;
    for (const write of writes) {
      if (write.kind === "append") this.entries.push(...write.entries);
      else this.entries.length = write.from - 1;
    }
  }
}

/** Real nodes on a virtual clock, fake disks and a network in memory whose links can be cut. */
export class NodeCluster {
  readonly clock = new VirtualClock();
  readonly nodes = new Map<ServerId, Node>();
  readonly stores = new Map<ServerId, FakeStore>();
  readonly events: { readonly id: ServerId; readonly event: RaftEvent }[] = [];
  readonly failures: unknown[] = [];
  readonly #isolated = new Set<ServerId>();
  readonly #ids: readonly ServerId[];

  constructor(size: number) {
    this.#ids = Array.from({ length: size }, (_, id) => id);
    for (const id of this.#ids) {
      this.stores.set(id, new FakeStore(this.clock));
      this.start(id);
    }
  }

  /** Starts the server with what its disk holds. */
  start(id: ServerId): Node {
    const store = this.store(id);
    const node = new Node({
      raftOptions: {
        id,
        voters: this.#ids,
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
      limits: { maxPendingProposals: 200, maxPendingBytes: 1_000_000, maxPendingRpcs: 50 },
      clock: this.clock,
      transport: this.#transportOf(id),
      store,
      recovered: {
        identity: { clusterId: "test", serverId: id, servers: this.#ids },
        hardState: store.hardState,
        entries: [...store.entries],
        repairs: [],
      },
      machine: new KvStateMachine(),
      onEvent: (event) => this.events.push({ id, event }),
      onFailure: (error) => this.failures.push(error),
    });
    this.nodes.set(id, node);
    node.start();
    return node;
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

  isolate(id: ServerId): void {
    this.#isolated.add(id);
  }

  heal(): void {
    this.#isolated.clear();
  }

  #transportOf(from: ServerId): Transport {
    const reaches = (to: ServerId): boolean => !this.#isolated.has(from) && !this.#isolated.has(to);
    return {
      send: (to, request, settle) => {
        let settled = false;
        const once = (reply: Parameters<typeof settle>[0]): void => {
          if (!settled) settle(reply);
          settled = true;
        };
        this.clock.setTimer(200, () => once(null));
        this.clock.setTimer(LATENCY_MS, () => {
          if (!reaches(to)) return;
          this.node(to)
            .handleRequest(request)
            .then(
              (reply) => this.clock.setTimer(LATENCY_MS, () => reaches(to) && once(reply)),
              () => null,
            );
        });
      },
      close: () => {},
    };
  }
}

export function put(key: string, value: string): Command {
  return { kind: "put", key, value, request: null, routed: null };
}
