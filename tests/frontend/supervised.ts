import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ClusterState } from "../../src/frontend/cluster.ts";
import { CurrentCluster } from "../../src/frontend/current-cluster.ts";
import { FrontendLock } from "../../src/frontend/frontend-lock.ts";
import { Membership } from "../../src/frontend/membership.ts";
import { ProcessTable } from "../../src/frontend/process-table.ts";
import { Supervisor, type SupervisorTimings } from "../../src/frontend/supervisor.ts";
import { createLogger } from "../../src/observability/logger.ts";
import { OsFileSystem } from "../../src/storage/os-file-system.ts";
import { freePorts } from "../cluster/free-ports.ts";
import type { FakePlan } from "./fake-server.ts";

/** What starts a fake server. */
export const FAKE_COMMAND = [process.execPath, join(import.meta.dir, "fake-server.ts")] as const;

/** A state directory with room for fake servers, and what a frontend would hold on to. Nothing outlives it. */
export class Supervised implements AsyncDisposable {
  readonly root: string;
  readonly stateDirectory: string;
  readonly basePort: number;
  readonly processes: ProcessTable;
  /** What the supervisors told, in order. */
  readonly states: ClusterState[] = [];
  readonly clusters: CurrentCluster;
  readonly membership: Membership;
  #lock: FrontendLock | null = null;
  #supervisor: Supervisor | null = null;

  private constructor(root: string, basePort: number) {
    this.root = root;
    this.stateDirectory = join(root, "raft_state");
    this.basePort = basePort;
    this.processes = new ProcessTable(this.stateDirectory);
    this.clusters = new CurrentCluster({ onFollow: (cluster) => this.#supervisor?.follow(cluster) });
    this.membership = new Membership(this.clusters);
  }

  static async create(): Promise<Supervised> {
    const root = await mkdtemp(join(tmpdir(), "raftkv-supervised-"));
    const supervised = new Supervised(root, await freePorts(4));
    supervised.plan({});
    return supervised;
  }

  /** How servers behave that are started from now on. */
  plan(plan: Omit<FakePlan, "basePort">): void {
    process.env["FAKE_SERVER"] = JSON.stringify({ ...plan, basePort: this.basePort });
  }

  /** One more frontend's supervisor over the same directory. The one before is dead by then: its lock is free. */
  async supervisor(timings: Partial<SupervisorTimings> = {}): Promise<Supervisor> {
    await this.#lock?.release();
    const fs = new OsFileSystem();
    this.#lock = new FrontendLock(fs, this.stateDirectory);
    const supervisor = new Supervisor({
      fs,
      stateDirectory: this.stateDirectory,
      lock: this.#lock,
      addressOf: (id) => `127.0.0.1:${this.basePort + id}`,
      portOf: (id) => this.basePort + id,
      hosts: ["127.0.0.1", "::1"],
      ownPort: 1,
      active: [0, 1, 2],
      command: FAKE_COMMAND,
      logger: createLogger("test"),
      onState: (state) => this.clusters.setState(this.#noted(state)),
      admit: (id, deadline) => this.membership.admit(id, deadline),
      // A busy machine may take long to start a process; a test that waits for a time to pass sets its own.
      timings: { startRaftMs: 40_000, startServerMs: 40_000, joinMs: 40_000, ...timings },
    });
    this.#supervisor = supervisor;
    return supervisor;
  }

  #noted(state: ClusterState): ClusterState {
    this.states.push(state);
    return state;
  }

  /** Lets servers serve that are held. */
  async release(): Promise<void> {
    await writeFile(join(this.stateDirectory, "go"), "");
  }

  /** The pids of the servers that run, by id. */
  async pids(): Promise<ReadonlyMap<number, readonly number[]>> {
    const byId = Map.groupBy(await this.processes.find(), ({ id }) => id);
    return new Map(Array.from(byId, ([id, found]) => [id, found.map(({ pid }) => pid)]));
  }

  /** The pid of the one process of server `id`. */
  async pid(id: number): Promise<number> {
    const [pid, ...more] = (await this.pids()).get(id) ?? [];
    if (pid === undefined || more.length > 0) throw new Error(`server ${id} has not exactly one process`);
    return pid;
  }

  /** Kills server `id`, and waits until nothing is left of it. */
  async kill(id: number): Promise<void> {
    await this.processes.end({ id, pid: await this.pid(id) }, 0);
  }

  async files(): Promise<readonly string[]> {
    return (await readdir(this.stateDirectory)).toSorted();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.clusters.setState({ kind: "none" });
    await this.processes.endAll(0);
    await this.#lock?.release();
    await rm(this.root, { recursive: true, force: true });
  }
}
