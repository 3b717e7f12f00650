/** The faults that strike servers and links at moments of their own, until the storm is over. */
import type { ServerId } from "../raft/entry.ts";
import type { FaultCounter } from "./fault-counter.ts";
import { MOMENTS, type Moment } from "./moment.ts";
import type { Random } from "./random.ts";
import type { SimNetwork } from "./sim-network.ts";
import type { SimServer } from "./sim-server.ts";
import type { Strike, Swarm } from "./swarm.ts";
import type { Timeline } from "./timeline.ts";

export interface StormParts {
  readonly timeline: Timeline;
  readonly random: Random;
  readonly swarm: Swarm;
  readonly network: SimNetwork;
  readonly servers: readonly [SimServer, ...SimServer[]];
  readonly faults: FaultCounter;
  readonly onEvent: (who: string, what: string, detail?: unknown) => void;
}

const SHORT_US = 50_000;
const LONG_US = 3_000_000;
const AMBUSH_US = 50_000;

export class Storm {
  readonly #parts: StormParts;
  /** Whose files were damaged; never a majority, so that a good copy of everything is left. */
  readonly #damaged = new Set<ServerId>();
  /** Whoever comes to one of these moments next is struck. Rare ones wait long. */
  readonly #ambushes = new Set<Moment>();
  #over = false;

  constructor(parts: StormParts) {
    this.#parts = parts;
    this.#schedule();
  }

  /** Nothing strikes any more; links heal, the stopped go on, the dead are started. */
  end(): void {
    this.#over = true;
    this.#parts.network.heal();
    for (const server of this.#parts.servers) {
      server.resume();
      server.start();
    }
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
        if (!this.#mayDamage(server)) return;
        server.kill();
        void this.#flipBit(server);
        this.#later(() => server.start());
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

  #mayDamage({ id }: SimServer): boolean {
    const most = Math.ceil(this.#parts.servers.length / 2) - 1;
    return this.#damaged.has(id) || this.#damaged.size < most;
  }

  /** In one byte of one file of a server that does not run. */
  async #flipBit(server: SimServer): Promise<void> {
    const { random, onEvent } = this.#parts;
    this.#damaged.add(server.id);
    const { files } = server.disk;
    const logs = (await files.listDirectory(`raft_state/server_${server.id}`)) ?? [];
    const names = logs.filter((name) => name.startsWith("log-")).map((name) => `server_${server.id}/${name}`);
    const [log, ...logsAfter] = random.chance(0.5) ? names : [];
    const name = log === undefined ? `server_${server.id}.json` : random.pick([log, ...logsAfter]);
    const path = `raft_state/${name}`;
    const bytes = await files.readFile(path);
    if (bytes === null || bytes.length === 0) return;
    // Half of the time in a digit: it still reads as a number, and only a checksum can tell.
    const digits = [...bytes.keys()].filter((at) => /[0-9]/.test(String.fromCharCode(bytes[at] ?? 0)));
    const [first, ...others] = random.chance(0.5) ? digits : [];
    const at = first === undefined ? random.int(0, bytes.length - 1) : random.pick([first, ...others]);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << random.int(0, first === undefined ? 7 : 2));
    await files.writeFile(path, bytes);
    await files.syncFile(path);
    server.damaged = true;
    onEvent(`server ${server.id}`, "has a bit flipped", { path, at });
  }

  #later(action: () => void): void {
    const { timeline, random } = this.#parts;
    timeline.schedule(random.skewed(SHORT_US, LONG_US), () => {
      if (!this.#over) action();
    });
  }
}
