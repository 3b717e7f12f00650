/**
 * The cluster under test: servers started by hand, each with a directory of files and a link of its own to every
 * other one, and a frontend that is pointed at them. Real processes of the compiled executable.
 *
 *   clients -> frontend -> servers          straight
 *   server i -> proxy i to j -> server j    what the faults are about
 */
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatPeers } from "../../src/config/peers.ts";
import type { ServerId } from "../../src/raft/entry.ts";
import { RpcClient } from "../../src/rpc/rpc-client.ts";
import type { ServerStatus, WireMember } from "../../src/rpc/wire.ts";
import { serverFiles } from "../../src/storage/server-files.ts";
import { ChaosNetwork } from "./chaos-network.ts";
import { ChaosProcess } from "./chaos-process.ts";
import { hasConnectedMajority } from "./connected-majority.ts";
import { EXECUTABLE } from "./deployment.ts";
import type { Moment } from "./failover-gaps.ts";
import { freePorts } from "./free-ports.ts";
import { FREQUENT_SNAPSHOTS } from "./kill-all.ts";
import { processesIn, openPorts } from "./leftovers.ts";
import type { Treatment } from "./link-proxy.ts";
import { waitFor } from "./waiting.ts";

const START_DEADLINE_MS = 60_000;
const END_DEADLINE_MS = 60_000;
const LOOK_TIMEOUT_MS = 400;

/** What the servers say at one moment. */
export interface View {
  /** Of those that answered. */
  readonly statuses: ReadonlyMap<ServerId, ServerStatus>;
  /** Of the highest term that anybody knows; null: nobody says that it leads in that. */
  readonly leader: ServerStatus | null;
}

interface Slot {
  process: ChaosProcess | null;
  /** It has answered since it was started. */
  serves: boolean;
}

export class ChaosCluster {
  readonly directory: string;
  readonly network: ChaosNetwork;
  /** Of servers that may run, members or not. */
  readonly ids: readonly ServerId[];
  readonly frontendAddress: string;
  /** Processes that ended by themselves, one line each. */
  readonly deaths: string[] = [];
  /** From when on there was a connected majority, and from when on there was none. */
  readonly connectivity: Moment[] = [];
  readonly #founders: readonly ServerId[];
  readonly #basePort: number;
  readonly #slots = new Map<ServerId, Slot>();
  readonly #clients = new Map<ServerId, RpcClient<"KeyValueStore">>();
  readonly #frontendClient: RpcClient<"FrontEnd">;
  #frontend: ChaosProcess | null = null;
  #members: readonly WireMember[];

  private constructor(directory: string, firstPort: number, founders: number, network: ChaosNetwork) {
    this.directory = directory;
    this.network = network;
    this.frontendAddress = `127.0.0.1:${firstPort}`;
    this.#basePort = firstPort + 1;
    this.ids = Array.from({ length: founders + 1 }, (_, id) => id);
    this.#founders = this.ids.slice(0, founders);
    this.#members = this.#founders.map((id) => ({ id, address: this.address(id), voter: true }));
    this.#frontendClient = new RpcClient("FrontEnd", this.frontendAddress);
    for (const id of this.ids) this.#slots.set(id, { process: null, serves: false });
  }

  /** Of so many servers and a spare one; nothing runs yet. */
  static async create(founders: number): Promise<ChaosCluster> {
    const directory = await mkdtemp(join(tmpdir(), "raftkv-chaos-"));
    const port = await freePorts(founders + 2);
    const config = [
      "[Global]",
      "base_address = 127.0.0.1",
      "[Servers]",
      `base_port = ${port + 1}`,
      "base_source_port = 7001",
      "max_workers = 10",
      "persistent_state_path = raft_state",
      "active = 0",
      "[FrontEnd]",
      `port = ${port}`,
      FREQUENT_SNAPSHOTS,
    ];
    await Bun.write(join(directory, "config.ini"), config.join("\n"));
    const ids = Array.from({ length: founders + 1 }, (_, id) => id);
    const network = await ChaosNetwork.between(ids, (id) => port + 1 + id);
    return new ChaosCluster(directory, port, founders, network);
  }

