/**
 * Makes the files of one of the first servers of a cluster, started by hand. It is started again with the same
 * words whenever its machine is, so they must not bring it to life a second time after its disk was lost: it has
 * forgotten whom it voted for, and what it helped to commit (P9). Hence no server founds its cluster before all of
 * them are there, none comes later, and the same words found another cluster when they found one again.
 *
 *   gathering   not every other has been seen yet
 *   gathered    every other has been seen; from what each of them drew follows the cluster's id
 *   founded     every other has been seen gathered, with that id; or one that has founded with it; the files are there
 *
 * While it waits a server answers Status alone, with the state as its role and in `founding` what it was told, what it
 * drew and the id. Each process draws once, so that an id is founded at most once by each server: who has lost its
 * files, or ended before they were there, draws anew, and then meets servers of an id that it has never told. It is
 * refused, and has to rejoin (rejoin.ts). A server that has its files goes on with them and asks nobody.
 *
 * All found the same id, also when some are started again in between. Everyone takes from each other the latest draw,
 * so the ids that one process tells have draws that only ever become later. Of any two that found, each was seen by
 * the other with the other's id before it founded: so neither id is the later one. Who follows one that has founded
 * has told that id itself, and founds no other.
 *
 * What cannot be known: when all of the founders have lost their files there is nobody to meet; the only founder of
 * a cluster is the simplest case. Then the words say what they say: they found a new cluster, which is empty. Its id
 * is new too, so that servers of the old one, which joined later, refuse its messages and it theirs, and a frontend
 * that knows the old one does not take it for a member (P10).
 */
import { createHash } from "node:crypto";
import { RaftKvError } from "../base/errors.ts";
import { formatPeers } from "../config/peers.ts";
import { createLogger } from "../observability/logger.ts";
import type { Configuration, Member } from "../raft/configuration.ts";
import { RpcServer, type Handlers } from "../rpc/rpc-server.ts";
import type { ServerStatus, WireFounding } from "../rpc/wire.ts";
import { makeDirectoryDurably } from "../storage/durable-directory.ts";
import { serverFiles } from "../storage/server-files.ts";
import { createServerStore } from "../storage/server-store.ts";
import type { Newcomer } from "./creation.ts";
import { pause } from "./pause.ts";
import { askStatus } from "./probe.ts";
import { systemClock } from "./system-clock.ts";
import { drawName } from "./system-random.ts";

const ANSWER_TIMEOUT_MS = 1000;
const RETRY_MS = 50;
/** About what the files of a new server take. */
const TRIAL_BYTES = 4096;
/** How often it says for whom it waits. */
const TELL_MS = 5000;

/**
 * Resolves when the server's files are there, durably: all servers have to be started for that. `members` are
 * those who found, ascending by id, this server among them. Rejects with RaftKvError: "failedPrecondition" when the
 * cluster goes on without this server, or another server is at the address of one of them; "unavailable" when `stop`
 * is aborted; "io" when its port is taken or a file cannot be written; "diskFull".
 */
export async function found(newcomer: Newcomer, members: Configuration, stop: AbortSignal): Promise<void> {
  const { fs, stateDirectory, id, hosts, port } = newcomer;
  // Who cannot write must not be counted on by the others.
  await tryWriting(newcomer);
  const gathering = new Gathering(newcomer, members);
  const server = new RpcServer();
  server.add("KeyValueStore", waitingHandlers(id, gathering));
  await server.listen(hosts, port);
  try {
    const clusterId = await gathering.complete(stop);
    await createServerStore(fs, stateDirectory, { clusterId, serverId: id, members });
    createLogger("server", String(id)).info("founded", { clusterId, servers: members.map((one) => one.id) });
  } finally {
    await server.close();
  }
}

async function tryWriting({ fs, stateDirectory, id }: Newcomer): Promise<void> {
  const { stateFileTemporary } = serverFiles(stateDirectory, id);
  await makeDirectoryDurably(fs, stateDirectory);
  await fs.writeFile(stateFileTemporary, Buffer.alloc(TRIAL_BYTES));
  await fs.syncFile(stateFileTemporary);
  await fs.removeFile(stateFileTemporary);
}

/** What one server knows of the others. */
class Gathering {
  readonly #newcomer: Newcomer;
  readonly #others: Configuration;
  /** What it was told, by which the others know that they were told the same. */
  readonly #peers: string;
  readonly #draw = drawName();
  /** The latest of each that was seen. */
  readonly #seen = new Map<Member, WireFounding>();
  /** Every id that may have been told. */
  readonly #told = new Set<string>();
  /** The id with which another, who has seen it here, has founded. */
  #founded: string | null = null;

