/**
 * What operators do to a cluster that works: they add servers, promote and remove them, and hand leadership over. Each
 * of it goes to whoever says that it leads, takes its time on the way, and may come to nothing.
 */
import {
  memberOf,
  type ChangeRefusal,
  type Configuration,
  type ConfigurationChange,
} from "../raft/configuration.ts";
import type { ServerId } from "../raft/entry.ts";
import { hardStateOfJoiner, type HardState } from "../raft/hard-state.ts";
import type { Node } from "../node/node.ts";
import type { RaftStatus } from "../raft/raft.ts";
import type { FaultCounter } from "./fault-counter.ts";
import type { FaultKind } from "./swarm.ts";
import type { Random } from "./random.ts";
import type { Safety } from "./safety.ts";
import { spareAddress, type SimNetwork } from "./sim-network.ts";
import type { SimServer } from "./sim-server.ts";
import type { Timeline } from "./timeline.ts";

export interface OperatorParts {
  readonly timeline: Timeline;
  readonly random: Random;
  readonly network: SimNetwork;
  readonly servers: readonly [SimServer, ...SimServer[]];
  readonly safety: Safety;
  readonly faults: FaultCounter;
  /** Whether a majority of its voters has good files: operators do not remove what is left. */
  readonly tolerates: (configuration: Configuration) => boolean;
  /** `server` has new files. */
  readonly onJoined: (server: SimServer) => void;
  readonly onEvent: (who: string, what: string, detail?: unknown) => void;
  readonly onFailure: (error: unknown) => void;
}

/** Between two attempts at the same thing. */
const RETRY_US = 200_000;
/** How often it asks for the same thing. */
const ATTEMPTS = 15;
/** Refused so, it may be done soon. */
const LATER: ReadonlySet<ChangeRefusal> = new Set(["notReady", "underWay", "transferring", "notCaughtUp"]);
const COUNTED: Readonly<Record<ConfigurationChange["kind"], FaultKind>> = {
  add: "memberAdded",
  promote: "memberPromoted",
  remove: "memberRemoved",
};

export class Operator {
  readonly #parts: OperatorParts;
  #over = false;
  /** Without an answer; those of a life that has ended get none. */
  readonly #questions = new Set<{ readonly server: SimServer; readonly life: SimServer["life"] }>();

  constructor(parts: OperatorParts) {
    this.#parts = parts;
  }

  /** Begins nothing more. What was sent is under way. */
  end(): void {
    this.#over = true;
  }