  /** As the latest leader that was seen told. */
  get members(): readonly WireMember[] {
    return this.#members;
  }

  get voters(): readonly ServerId[] {
    return this.#members.filter(({ voter }) => voter).map(({ id }) => id);
  }

  address(id: ServerId): string {
    return `127.0.0.1:${this.#basePort + id}`;
  }

  client(id: ServerId): RpcClient<"KeyValueStore"> {
    const known = this.#clients.get(id) ?? new RpcClient("KeyValueStore", this.address(id));
    this.#clients.set(id, known);
    return known;
  }

  /** Starts what founds the cluster, and the frontend. */
  async start(): Promise<void> {
    await Promise.all(this.#founders.map((id) => this.startServer(id)));
    await this.startFrontend();
  }

  /** "absent": it does not run. */
  state(id: ServerId): "running" | "stopped" | "absent" {
    const state = this.#slots.get(id)?.process?.state ?? "ended";
    return state === "ended" ? "absent" : state;
  }

  /** Starts a server with the files it has, or makes them, and waits until it answers. False: it did not come up. */
  async startServer(id: ServerId): Promise<boolean> {
    const slot = this.#slot(id);
    if (slot.process !== null) return true;
    const isNew = !this.hasFiles(id);
    const isFounder = isNew && this.#founders.includes(id) && this.connectivity.length === 0;
    const command = [
      EXECUTABLE,
      ...this.#serverArguments(id, isFounder ? "found" : isNew ? "join" : "go on"),
    ];
    const process = new ChaosProcess(
      `raftserver${id + 1}`,
      command,
      this.directory,
      join(this.directory, `server_${id}.log`),
      (dead) => {
        slot.process = null;
        slot.serves = false;
        this.#changed();
        // Nobody may lead whom it could ask about its cluster.
        if (!isNew || this.hasFiles(id)) this.deaths.push(dead.lastWords());
      },
    );
    slot.process = process;
    const answers = async (): Promise<boolean> =>
      process.state === "ended" || (await this.client(id).call("ping", {}, 500)).success;
    await waitFor(`server ${id} answers`, answers, START_DEADLINE_MS);
    slot.serves = slot.process === process;
    this.#changed();
    return slot.serves;
  }

  async endServer(id: ServerId, signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    const slot = this.#slot(id);
    const { process } = slot;
    slot.serves = false;
    if (process === null) return;
    const ended = process.end(signal, END_DEADLINE_MS);
    this.#changed();
    await ended;
    slot.process = null;
  }

  stop(id: ServerId): void {
    this.#slot(id).process?.stop();
    this.#changed();
  }

  resume(id: ServerId): void {
    this.#slot(id).process?.resume();
    this.#changed();
  }

  hasFiles(id: ServerId): boolean {
    return existsSync(this.#files(id).stateFile);
  }

  /** Of a server that does not run and belongs to nothing any more. */
  async erase(id: ServerId): Promise<void> {
    const { stateFile, directory } = this.#files(id);
    await rm(stateFile, { force: true });
    await rm(directory, { recursive: true, force: true });
  }

  async startFrontend(): Promise<void> {
    if (this.#frontend !== null) return;
    const process = new ChaosProcess(
      "raftkv",
      [EXECUTABLE, "--mode", "frontend", "--servers", this.#peers(this.#founders)],
      this.directory,
      join(this.directory, "frontend.log"),
      (dead) => {
        this.#frontend = null;
        this.deaths.push(dead.lastWords());
      },
    );
    this.#frontend = process;
    const answers = async (): Promise<boolean> => {
      if (process.state === "ended") return true;
      await this.#frontendClient.call("Status", {}, 1000);
      return true;
    };
    await waitFor("the frontend answers", answers, START_DEADLINE_MS);
  }

  async endFrontend(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    const frontend = this.#frontend;
    await frontend?.end(signal, END_DEADLINE_MS);
    this.#frontend = null;
  }

  treat(from: ServerId, to: ServerId, treatment: Treatment): void {
    this.network.treat(from, to, treatment);
    this.#changed();
  }

  /** Everything runs and reaches everything; the members are started that do not run. */
  async heal(): Promise<void> {
    this.network.heal();
    for (const id of this.ids) this.resume(id);
    await Promise.all([this.startFrontend(), ...this.#members.map(({ id }) => this.startServer(id))]);
    this.#changed();
  }

  async look(): Promise<View> {
    const ids = this.ids.filter((id) => this.state(id) === "running");
    const answers = await Promise.all(
      ids.map((id) =>
        this.client(id)
          .call("Status", {}, LOOK_TIMEOUT_MS)
          .catch(() => null),
      ),
    );
    const known = answers.filter((status) => status !== null);
    const term = Math.max(0, ...known.map((status) => status.term));
    const leader = known.find((status) => status.role === "leader" && status.term === term) ?? null;
    if (leader !== null && leader.members.length > 0) {
      this.#members = leader.members;
      this.#changed();
    }
    return { statuses: new Map(known.map((status) => [status.id, status])), leader };
  }

  /** Ends every process as its operator would. */
  async shutDown(): Promise<void> {
    await this.endFrontend("SIGTERM");
    await Promise.all(this.ids.map((id) => this.endServer(id, "SIGTERM")));
  }

  /** What is left that should be gone: "process 123 (raftserver1)", "port 12001", one each. */
  async leftovers(): Promise<readonly string[]> {
    const processes = processesIn(this.directory).map(({ pid, name }) => `process ${pid} (${name})`);
    const own = [...this.ids.map((id) => this.#basePort + id), this.#basePort - 1, ...this.network.ports];
    await this.network.close();
    return [...processes, ...(await openPorts(own)).map((port) => `port ${port}`)];
  }

  /** Whatever happened: nothing runs afterwards. */
  async close(removesFiles: boolean): Promise<void> {
    for (const { pid } of processesIn(this.directory)) process.kill(pid, "SIGKILL");
    await waitFor("every process is gone", () => processesIn(this.directory).length === 0);
    for (const client of this.#clients.values()) client.close();
    this.#frontendClient.close();
    await this.network.close();
    if (removesFiles) await rm(this.directory, { recursive: true, force: true });
  }

  #serverArguments(id: ServerId, how: "found" | "join" | "go on"): readonly string[] {
    const identity = ["--mode", "server", "--id", String(id), "--state-dir", this.#stateDirectory];
    const places = ["--listen", this.address(id), "--via", this.network.via(id)];
    switch (how) {
      case "found": {
        const count = String(this.#founders.length);
        return [...identity, "--bootstrap", count, "--peers", this.#peers(this.#founders), ...places];
      }
      case "join": {
        const contacts = this.#members.filter((member) => member.id !== id).map(({ address }) => address);
        return [...identity, "--join", contacts.join(","), ...places];
      }
      case "go on":
        return [...identity, ...places];
    }
  }

  get #stateDirectory(): string {
    return join(this.directory, "raft_state");
  }

  #files(id: ServerId): ReturnType<typeof serverFiles> {
    return serverFiles(this.#stateDirectory, id);
  }

  #peers(ids: readonly ServerId[]): string {
    return formatPeers(ids.map((id) => ({ id, address: this.address(id) })));
  }

  #slot(id: ServerId): Slot {
    const slot = this.#slots.get(id);
    if (slot === undefined) throw new RangeError(`there is no server ${id}`);
    return slot;
  }

  #changed(): void {
    const isUp = (id: ServerId): boolean => this.#slot(id).serves && this.state(id) === "running";
    const isConnected = hasConnectedMajority(this.voters, isUp, (from, to) => this.network.isClear(from, to));
    if (this.connectivity.at(-1)?.isConnected === isConnected) return;
    this.connectivity.push({ atMs: performance.now(), isConnected });
  }
}
