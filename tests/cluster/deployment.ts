import { closeSync, openSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RpcClient } from "../../src/rpc/rpc-client.ts";
import { decodeText, encodeText } from "../../src/rpc/text.ts";
import type { GenericResponse, ServerStatus, WireReply } from "../../src/rpc/wire.ts";
import { freePorts } from "./free-ports.ts";
import { hasEnded } from "./process-end.ts";
import { ServerProcess, type ServerArguments, type ServerEnd } from "./server-process.ts";
import { waitFor } from "./waiting.ts";

/** The executable under test: what RAFTKV_EXECUTABLE names, or else the one that `make build` makes. */
export const EXECUTABLE = process.env["RAFTKV_EXECUTABLE"] ?? join(import.meta.dir, "../../dist/raftkv");

const MAX_SERVERS = 9;
const CALL_TIMEOUT_MS = 10_000;
const START_TIMEOUT_MS = 20_000;

/**
 * RaftKV as somebody would run it: the compiled executable, real processes, a working directory of its
 * own. `close` ends every process that was started in it, by pid, and removes the directory.
 */
export class Deployment {
  readonly directory: string;
  readonly basePort: number;
  readonly frontendAddress: string;
  readonly frontend: RpcClient<"FrontEnd">;
  readonly #servers = new Map<number, RpcClient<"KeyValueStore">>();
  #process: Bun.Subprocess | null = null;

  private constructor(directory: string, frontendPort: number) {
    this.directory = directory;
    this.basePort = frontendPort + 1;
    this.frontendAddress = `127.0.0.1:${frontendPort}`;
    this.frontend = new RpcClient("FrontEnd", this.frontendAddress);
  }

  /** A directory with a config.ini whose ports are free; `extraConfig` is appended to it. */
  static async create(extraConfig = ""): Promise<Deployment> {
    const directory = await mkdtemp(join(tmpdir(), "raftkv-"));
    const port = await freePorts(MAX_SERVERS + 1);
    const config = [
      "[Global]",
      "base_address = 127.0.0.1",
      "[Servers]",
      `base_port = ${port + 1}`,
      "base_source_port = 7001",
      "max_workers = 10",
      "persistent_state_path = raft_state",
      "active = 0,1,2,3,4",
      "[FrontEnd]",
      `port = ${port}`,
      extraConfig,
    ];
    await Bun.write(join(directory, "config.ini"), config.join("\n"));
    return new Deployment(directory, port);
  }

  get stateDirectory(): string {
    return join(this.directory, "raft_state");
  }

