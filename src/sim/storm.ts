/** The faults that strike servers and links at moments of their own, until the storm is over. */
import { isSameConfiguration, memberOf, votersOf, type Configuration } from "../raft/configuration.ts";
import type { ServerId } from "../raft/entry.ts";
import type { RaftStatus } from "../raft/raft.ts";
import type { FaultCounter } from "./fault-counter.ts";
import { MOMENTS, type Moment } from "./moment.ts";
import { Operator } from "./operator.ts";
import type { Random } from "./random.ts";
import type { Safety } from "./safety.ts";
import type { SimNetwork } from "./sim-network.ts";
import type { SimServer } from "./sim-server.ts";
import { cutShort, flipBit, loseFiles, type Damage } from "./file-damage.ts";
import { SERVERS_TO_REPLACE_ONE, type Strike, type Swarm } from "./swarm.ts";
import type { Timeline } from "./timeline.ts";

export interface StormParts {
  readonly timeline: Timeline;
  readonly random: Random;
  readonly swarm: Swarm;
  readonly network: SimNetwork;
  readonly servers: readonly [SimServer, ...SimServer[]];
  readonly safety: Safety;
  readonly faults: FaultCounter;
  readonly onEvent: (who: string, what: string, detail?: unknown) => void;
  readonly onFailure: (error: unknown) => void;
}

const SHORT_US = 50_000;
const LONG_US = 3_000_000;
const AMBUSH_US = 50_000;
/** A disk is full when no more than this is left. */
const MAX_ROOM_BYTES = 2000;
/** How often all disks fill up and not one. */
const ALL_FULL = 0.2;

export class Storm {
  readonly #parts: StormParts;
  readonly #operator: Operator;
  /** Whose files were damaged and that has not caught up since; never a majority: a good copy of everything is left. */
  readonly #damaged = new Set<ServerId>();
  /** Whoever comes to one of these moments next is struck. Rare ones wait long. */
  readonly #ambushes = new Set<Moment>();
  /** They will be made anew. */
  readonly #replacing = new Set<ServerId>();
  #over = false;

