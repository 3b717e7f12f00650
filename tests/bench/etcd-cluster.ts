/** etcd as somebody would run it on one machine: three members, everything else as etcd has it by itself. */
import { credentials, Client, type MethodDefinition } from "@grpc/grpc-js";
import { closeSync, openSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CHANNEL_OPTIONS } from "../../src/rpc/rpc-client.ts";
import { freePorts } from "../cluster/free-ports.ts";
import { hasEnded } from "../cluster/process-end.ts";
import { waitFor } from "../cluster/waiting.ts";
import { etcdStatus, type EtcdStatus } from "./etcd-rpc.ts";

/** What is run: what ETCD_EXECUTABLE names, or else the one that the distribution's package installs. */
export const ETCD_EXECUTABLE = process.env["ETCD_EXECUTABLE"] ?? "etcd";

const MEMBERS = 3;
const CALL_TIMEOUT_MS = 1000;
/** Members that elect anew, or a machine that is busy, take their time. */
const HEALTHY_MS = 60_000;

interface Member {
  readonly name: string;
  /** Where clients reach it, "host:port". */
  readonly address: string;
  readonly process: Bun.Subprocess;
  readonly client: Client;
}

/** `close` ends every member, by its pid, and removes the directory. */
export class EtcdCluster {
  /** Under the system's temporary one, as a Deployment's is; each member's data is below it. */
  readonly directory: string;
  readonly #members: readonly Member[];

  private constructor(directory: string, members: readonly Member[]) {
    this.directory = directory;
    this.#members = members;
  }

  /** Starts three members and waits until they agree who leads. Throws when one runs with an unsafe option. */
  static async start(): Promise<EtcdCluster> {
    const directory = await mkdtemp(join(tmpdir(), "raftkv-etcd-"));
    const firstPort = await freePorts(2 * MEMBERS);
    const names = Array.from({ length: MEMBERS }, (_, at) => `member${at}`);
    const peerUrl = (at: number): string => `http://127.0.0.1:${firstPort + MEMBERS + at}`;
    const cluster = names.map((name, at) => `${name}=${peerUrl(at)}`).join(",");
    const members = names.map((name, at) => {
      const address = `127.0.0.1:${firstPort + at}`;
      const words = memberWords(name, join(directory, name), address, peerUrl(at), cluster);
      const client = new Client(address, credentials.createInsecure(), CHANNEL_OPTIONS);
      return { name, address, process: spawn(directory, name, words), client };
    });
    const started = new EtcdCluster(directory, members);
    try {
      await started.leader();
      for (const pid of started.pids) checkSafe(pid);
      return started;
    } catch (error) {
      await started.close();
      throw error;
    }
  }

  get pids(): readonly number[] {
    return this.#members.map(({ process }) => process.pid);
  }

  /** Whom all members take for the leader. */
  async leader(): Promise<{ readonly name: string; readonly address: string; readonly version: string }> {
    return waitFor(
      "etcd's members agree on a leader",
      async () => {
        const all = await Promise.all(this.#members.map(({ client }) => call(client, etcdStatus)));
        const { leader = 0 } = all[0] ?? {};
        if (leader === 0 || all.some((status) => status.leader !== leader)) return null;
        const at = all.findIndex(({ header }) => header.member_id === leader);
        const [member, status] = [this.#members[at], all[at]];
        return member && status && { ...member, version: status.version };
      },
      HEALTHY_MS,
    );
  }

  /** The members' data, one directory each. */
  get directories(): readonly string[] {
    return this.#members.map(({ name }) => join(this.directory, name));
  }

  async close(): Promise<void> {
    for (const { process, client } of this.#members) {
      client.close();
      process.kill("SIGKILL");
    }
    await waitFor("etcd's members are gone", () => this.pids.every(hasEnded));
    await rm(this.directory, { recursive: true, force: true });
  }
}

function memberWords(
  name: string,
  dataDirectory: string,
  clientAddress: string,
  peerUrl: string,
  cluster: string,
): readonly string[] {
  const clientUrl = `http://${clientAddress}`;
  const options = {
    name,
    "data-dir": dataDirectory,
    "listen-client-urls": clientUrl,
    "advertise-client-urls": clientUrl,
    "listen-peer-urls": peerUrl,
    "initial-advertise-peer-urls": peerUrl,
    "initial-cluster": cluster,
    "initial-cluster-state": "new",
    logger: "zap",
  };
  return Object.entries(options).flatMap(([option, value]) => [`--${option}`, value]);
}

/** None of etcd's options that give up what it promises, such as --unsafe-no-fsync, whoever started it. */
function checkSafe(pid: number): void {
  const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  const variables = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
  const unsafe = [...words, ...variables].find((word) => /^(--?unsafe|ETCD_)/.test(word));
  if (unsafe !== undefined)
    throw new Error(`etcd runs with ${unsafe}: it would not sync what it acknowledges`);
}

/** Without what stands in ETCD_… variables, which etcd takes for options. */
function spawn(directory: string, name: string, words: readonly string[]): Bun.Subprocess {
  const log = openSync(logPath(directory, name), "a");
  const env = Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith("ETCD_")));
  const child = Bun.spawn([ETCD_EXECUTABLE, ...words], {
    cwd: directory,
    env,
    stdin: "ignore",
    stdout: log,
    stderr: log,
  });
  closeSync(log);
  return child;
}

function logPath(directory: string, name: string): string {
  return join(directory, `${name}.log`);
}

function call(client: Client, rpc: MethodDefinition<object, EtcdStatus>): Promise<EtcdStatus> {
  return new Promise((resolve, reject) => {
    const deadline = Date.now() + CALL_TIMEOUT_MS;
    client.makeUnaryRequest(
      rpc.path,
      rpc.requestSerialize,
      rpc.responseDeserialize,
      {},
      { deadline },
      (error, response) => {
        if (error === null && response !== undefined) resolve(response);
        else reject(error ?? new Error("no answer"));
      },
    );
  });
}