  constructor(newcomer: Newcomer, members: Configuration) {
    this.#newcomer = newcomer;
    this.#others = members.filter((member) => member.id !== newcomer.id);
    this.#peers = formatPeers(members);
  }

  get founding(): WireFounding {
    return { peers: this.#peers, draw: this.#draw, clusterId: this.#clusterId() };
  }

  /** Resolves, when this server may found, with the cluster's id. */
  async complete(stop: AbortSignal): Promise<string> {
    const log = createLogger("server", String(this.#newcomer.id));
    let tellAt = systemClock.nowMs();
    for (;;) {
      await Promise.all(this.#others.map((other) => this.#look(other)));
      const clusterId = this.#clusterId();
      const awaited = this.#others.filter((other) => {
        const told = this.#seen.get(other)?.clusterId ?? "";
        return told === "" || told !== clusterId;
      });
      if (this.#founded !== null) return this.#founded;
      if (awaited.length === 0) return clusterId;
      if (stop.aborted)
        throw new RaftKvError("unavailable", "the server was stopped before its cluster was there");
      if (systemClock.nowMs() >= tellAt) {
        log.info("waiting for the others of the new cluster", { servers: awaited.map(({ id }) => id) });
        tellAt = systemClock.nowMs() + TELL_MS;
      }
      await pause(systemClock, RETRY_MS);
    }
  }

  /** "": not every other has been seen. */
  #clusterId(): string {
    if (this.#seen.size < this.#others.length) return "";
    const draws = this.#others.map((other) => `${other.id}=${this.#seen.get(other)?.draw}`);
    const clusterId = nameFrom(this.#peers, [...draws, `${this.#newcomer.id}=${this.#draw}`]);
    this.#told.add(clusterId);
    return clusterId;
  }

  async #look(other: Member): Promise<void> {
    const { addresses, id } = this.#newcomer;
    const address = addresses.reached(other);
    const answer = await askStatus(address, ANSWER_TIMEOUT_MS);
    if (answer instanceof RaftKvError) return;
    if (answer.id !== other.id) {
      throw refusal(id, `at ${address} there is server ${answer.id}, not server ${other.id}`);
    }
    const founding = answer.founding ?? null;
    if (founding === null) {
      this.#meetFounded(answer, address);
    } else if (founding.peers === this.#peers) {
      this.#seen.set(other, founding);
    } else {
      throw refusal(id, `server ${other.id} at ${address} was told of other --peers: ${founding.peers}`);
    }
  }

  #meetFounded({ clusterId }: ServerStatus, address: string): void {
    if (!this.#told.has(clusterId)) {
      const how =
        this.#others.length < 2
          ? "if the cluster has served nobody yet, remove the other's files and start both again"
          : `if its disk was lost, have it replaced: --rejoin ${this.#others.length + 1} --cluster-id ${clusterId}, the same --peers; if the cluster has served nobody yet, remove the files of all and start all again`;
      throw refusal(
        this.#newcomer.id,
        `cluster ${clusterId} goes on already at ${address}, and this server's files are not here; ${how}`,
      );
    }
    this.#founded = clusterId;
  }
}

/** In the form of a UUID; the same for all who have seen the same draws, in whatever order. */
function nameFrom(peers: string, draws: readonly string[]): string {
  const text = JSON.stringify([peers, draws.toSorted()]);
  const hash = createHash("sha256").update(text).digest("hex");
  const parts = [hash.slice(0, 8), hash.slice(8, 12), `8${hash.slice(13, 16)}`, `8${hash.slice(17, 20)}`];
  return [...parts, hash.slice(20, 32)].join("-");
}

/** It answers Status; anything else has to wait. */
function waitingHandlers(id: number, gathering: Gathering): Handlers<"KeyValueStore"> {
  const refuse = (): Promise<never> =>
    Promise.reject(new RaftKvError("unavailable", `server ${id} waits for the others of its new cluster`));
  return {
    Status: async () => {
      const { founding } = gathering;
      return { id, role: founding.clusterId === "" ? "gathering" : "gathered", founding, pid: process.pid };
    },
    ping: refuse,
    GetState: refuse,
    Get: refuse,
    Put: refuse,
    PutMany: refuse,
    AppendEntries: refuse,
    RequestVote: refuse,
    InstallSnapshot: refuse,
    TakeSnapshot: refuse,
    ReadSnapshot: refuse,
    ReadIndex: refuse,
    TimeoutNow: refuse,
    AddMember: refuse,
    PromoteMember: refuse,
    RemoveMember: refuse,
    TransferLeadership: refuse,
  };
}

function refusal(id: number, why: string): RaftKvError {
  return new RaftKvError("failedPrecondition", `server ${id} cannot found its cluster: ${why}`);
}