  constructor(parts: StormParts) {
    this.#parts = parts;
    this.#operator = new Operator({
      ...parts,
      tolerates: (configuration) => this.#tolerates(configuration),
      onJoined: ({ id }) => this.#damaged.delete(id),
    });
    this.#schedule();
  }

  /** Nothing strikes any more; links heal, disks have room, the stopped go on, the dead are started. */
  end(): void {
    this.#over = true;
    this.#operator.end();
    this.#parts.network.heal();
    for (const server of this.#parts.servers) {
      server.disk.makeRoom();
      server.resume();
      server.start();
    }
  }

  /** Whether an operator is about something. */
  get isOperated(): boolean {
    return this.#replacing.size > 0 || this.#operator.isWaiting;
  }

  /** `server` will not start with the files that it has. */
  refused(server: SimServer): void {
    this.#later(() => {
      if (!this.replace(server)) this.refused(server);
    });
  }

  /** `server`, which had been made anew, is one like the others again. */
  caughtUp({ id }: SimServer): void {
    this.#damaged.delete(id);
  }

  /**
   * An operator makes a server anew that refused to start: asks all other members for their terms and who belongs to
   * the cluster, on which they have to agree, then makes its files. False: it need not be, or cannot be now.
   */
  replace(server: SimServer): boolean {
    const { random, timeline, faults } = this.#parts;
    if (server.life.kind !== "refused" || this.#replacing.has(server.id)) return false;
    const others = this.#othersWhoAgree(server.id);
    const [first] = others ?? [];
    if (others === null || first === undefined) return false;
    const terms = others.map(({ currentTerm }) => currentTerm);
    const since = Math.max(...others.map(({ configurationIndex }) => configurationIndex));
    this.#replacing.add(server.id);
    timeline.schedule(random.skewed(0, SHORT_US), () => {
      this.#replacing.delete(server.id);
      if (server.life.kind !== "refused") return;
      server.makeAnew(Math.max(...terms), first.configuration, since);
      faults.count("replaced");
    });
    return true;
  }

  /** Every other member of the cluster that `id` belongs to; null: one does not answer, abstains, or goes by another configuration. */
  #othersWhoAgree(id: ServerId): readonly RaftStatus[] | null {
    const answers = this.#parts.servers.flatMap(({ node, isPaused }) =>
      node === null || isPaused ? [] : [node.status()],
    );
    const leader = answers.find(({ role }) => role === "leader") ?? answers[0];
    if (leader === undefined) return null;
    const { configuration } = leader;
    if (memberOf(configuration, id) === null) return null;
    if (votersOf(configuration).length < SERVERS_TO_REPLACE_ONE) return null;
    const others = answers.filter(
      (status) => status.id !== id && memberOf(configuration, status.id) !== null,
    );
    const agree = others.every(
      (status) => !status.abstains && isSameConfiguration(status.configuration, configuration),
    );
    return agree && others.length === configuration.length - 1 ? others : null;
  }

  #schedule(): void {
    const { timeline, random, swarm } = this.#parts;
    const [first, ...others] = swarm.strikes;
    if (first === undefined) return;
    timeline.schedule(random.int(1, 2 * swarm.faultEveryUs), () => {
      if (this.#over) return;
      this.#strike(random.pick([first, ...others]));
      this.#schedule();
    });
  }

  #strike(kind: Strike): void {
    const { random, servers, faults } = this.#parts;
    const server = random.pick(servers);
    switch (kind) {
      case "partition":
        if (servers.length < 2) return;
        this.#partition();
        break;
      case "oneWayPartition":
        if (servers.length < 2) return;
        this.#cutOneWay(server);
        break;
      case "partialPartition":
        if (servers.length < 2) return;
        this.#cutPair();
        break;
      case "stop":
        if (server.node === null || server.isPaused) return;
        server.stop();
        break;
      case "kill":
        server.kill();
        this.#later(() => server.start());
        break;
      case "powerLoss":
        server.losePower();
        this.#later(() => server.start());
        break;
      case "totalPowerLoss":
        for (const each of servers) {
          each.losePower();
          this.#later(() => each.start());
        }
        break;
      case "pause":
        server.pause();
        this.#later(() => server.resume());
        break;
      case "ambush":
        this.#ambushes.add(random.pick(MOMENTS));
        return;
      case "bitFlip":
        if (!this.#damage(server, flipBit)) return;
        break;
      case "truncation":
        if (!this.#damage(server, cutShort)) return;
        break;
      case "diskLost":
        if (!this.#damage(server, random.chance(0.5) ? loseFiles : loseAll)) return;
        break;
      case "diskFull":
        // All at once, as when they are on one disk.
        for (const each of random.chance(ALL_FULL) ? servers : [server]) this.#fill(each);
        // Counted when something finds no room.
        return;
      case "membership":
        this.#operator.change();
        break;
      case "transfer":
        this.#operator.transfer();
        break;
    }
    faults.count(kind);
  }

  /** `server` is at such a moment; if an ambush waits for one, the server dies during it or a little later. */
  strikeAt(server: SimServer, moment: Moment): void {
    const { timeline, random, faults } = this.#parts;
    if (this.#over || !this.#ambushes.delete(moment)) return;
    faults.count("ambush");
    timeline.schedule(random.skewed(0, AMBUSH_US), () => this.#crash(server));
    // A second time soon after it has come back, perhaps before it has done anything.
    if (random.chance(0.5))
      timeline.schedule(random.int(AMBUSH_US, 10 * AMBUSH_US), () => this.#crash(server));
  }

  #crash(server: SimServer): void {
    if (this.#over) return;
    if (this.#parts.random.chance(0.3)) server.kill();
    else server.losePower();
    if (this.#parts.random.chance(0.5)) server.start();
    else this.#later(() => server.start());
  }

  /** Two groups that do not hear each other. */
  #partition(): void {
    const { random, servers, network } = this.#parts;
    const shuffled = random.shuffle(servers);
    const size = random.int(1, servers.length - 1);
    const [left, right] = [shuffled.slice(0, size), shuffled.slice(size)];
    for (const a of left) {
      for (const b of right) {
        network.cut(a.id, b.id);
        network.cut(b.id, a.id);
      }
    }
    this.#tellCut(left.map(({ id }) => id));
  }

  /** It hears nobody, or nobody hears it. */
  #cutOneWay(server: SimServer): void {
    const { random, servers, network } = this.#parts;
    const deaf = random.chance(0.5);
    for (const other of servers) {
      if (deaf) network.cut(other.id, server.id);
      else network.cut(server.id, other.id);
    }
    this.#tellCut([server.id], deaf ? "deaf" : "mute");
  }

  /** Two that do not hear each other, while all others hear both. */
  #cutPair(): void {
    const { random, servers, network } = this.#parts;
    const [a, b] = random.shuffle(servers);
    if (a === undefined || b === undefined) return;
    network.cut(a.id, b.id);
    network.cut(b.id, a.id);
    this.#tellCut([a.id, b.id], "from each other");
  }

  #tellCut(ids: readonly ServerId[], how = "from the others"): void {
    this.#parts.onEvent("network", `cuts off ${ids.join(", ")} ${how}`);
    this.#later(() => {
      this.#parts.onEvent("network", "heals");
      this.#parts.network.heal();
    });
  }

  #fill(server: SimServer): void {
    if (server.disk.isFull) return;
    const roomBytes = this.#parts.random.int(0, MAX_ROOM_BYTES);
    server.disk.fill(roomBytes);
    this.#parts.onEvent(`server ${server.id}`, "has a full disk", { roomBytes });
    this.#later(() => {
      server.disk.makeRoom();
      this.#parts.onEvent(`server ${server.id}`, "has room on its disk");
    });
  }

  /** Stops the server, does that to its files and starts it again. False: too many are damaged already. */
  #damage(server: SimServer, damage: Damage): boolean {
    const { random, onEvent, safety } = this.#parts;
    if (server.life.kind === "absent") return false;
    const damagedToo = new Set([...this.#damaged, server.id]);
    if (!safety.configurations.inForce.every((each) => this.#tolerates(each, damagedToo))) return false;
    server.kill();
    const what = damage({ disk: server.disk, serverId: server.id, random });
    this.#later(() => server.start());
    if (what === null) return true;
    this.#damaged.add(server.id);
    server.damaged = true;
    onEvent(`server ${server.id}`, what);
    return true;
  }

  /** Whether a majority of its voters is without damage. */
  #tolerates(configuration: Configuration, damaged: ReadonlySet<ServerId> = this.#damaged): boolean {
    const voters = votersOf(configuration);
    return (
      voters.filter((voter) => damaged.has(voter)).length <= Math.max(0, Math.ceil(voters.length / 2) - 1)
    );
  }

  #later(action: () => void): void {
    const { timeline, random } = this.#parts;
    timeline.schedule(random.skewed(SHORT_US, LONG_US), () => {
      if (!this.#over) action();
    });
  }
}

const loseAll: Damage = ({ disk }) => {
  disk.replace();
  return "loses its disk";
};