  /** Starts the frontend and waits until it answers. */
  async startFrontend(...args: readonly string[]): Promise<number> {
    const log = openSync(join(this.directory, "frontend.log"), "a");
    this.#process = Bun.spawn([EXECUTABLE, ...args], {
      cwd: this.directory,
      stdin: "ignore",
      stdout: log,
      stderr: log,
    });
    closeSync(log);
    await waitFor("the frontend answers", () => this.frontend.call("Status", {}, 1000));
    return this.#process.pid;
  }

  /** Signals the frontend and waits until it is gone. */
  async stopFrontend(signal: "SIGTERM" | "SIGINT" | "SIGKILL"): Promise<number> {
    this.#process?.kill(signal);
    return (await this.#process?.exited) ?? 0;
  }

  async startRaft(servers: number): Promise<void> {
    const reply = await this.frontend.call("StartRaft", { arg: servers }, START_TIMEOUT_MS);
    if (reply.error !== "") throw new Error(`StartRaft: ${reply.error}`);
  }

  async startServer(id: number): Promise<WireReply> {
    return this.frontend.call("StartServer", { arg: id }, START_TIMEOUT_MS);
  }

  /** Starts server `id` without the frontend, as somebody would by hand; see `serving`. */
  launch(id: number, how: Partial<ServerArguments> = {}): ServerProcess {
    const { stateDirectory = this.stateDirectory, bootstrap = null } = how;
    return new ServerProcess(EXECUTABLE, this.directory, { id, stateDirectory, bootstrap });
  }

  /** Waits until the server serves, and then gives null; or until it has ended, and then tells how. */
  async serving(server: ServerProcess): Promise<ServerEnd | null> {
    let end: ServerEnd | null = null;
    void server.ended.then((how) => (end = how));
    await waitFor(`server ${server.id} serves or ends`, async () => {
      return end !== null || (await this.server(server.id).call("ping", {}, 1000)).success;
    });
    return end;
  }

  server(id: number): RpcClient<"KeyValueStore"> {
    const known = this.#servers.get(id) ?? new RpcClient("KeyValueStore", `127.0.0.1:${this.basePort + id}`);
    this.#servers.set(id, known);
    return known;
  }

  /** Through the frontend; throws when the reply has an error. */
  async put(key: string, value: string, timeoutMs = CALL_TIMEOUT_MS): Promise<void> {
    const request = { key: encodeText(key), value: encodeText(value) };
    const reply = await this.frontend.call("Put", request, timeoutMs);
    if (reply.error !== "") throw new Error(`Put: ${reply.error}`);
  }

  async get(key: string, timeoutMs = CALL_TIMEOUT_MS): Promise<string | null> {
    const reply = await this.frontend.call("Get", { key: encodeText(key) }, timeoutMs);
    if (reply.error !== "") throw new Error(`Get: ${reply.error}`);
    return reply.found ? decodeText(reply.value) : null;
  }

  putOn(id: number, key: string, value: string): Promise<GenericResponse> {
    return this.server(id).call("Put", { key: encodeText(key), value: encodeText(value) }, CALL_TIMEOUT_MS);
  }

  /** One server's applied value; null when it has none. */
  async getOn(id: number, key: string): Promise<string | null> {
    const reply = await this.server(id).call("Get", { arg: encodeText(key) }, CALL_TIMEOUT_MS);
    return reply.found ? decodeText(reply.value) : null;
  }

  status(id: number): Promise<ServerStatus> {
    return this.server(id).call("Status", {}, 1000);
  }

  /** The one leader of the highest term that any of the first `servers` servers knows. */
  leader(servers: number): Promise<ServerStatus> {
    return waitFor("one leader", async () => {
      const ids = Array.from({ length: servers }, (_, id) => id);
      const answers = await Promise.allSettled(ids.map((id) => this.status(id)));
      const all = answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []));
      const term = Math.max(...all.map((status) => status.term));
      const leaders = all.filter((status) => status.role === "leader" && status.term === term);
      return leaders.length === 1 ? leaders[0] : null;
    });
  }

  /** Pids of the processes that serve as server `id` of this deployment. */
  pids(id: number): readonly number[] {
    return this.#processes()
      .filter(({ argv }) => argv[0] === `raftserver${id + 1}`)
      .map(({ pid }) => pid);
  }

  /** Signals server `id`; after SIGKILL and SIGTERM waits until it is gone. */
  async signal(id: number, signal: "SIGKILL" | "SIGTERM" | "SIGSTOP" | "SIGCONT"): Promise<void> {
    const pids = this.pids(id);
    for (const pid of pids) process.kill(pid, signal);
    if (signal === "SIGKILL" || signal === "SIGTERM") {
      await waitFor(`server ${id} is gone`, () => pids.every(hasEnded));
    }
  }

  /** Kills the servers, all at once, and waits until they are gone. */
  async kill(ids: readonly number[]): Promise<void> {
    const pids = ids.flatMap((id) => this.pids(id));
    for (const pid of pids) process.kill(pid, "SIGKILL");
    await waitFor(`servers ${ids.join(", ")} are gone`, () => pids.every(hasEnded));
  }

  /** `beforeRemoval` is called when every process has ended, and the directory is still there. */
  async close(beforeRemoval: () => void = () => {}): Promise<void> {
    await this.stopFrontend("SIGKILL");
    const pids = this.#processes().map(({ pid }) => pid);
    for (const pid of pids) process.kill(pid, "SIGKILL");
    await waitFor("every process is gone", () => pids.every(hasEnded));
    this.frontend.close();
    for (const server of this.#servers.values()) server.close();
    beforeRemoval();
    await rm(this.directory, { recursive: true, force: true });
  }

  /** Every process whose working directory is this deployment's. */
  #processes(): readonly { readonly pid: number; readonly argv: readonly string[] }[] {
    return readdirSync("/proc").flatMap((name) => {
      const pid = Number(name);
      if (!Number.isInteger(pid)) return [];
      try {
        if (readlinkSync(`/proc/${pid}/cwd`) !== this.directory) return [];
        const argv = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
        return argv[0] === "" ? [] : [{ pid, argv }];
      } catch {
        return []; // It ended while we looked, or is not ours.
      }
    });
  }
}
