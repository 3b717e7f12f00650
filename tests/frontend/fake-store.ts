import { newCluster, type Cluster } from "../../src/frontend/cluster.ts";
import type { Configuration } from "../../src/raft/configuration.ts";
import { RpcServer } from "../../src/rpc/rpc-server.ts";
import type {
  AddMemberArgs,
  GenericResponse,
  KeyValue,
  PutManyArgs,
  ServerStatus,
  StringArg,
  TransferArgs,
} from "../../src/rpc/wire.ts";
import { freePorts } from "../cluster/free-ports.ts";

/** What a stopped process answers. */
export function never(): Promise<never> {
  return new Promise(() => {});
}

/** A KeyValueStore server in this process that behaves as a test tells it to. */
export class FakeStore {
  role = "follower";
  term = 1;
  abstains = false;
  clusterId: string;
  /** None: it says nothing of who belongs to the cluster. */
  members: Configuration = [];
  configurationIndex = 0;
  commitIndex = 0;
  readonly id: number;
  /** Every Put that arrived, in order. */
  readonly puts: KeyValue[] = [];
  /** Every PutMany. */
  readonly batches: PutManyArgs[] = [];
  onStatus: () => Promise<void> = async () => {};
  onPut: (put: KeyValue) => Promise<Partial<GenericResponse>> = async () =>
    this.role === "leader" ? { success: true } : { code: "NOT_LEADER", error: "not the leader" };
  onPutMany: (args: PutManyArgs) => Promise<Partial<GenericResponse>> = async () =>
    this.role === "leader" ? { success: true } : { code: "NOT_LEADER", error: "not the leader" };
  onGet: (get: StringArg) => Promise<Partial<KeyValue>> = async () =>
    this.role === "leader" ? {} : { code: "NOT_LEADER", error: "not the leader" };
  onAdd: (args: AddMemberArgs) => Promise<Partial<GenericResponse>> = never;
  onPromote: (id: number) => Promise<Partial<GenericResponse>> = never;
  onRemove: (id: number) => Promise<Partial<GenericResponse>> = never;
  onTransfer: (args: TransferArgs) => Promise<Partial<GenericResponse>> = never;
  readonly #server = new RpcServer();

  constructor(id: number, clusterId: string) {
    this.id = id;
    this.clusterId = clusterId;
  }

  async listen(port: number): Promise<void> {
    this.#server.add("KeyValueStore", {
      ping: async () => ({ success: true }),
      GetState: never,
      AppendEntries: never,
      RequestVote: never,
      InstallSnapshot: never,
      TakeSnapshot: never,
      ReadSnapshot: never,
      ReadIndex: never,
      TimeoutNow: never,
      AddMember: (args) => this.onAdd(args),
      PromoteMember: ({ arg }) => this.onPromote(arg),
      RemoveMember: ({ arg }) => this.onRemove(arg),
      TransferLeadership: (args) => this.onTransfer(args),
      Status: () => this.#status(),
      Get: (get) => this.onGet(get),
      PutMany: (args) => {
        this.batches.push(args);
        return this.onPutMany(args);
      },
      Put: (put) => {
        this.puts.push(put);
        return this.onPut(put);
      },
    });
    await this.#server.listen(["127.0.0.1"], port);
  }

  /** It is reached there as well. */
  listenAlsoOn(port: number): Promise<void> {
    return this.#server.listen(["127.0.0.1"], port);
  }

  /** From now on it leads, in `term`. */
  lead(term: number): void {
    this.role = "leader";
    this.term = term;
  }

  /** From now on it says that these belong to the cluster, as the entry at `index` does. */
  configure(members: Configuration, index: number): void {
    this.members = members;
    this.configurationIndex = index;
    this.commitIndex = index;
  }

  /** From now on it answers nothing, as a process after SIGSTOP. */
  stall(): void {
    this.onStatus = never;
    this.onPut = never;
    this.onGet = never;
  }

  close(): Promise<void> {
    return this.#server.close();
  }

  async #status(): Promise<Partial<ServerStatus>> {
    await this.onStatus();
    const { id, clusterId, role, term, abstains, configurationIndex, commitIndex } = this;
    const members = [...this.members];
    const said = { id, clusterId, role, term, abstains, members, configurationIndex, commitIndex };
    return { ...said, pid: process.pid, version: "fake" };
  }
}

/** Servers 0 to n-1 of one cluster, all of them followers. */
export class FakeCluster implements AsyncDisposable {
  readonly cluster: Cluster;
  readonly stores: readonly FakeStore[];
  readonly #basePort: number;

  private constructor(cluster: Cluster, stores: readonly FakeStore[], basePort: number) {
    this.cluster = cluster;
    this.stores = stores;
    this.#basePort = basePort;
  }

  static async start(servers: number, clusterId = "fake"): Promise<FakeCluster> {
    const stores = Array.from({ length: servers }, (_, id) => new FakeStore(id, clusterId));
    const basePort = await freePorts(servers);
    await Promise.all(stores.map((store) => store.listen(basePort + store.id)));
    const cluster = newCluster(clusterId, servers, (id) => `127.0.0.1:${basePort + id}`);
    return new FakeCluster(cluster, stores, basePort);
  }

  readonly addressOf = (id: number): string => `127.0.0.1:${this.#basePort + id}`;

  store(id: number): FakeStore {
    const store = this.stores[id];
    if (store === undefined) throw new Error(`no fake server ${id}`);
    return store;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.stores.map((store) => store.close()));
  }
}
