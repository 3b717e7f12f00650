/**
 * Makes the files of one of the first servers of a cluster, started by hand. It is started again with the same
 * words whenever its machine is, so they must not bring it to life a second time after its disk was lost: it has
 * forgotten whom it voted for, and what it helped to commit (P9). Hence no server founds its cluster before all of
 * them are there, and none comes later.
 *
 *   gathering   not every other has been seen yet, gathering or gathered
 *   gathered    every other has been seen so, by this process
 *   founded     every other has been seen gathered, or founded after it had been seen; the files are there
 *
 * While it waits a server answers Status alone, with the state as its role. One that has founded was seen before
 * by each of the others, for it has seen them gathered. So who meets a founded server that it has not seen before
 * is no founder: it was one, and its files are gone, or its process ended in between. It is refused, and has to
 * rejoin (rejoin.ts). A server that has its files goes on with them and asks nobody.
 */
import { RaftKvError } from "../base/errors.ts";
import { createLogger } from "../observability/logger.ts";
import type { Configuration, Member } from "../raft/configuration.ts";
import { RpcServer, type Handlers } from "../rpc/rpc-server.ts";
import { createServerStore } from "../storage/server-store.ts";
import type { Newcomer } from "./creation.ts";
import { pause } from "./pause.ts";
import { probe } from "./probe.ts";
import { systemClock } from "./system-clock.ts";

/** The new cluster, and who founds it, this server among them. */
export interface Founded {
  readonly clusterId: string;
  readonly members: Configuration;
}

/** Status.role of a server that waits for the others. */
const WAITING_ROLES = ["gathering", "gathered"] as const;

type State = (typeof WAITING_ROLES)[number] | "founded";

const ANSWER_TIMEOUT_MS = 1000;
const RETRY_MS = 50;
/** How often it says for whom it waits. */
const TELL_MS = 5000;

/**
 * Resolves when the server's files are there, durably: all servers have to be started for that. Rejects with
 * RaftKvError: "failedPrecondition" when the cluster goes on without this server, or another server is at the
 * address of one of them; "unavailable" when `stop` is aborted; "io" when its port is taken or a file cannot be
 * written; "diskFull".
 */
export async function found(newcomer: Newcomer, founded: Founded, stop: AbortSignal): Promise<void> {
  const { fs, stateDirectory, id, hosts, port } = newcomer;
  const { clusterId, members } = founded;
  const gathering = new Gathering(newcomer, founded);
  const server = new RpcServer();
  server.add(
    "KeyValueStore",
    waitingHandlers(id, clusterId, () => gathering.state),
  );
  await server.listen(hosts, port);
  try {
    await gathering.complete(stop);
    await createServerStore(fs, stateDirectory, { clusterId, serverId: id, members });
  } finally {
    await server.close();
  }
}

/** What one server knows of the others. */
class Gathering {
  readonly #newcomer: Newcomer;
  readonly #founded: Founded;
  readonly #others: Configuration;
  /** The latest of each that was seen. */
  readonly #seen = new Map<Member, State>();

  constructor(newcomer: Newcomer, founded: Founded) {
    this.#newcomer = newcomer;
    this.#founded = founded;
    this.#others = founded.members.filter((member) => member.id !== newcomer.id);
  }

  get state(): State {
    return this.#seen.size === this.#others.length ? "gathered" : "gathering";
  }

  /** Resolves when this server may found. */
  async complete(stop: AbortSignal): Promise<void> {
    const log = createLogger("server", String(this.#newcomer.id));
    let tellAt = systemClock.nowMs();
    for (;;) {
      await Promise.all(this.#awaited().map((other) => this.#look(other)));
      const awaited = this.#awaited();
      if (awaited.length === 0) return;
      if (stop.aborted)
        throw new RaftKvError("unavailable", "the server was stopped before its cluster was there");
      if (systemClock.nowMs() >= tellAt) {
        log.info("waiting for the others of the new cluster", { servers: awaited.map(({ id }) => id) });
        tellAt = systemClock.nowMs() + TELL_MS;
      }
      await pause(systemClock, RETRY_MS);
    }
  }

  #awaited(): Configuration {
    return this.#others.filter((other) => {
      const state = this.#seen.get(other);
      return state === undefined || state === "gathering";
    });
  }

  async #look(other: Member): Promise<void> {
    const { addresses, id } = this.#newcomer;
    const { clusterId } = this.#founded;
    const address = addresses.reached(other);
    const answer = await probe(address, other.id, clusterId, ANSWER_TIMEOUT_MS);
    if (answer.kind === "silent") return;
    if (answer.kind === "other") {
      throw refusal(
        id,
        `at ${address} there is ${answer.who}, not server ${other.id} of cluster ${clusterId}`,
      );
    }
    const state = WAITING_ROLES.find((role) => role === answer.status.role) ?? "founded";
    if (state === "founded" && !this.#seen.has(other)) {
      const how = `if its disk was lost, have it replaced: --rejoin ${this.#founded.members.length}`;
      throw refusal(id, `cluster ${clusterId} goes on already, and its files are not here; ${how}`);
    }
    this.#seen.set(other, state);
  }
}

/** It answers Status; anything else has to wait. */
function waitingHandlers(id: number, clusterId: string, state: () => State): Handlers<"KeyValueStore"> {
  const refuse = (): Promise<never> =>
    Promise.reject(new RaftKvError("unavailable", `server ${id} waits for the others of its new cluster`));
  return {
    Status: async () => ({ id, clusterId, role: state(), pid: process.pid }),
    ping: refuse,
    GetState: refuse,
    Get: refuse,
    Put: refuse,
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