  /** Whether a server that lives has not answered it. */
  get isWaiting(): boolean {
    return [...this.#questions].some(({ server, life }) => server.life === life);
  }

  /** Some change, if anybody says that it leads. */
  change(): void {
    const { random, servers } = this.#parts;
    const leader = this.#leader();
    if (leader === null) return;
    const { configuration } = leader.node.status();
    const outside = servers.filter(({ id }) => memberOf(configuration, id) === null);
    const nonVoters = configuration.filter(({ voter }) => !voter);
    const options: ConfigurationChange["kind"][] = [
      ...(outside.length > 0 ? (["add"] as const) : []),
      ...(nonVoters.length > 0 ? (["promote"] as const) : []),
      "remove",
    ];
    switch (random.pick([options[0] ?? "remove", ...options.slice(1)])) {
      case "add": {
        const [server] = random.shuffle(outside);
        if (server !== undefined) this.#add(server);
        return;
      }
      case "promote": {
        const [member] = random.shuffle(nonVoters);
        if (member !== undefined) this.#promote(member.id);
        return;
      }
      case "remove": {
        const [member] = random.shuffle(configuration);
        if (member !== undefined) this.#remove(random.chance(0.3) ? leader.server.id : member.id);
      }
    }
  }

  /** Asks a leader to make way: for somebody, or for whom it likes. */
  transfer(): void {
    const { random, faults, servers } = this.#parts;
    const to = random.chance(0.3) ? null : random.pick(servers).id;
    this.#atLeader(async (node) => {
      const outcome = await node.transferLeadership(to);
      this.#tell(`asks to hand over to ${to ?? "anybody"}: ${outcome.kind}`);
      if (outcome.kind === "done") faults.count("transferred");
    });
  }

  /** A server that is no member, as far as is known. One with files begins with them, or as a new one. */
  #add(server: SimServer): void {
    const { random } = this.#parts;
    const anew = server.life.kind === "absent" || server.life.kind === "refused" || random.chance(0.4);
    const { id } = server;
    const add = (): void => {
      // Now and then a dead one is added.
      if (!random.chance(0.1)) server.start();
      this.#propose({ kind: "add", id, address: this.#addressOf(id) }, () => {
        if (random.chance(0.8)) this.#promote(id);
      });
    };
    if (!anew) add();
    else if (this.#mayLose(server)) this.#join(server, add);
  }

  /** The first ones are where the configuration file says. */
  #addressOf(id: ServerId): string {
    return memberOf(this.#parts.safety.configurations.committedAt(0), id) === null ? spareAddress(id) : "";
  }

  /** Whether nobody counts on what is on its disk: no configuration in force holds it. */
  #mayLose({ id }: SimServer): boolean {
    const { inForce } = this.#parts.safety.configurations;
    return inForce.every((configuration) => memberOf(configuration, id) === null);
  }

  /** As `raftkv --join`: it begins in the term of a leader that is sure to lead and knows that it is no member. */
  #join(server: SimServer, joined: () => void): void {
    const { faults, network, onJoined } = this.#parts;
    const isFirst = server.life.kind === "absent";
    server.leave();
    this.#atLeader(async (node) => {
      const hardState = await hardStateToJoinWith(node, server.id);
      const committed = node.appliedIndex;
      network.carryForClient(() => {
        if (hardState === null || server.life.kind !== "absent" || this.#over) return;
        server.join(hardState, committed);
        onJoined(server);
        if (!isFirst) faults.count("joinedAnew");
        joined();
      });
    });
  }

  #promote(id: ServerId): void {
    this.#propose({ kind: "promote", id }, () => {});
  }

  #remove(id: ServerId): void {
    const { random, servers } = this.#parts;
    this.#propose({ kind: "remove", id }, () => {
      // A frontend stops whom it supervises.
      if (random.chance(0.5)) servers[id]?.kill();
    });
  }

  /** Asks until it is done, and says so then; or until it is refused for good, or too often. */
  #propose(change: ConfigurationChange, done: () => void, attempts = ATTEMPTS): void {
    const { timeline, network, random, faults, tolerates } = this.#parts;
    this.#atLeader(async (node, server) => {
      const { configuration } = node.status();
      if (!tolerates(changed(configuration, change))) return;
      const proposal = node.changeConfiguration(change);
      // Now and then somebody else has the same moment for another one.
      const other: ConfigurationChange = { kind: "remove", id: server.id };
      const alsoAsked = random.chance(0.1) && tolerates(changed(configuration, other));
      const second = alsoAsked ? node.changeConfiguration(other) : null;
      const outcome = await proposal;
      const why = "why" in outcome ? ` (${outcome.why})` : "";
      this.#tell(`asks server ${server.id} to ${change.kind} ${change.id}: ${outcome.kind}${why}`);
      if (outcome.kind === "done") {
        faults.count(COUNTED[change.kind]);
        if (change.kind === "remove" && change.id === server.id) faults.count("leaderRemoved");
      }
      network.carryForClient(() => {
        if (outcome.kind === "done") done();
        else if (attempts > 1 && outcome.kind === "refused" && LATER.has(outcome.why)) {
          timeline.schedule(RETRY_US, () => this.#propose(change, done, attempts - 1));
        }
      });
      await second;
    });
  }

  /** Goes to whoever says that it leads, if anybody does, and does that there. */
  #atLeader(action: (node: Node, server: SimServer) => Promise<void>): void {
    const { network, onFailure } = this.#parts;
    const leader = this.#leader();
    if (leader === null || this.#over) return;
    const { server } = leader;
    network.carryForClient(() => {
      if (server.node === null) return;
      server.process.input(0, () => {
        if (server.node === null || this.#over) return;
        const question = { server, life: server.life };
        this.#questions.add(question);
        action(server.node, server)
          .finally(() => this.#questions.delete(question))
          .catch((error: unknown) => onFailure(error));
      });
    });
  }

  #leader(): { readonly server: SimServer; readonly node: Node } | null {
    const leading = this.#parts.servers.flatMap((server) =>
      server.node?.status().role === "leader" ? [{ server, node: server.node }] : [],
    );
    const [leader] = this.#parts.random.shuffle(leading);
    return leader ?? null;
  }

  #tell(what: string): void {
    this.#parts.onEvent("operator", what);
  }
}

/** What the members would be; the same where the change is none. */
function changed(configuration: Configuration, { kind, id }: ConfigurationChange): Configuration {
  if (kind === "add") return configuration;
  if (kind === "remove") return configuration.filter((member) => member.id !== id);
  return configuration.map((member) => (member.id === id ? { ...member, voter: true } : member));
}

/** null: this one is not sure to lead, or a server `id` is a member, or may be. */
export async function hardStateToJoinWith(node: Node, id: ServerId): Promise<HardState | null> {
  const before = node.status();
  const read = await node.read();
  const after: RaftStatus = node.status();
  const leads =
    before.role === "leader" && after.role === "leader" && before.currentTerm === after.currentTerm;
  const { appliedIndex } = node;
  if (read.kind !== "ready" || !leads || after.configurationIndex > appliedIndex) return null;
  return memberOf(after.configuration, id) === null
    ? hardStateOfJoiner(after.currentTerm, id, appliedIndex)
    : null;
}
