import { closeSync, openSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RaftKvError } from "../../src/base/errors.ts";
import { RpcClient } from "../../src/rpc/rpc-client.ts";
import { decodeText, encodeText } from "../../src/rpc/text.ts";
import type { GenericResponse, ServerStatus, WireConsistency } from "../../src/rpc/wire.ts";
import { EXECUTABLE } from "./deployment.ts";
import { hasEnded } from "./process-end.ts";
import { waitFor } from "./waiting.ts";

/** What takes a second or two on a machine with nothing else to do may take long beside other tests. */
const DEADLINE_MS = 60_000;

/** As waitFor, with that deadline. */
export function eventually<T>(
  what: string,
  probe: () => Promise<T> | T,
): Promise<NonNullable<Exclude<T, false>>> {
  return waitFor(what, probe, DEADLINE_MS);
}

/** Where a server runs. */
export interface Place {
  /** "host:port". */
  readonly address: string;
  /** Words before the executable's, as to run it in a namespace. */
  readonly prefix: readonly string[];
}

/** How a process ended. */
export interface End {
  /** null: a signal ended it. */
  readonly code: number | null;
  /** What it wrote in this life. */
  readonly output: string;
}

interface Life {
  readonly process: Bun.Subprocess;
  readonly logPath: string;
}

/** Servers that are started one by one, each with its own words, at addresses of their own; no frontend. */
export class HandMadeCluster {
  readonly directory: string;
  readonly #placeOf: (id: number) => Place;
  readonly #lives = new Map<number, Life>();
  readonly #clients = new Map<number, RpcClient<"KeyValueStore">>();
  #lifeCount = 0;

  private constructor(directory: string, placeOf: (id: number) => Place) {
    this.directory = directory;
    this.#placeOf = placeOf;
  }

  static async create(placeOf: (id: number) => Place): Promise<HandMadeCluster> {
    return new HandMadeCluster(await mkdtemp(join(tmpdir(), "raftkv-hand-")), placeOf);
  }

  addressOf(id: number): string {
    return this.#placeOf(id).address;
  }

  /** As --peers has them. */
  peers(ids: readonly number[]): string {
    return ids.map((id) => `${id}=${this.addressOf(id)}`).join(",");
  }

  stateDirectory(id: number): string {
    return join(this.directory, `state_${id}`);
  }

  /** Starts server `id` with its own address and state, and these further words. */
  start(id: number, ...words: readonly string[]): void {
    this.startAnywhere(id, "--listen", this.addressOf(id), ...words);
  }

  /** Starts server `id` with its own state, and these further words. */
  startAnywhere(id: number, ...words: readonly string[]): void {
    const { prefix } = this.#placeOf(id);
    this.#lifeCount += 1;
    const logPath = join(this.directory, `server_${id}.${this.#lifeCount}.log`);
    const log = openSync(logPath, "a");
    const role = ["--mode", "server", "--id", String(id), "--state-dir", this.stateDirectory(id)];
    const process = Bun.spawn([...prefix, EXECUTABLE, ...role, ...words], {
      cwd: this.directory,
      stdin: "ignore",
      stdout: log,
      stderr: log,
    });
    closeSync(log);
    this.#lives.set(id, { process, logPath });
  }

  /** The first servers of a new cluster, all of which serve. */
  async found(ids: readonly number[]): Promise<void> {
    for (const id of ids) this.start(id, "--bootstrap", String(ids.length), "--peers", this.peers(ids));
    await this.leader(ids);
  }

  /** Waits for the server's process to end. */
  async end(id: number): Promise<End> {
    const { process, logPath } = this.#life(id);
    await process.exited;
    const code = process.signalCode === null ? process.exitCode : null;
    return { code, output: (await readFile(logPath, "utf8")).trimEnd() };
  }

  /** Sends the signal; does not wait. */
  signal(id: number, signal: "SIGTERM" | "SIGKILL"): void {
    this.#life(id).process.kill(signal);
  }

  async kill(id: number): Promise<void> {
    this.signal(id, "SIGKILL");
    await this.end(id);
  }

  server(id: number): RpcClient<"KeyValueStore"> {
    const known = this.#clients.get(id) ?? new RpcClient("KeyValueStore", this.addressOf(id));
    this.#clients.set(id, known);
    return known;
  }

  status(id: number): Promise<ServerStatus> {
    return this.server(id).call("Status", {}, 1000);
  }

  /** The one that all of `ids` take for the leader, in one term, and that has committed in it. */
  leader(ids: readonly number[]): Promise<ServerStatus> {
    return eventually(`one leader of ${ids.join(", ")}`, async () => {
      const all = await Promise.all(ids.map((id) => this.status(id)));
      const leader = all.find(({ role }) => role === "leader");
      if (leader === undefined) return null;
      const agreed = all.every(({ term, leaderId }) => term === leader.term && leaderId === leader.id);
      return agreed && leader.commitIndex > 0 ? leader : null;
    });
  }

  put(id: number, key: string, value: string, timeoutMs = 5000): Promise<GenericResponse> {
    return this.server(id).call("Put", { key: encodeText(key), value: encodeText(value) }, timeoutMs);
  }

  /** Throws when the server does not answer for the cluster. */
  async get(id: number, key: string, consistency: WireConsistency, timeoutMs = 5000): Promise<string> {
    const reply = await this.server(id).call("Get", { arg: encodeText(key), consistency }, timeoutMs);
    if (reply.code !== "OK") throw new RaftKvError("unavailable", reply.error);
    return decodeText(reply.value) ?? "";
  }

  /** Ends every process, by its pid, and removes the directory. */
  async close(): Promise<void> {
    for (const { process } of this.#lives.values()) process.kill("SIGKILL");
    const pids = [...this.#lives.values()].map(({ process }) => process.pid);
    await eventually("every process is gone", () => pids.every(hasEnded));
    for (const client of this.#clients.values()) client.close();
    await rm(this.directory, { recursive: true, force: true });
  }

  #life(id: number): Life {
    const life = this.#lives.get(id);
    if (life === undefined) throw new TypeError(`server ${id} was never started`);
    return life;
  }
}
