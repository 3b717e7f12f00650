import { RaftKvError } from "../../base/errors.ts";
import { RpcClient } from "../../rpc/rpc-client.ts";
import type { ServerStatus } from "../../rpc/wire.ts";
import type { ServerAddress, TargetAddress } from "./target.ts";

/** Who leads, as somebody saw it. */
export interface Sighting {
  /** Seconds since the measurement began; negative: before, in the warm-up. */
  readonly atSeconds: number;
  /** The highest that any server knew. */
  readonly term: number;
  /** null: nobody was known to lead in that term. */
  readonly leaderId: number | null;
}

/** What was seen of leaders and terms: the first sighting, and each that was different from the one before. */
export class LeaderHistory {
  readonly #sightings: Sighting[] = [];

  get sightings(): readonly Sighting[] {
    return this.#sightings;
  }

  /** At least so many elections were held: each is in a term of its own. null: nobody said who leads. */
  get elections(): number | null {
    const [first] = this.#sightings;
    return first === undefined ? null : (this.#sightings.at(-1) ?? first).term - first.term;
  }

  /** Servers that did not answer are left out; none did: nothing is known. */
  note(atSeconds: number, servers: readonly ServerStatus[]): void {
    if (servers.length === 0) return;
    const { term, leaderId } = sightingOf(servers);
    const last = this.#sightings.at(-1);
    // Who knows of a later term, or who leads in this one, may just not have been reached.
    const isNews =
      last === undefined ||
      term > last.term ||
      (term === last.term && leaderId !== null && leaderId !== last.leaderId);
    if (isNews) this.#sightings.push({ atSeconds, term, leaderId });
  }
}

/** The latest term that any of them knows, and who leads in it: by its own account, or as another one heard. */
export function sightingOf(servers: readonly ServerStatus[]): Omit<Sighting, "atSeconds"> {
  const term = Math.max(0, ...servers.map((server) => server.term));
  const latest = servers.filter((server) => server.term === term);
  const [leader] = latest.flatMap(({ role, id, leaderId }) => (role === "leader" ? id : (leaderId ?? [])));
  return { term, leaderId: leader ?? null };
}

const ASK_EVERY_MS = 1000;
const ASK_TIMEOUT_MS = 1000;

/** Asks the servers, or a frontend about them, once a second who leads, from when it is made until `end`. */
export class ElectionWatch {
  readonly history = new LeaderHistory();
  readonly #inquiry: StatusInquiry;
  readonly #measuredFromMs: number;
  readonly #timer: ReturnType<typeof setInterval>;

  /** `measuredFromMs`, on the monotonic clock: from then on sightings are dated. */
  constructor(target: TargetAddress, measuredFromMs: number) {
    this.#measuredFromMs = measuredFromMs;
    this.#inquiry =
      target.kind === "frontend" ? new FrontendInquiry(target.address) : new ServersInquiry(target.servers);
    this.#timer = setInterval(() => void this.#look(), ASK_EVERY_MS);
    void this.#look();
  }

  /** Looks once more. */
  async end(): Promise<void> {
    clearInterval(this.#timer);
    await this.#look();
    this.#inquiry.close();
  }

  async #look(): Promise<void> {
    const servers = await this.#inquiry.ask();
    this.history.note((performance.now() - this.#measuredFromMs) / 1000, servers);
  }
}

interface StatusInquiry {
  /** Those that answer in time. */
  ask(): Promise<readonly ServerStatus[]>;
  close(): void;
}

class FrontendInquiry implements StatusInquiry {
  readonly #client: RpcClient<"FrontEnd">;

  constructor(address: string) {
    this.#client = new RpcClient("FrontEnd", address);
  }

  async ask(): Promise<readonly ServerStatus[]> {
    try {
      const { members } = await this.#client.call("Status", {}, ASK_TIMEOUT_MS);
      return members.flatMap(({ reachable, server }) => (reachable && server !== null ? [server] : []));
    } catch (error) {
      if (error instanceof RaftKvError) return [];
      throw error;
    }
  }

  close(): void {
    this.#client.close();
  }
}

class ServersInquiry implements StatusInquiry {
  readonly #clients: readonly RpcClient<"KeyValueStore">[];

  constructor(servers: readonly ServerAddress[]) {
    this.#clients = servers.map(({ address }) => new RpcClient("KeyValueStore", address));
  }

  async ask(): Promise<readonly ServerStatus[]> {
    const calls = this.#clients.map((client) => client.call("Status", {}, ASK_TIMEOUT_MS));
    const answers = await Promise.allSettled(calls);
    return answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []));
  }

  close(): void {
    for (const client of this.#clients) client.close();
  }
}
