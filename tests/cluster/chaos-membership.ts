import { RaftKvError } from "../../src/base/errors.ts";
import type { ServerId } from "../../src/raft/entry.ts";
import { RpcClient } from "../../src/rpc/rpc-client.ts";
import type { AddMemberArgs, TransferArgs, WireCode } from "../../src/rpc/wire.ts";
import type { Random } from "../../src/sim/random.ts";
import type { ChaosCluster } from "./chaos-cluster.ts";

const CHANGE_TIMEOUT_MS = 6000;
const FEWEST_MEMBERS = 3;

/** One of the calls that change who belongs to the cluster or leads it. */
type Change =
  | { readonly method: "AddMember"; readonly args: AddMemberArgs }
  | { readonly method: "PromoteMember" | "RemoveMember"; readonly args: { readonly arg: ServerId } }
  | { readonly method: "TransferLeadership"; readonly args: TransferArgs };

/** What came of it: whether it is done, and in words. */
interface Answer {
  readonly isDone: boolean;
  readonly words: string;
}

/**
 * Adds and removes servers and hands over leadership, through the frontend or at the leader itself. That a change is
 * refused, or nobody knows what became of it, is in the nature of the other faults. All answers are words for the log.
 */
export class ChaosMembership {
  readonly #cluster: ChaosCluster;
  readonly #random: Random;
  /** Their removal is committed, and nobody has tried to add them again: only such a server's files may be erased. */
  readonly #removed = new Set<ServerId>();

  constructor(cluster: ChaosCluster, random: Random) {
    this.#cluster = cluster;
    this.#random = random;
  }

  /** The server that is no member; or makes a voter of one that is none, where an addition was broken off. */
  async add(claim: (id: ServerId) => boolean): Promise<string> {
    const behind = this.#cluster.members.find(({ voter }) => !voter);
    if (behind !== undefined) {
      const { words } = await this.#call({ method: "PromoteMember", args: { arg: behind.id } });
      return `server ${behind.id} promoted: ${words}`;
    }
    const members = new Set(this.#cluster.members.map(({ id }) => id));
    const id = this.#cluster.ids.find((other) => !members.has(other));
    if (id === undefined || !claim(id)) return "nobody is there to be added";
    const isWiped = this.#removed.has(id) && this.#random.chance(0.5);
    if (isWiped) {
      await this.#cluster.endServer(id, "SIGTERM");
      await this.#cluster.erase(id);
    }
    if (!(await this.#cluster.startServer(id))) return `server ${id} could not join`;
    this.#removed.delete(id);
    const args = { id, address: this.#cluster.address(id), nonVoter: false };
    const { words } = await this.#call({ method: "AddMember", args });
    return `server ${id} added${isWiped ? ", its files made anew" : ""}: ${words}`;
  }

  /** Unless too few would be left. */
  async remove(id: ServerId | null): Promise<string> {
    if (id === null || this.#cluster.members.length <= FEWEST_MEMBERS) return "nobody can be spared";
    const { isDone, words } = await this.#call({ method: "RemoveMember", args: { arg: id } });
    if (isDone) this.#removed.add(id);
    return `server ${id} removed: ${words}`;
  }

  async transfer(): Promise<string> {
    const to = this.#random.pick<ServerId | null>([null, ...this.#cluster.ids]);
    const { words } = await this.#call({ method: "TransferLeadership", args: to === null ? {} : { to } });
    return `leadership to ${to ?? "anybody"}: ${words}`;
  }

  async #call(change: Change): Promise<Answer> {
    try {
      const answer = this.#random.chance(0.5) ? await this.#atFrontend(change) : await this.#atLeader(change);
      await this.#cluster.look();
      return answer;
    } catch (error) {
      if (!(error instanceof RaftKvError)) throw error;
      return { isDone: false, words: `${error.code}: ${error.message}` };
    }
  }

  async #atFrontend(change: Change): Promise<Answer> {
    const frontend = new RpcClient("FrontEnd", this.#cluster.frontendAddress);
    try {
      return answerOf(await send(frontend, change));
    } finally {
      frontend.close();
    }
  }

  async #atLeader(change: Change): Promise<Answer> {
    const { leader } = await this.#cluster.look();
    if (leader === null) return { isDone: false, words: "there is no leader" };
    return answerOf(await send(this.#cluster.client(leader.id), change));
  }
}

/** Both services have these calls. */
function send(
  client: RpcClient<"FrontEnd"> | RpcClient<"KeyValueStore">,
  { method, args }: Change,
): Promise<{ readonly code: WireCode; readonly error: string }> {
  const either = client as RpcClient<"KeyValueStore">;
  return either.call(method, args, CHANGE_TIMEOUT_MS);
}

function answerOf({ code, error }: { code: WireCode; error: string }): Answer {
  const isDone = code === "OK" && error === "";
  return { isDone, words: isDone ? "done" : `${code}: ${error}` };
}
