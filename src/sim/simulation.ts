/**
 * One simulated cluster, from creation through a storm of faults to calm: the production node, core,
 * storage and state machine, in virtual time. One seed decides everything.
 *
 *   storm   clients work, faults strike; safety is checked after every event
 *   calm    everything is healed; all must agree within CONVERGENCE_US
 *   acts    a follower is cut off, or from the leader only, or stopped for a while: the leader must stay (E7,
 *           E9, E11); then the leader is killed: there must soon be another (E10)
 *   end     equal state everywhere; every acknowledged write is there; the history is linearizable
 */
import { drainMicrotasks } from "bun:jsc";
import { defined } from "../base/assert.ts";
import type { ServerId } from "../raft/entry.ts";
import { majority } from "../raft/quorum.ts";
import { FaultCounter } from "./fault-counter.ts";
import { History } from "./history.ts";
import { checkLinearizability } from "./linearizability.ts";
import type { Moment } from "./moment.ts";
import { Random } from "./random.ts";
import { Safety } from "./safety.ts";
import { SimClient, type ClientKind } from "./sim-client.ts";
import { SimDisk } from "./sim-disk.ts";
import { SimNetwork } from "./sim-network.ts";
import { SimServer } from "./sim-server.ts";
import { Storm } from "./storm.ts";
import { drawSwarm, enabledFaults, type FaultKind, type Swarm } from "./swarm.ts";
import { Timeline } from "./timeline.ts";
import { Trace, type TraceEvent } from "./trace.ts";
import { require, Violation } from "./violation.ts";

/** Twenty election timeouts. */
const CONVERGENCE_US = 20 * 300_000;
/** How long an act keeps a follower away, and how long the rest then has to show that it does not matter. */
const ACT_US = 1_200_000;
/** Two election timeouts, by the slowest clock, and a few ticks. */
const MAJORITY_MISSED_US = 2 * 300_000 * 1.1 + 100_000;
/** One election timeout, by the slowest clock, and a few ticks. */
const SILENCE_US = 300_000 * 1.1 + 100_000;
/** A few turns of the event loop. */
const DISMISSED_US = 1000;
const MAX_EVENTS = 3_000_000;

export interface SimulationOptions {
  readonly seed: number;
  /** In place of what the seed would draw. */
  readonly swarm?: Swarm;
  /** Sees every event as it happens. */
  readonly onTrace?: (event: TraceEvent) => void;
}

export interface SimulationResult {
  readonly seed: number;
  readonly swarm: Swarm;
  readonly hash: string;
  readonly events: number;
  readonly virtualUs: number;
  readonly elections: number;
  readonly operations: { readonly done: number; readonly unknown: number; readonly failed: number };
  readonly enabled: readonly FaultKind[];
  readonly faults: FaultCounter;
  /** null: every property held. */
  readonly violation: Violation | null;
  /** What happened last, oldest first. */
  readonly lastEvents: readonly TraceEvent[];
}

/** What happens to one follower in the calm, which must not matter to the others. */
interface Act {
  readonly what: string;
  readonly leave: (follower: SimServer, leader: SimServer) => void;
  readonly comeBack: (follower: SimServer) => void;
  /** Back again, it may stand for election; for nothing, as the others hear their leader. */
  readonly mayStand: boolean;
}

const LAST_EVENTS = 60;
const CLIENT_KINDS: readonly [ClientKind, ...ClientKind[]] = [
  "namesRequests",
  "reusesName",
  "routed",
  "nameless",
];

/** What the seed draws for itself. */
export function swarmOf(seed: number): Swarm {
  return drawSwarm(new Random(seed, 1));
}

/** Runs one seed to its end, or to the first violation. Synchronous: nothing outside takes part. */
export function simulate(options: SimulationOptions): SimulationResult {
  const simulation = new Simulation(options);
  const violation = simulation.run();
  return simulation.result(violation);
}

class Simulation {
  readonly #seed: number;
  readonly #swarm: Swarm;
  readonly #timeline = new Timeline();
  readonly #random: Random;
  readonly #trace: Trace;
  readonly #faults = new FaultCounter();
  readonly #history = new History();
  readonly #safety: Safety;
  readonly #network: SimNetwork;
  readonly #servers: readonly [SimServer, ...SimServer[]];
  #clients: readonly SimClient[] = [];
  #storm: Storm | null = null;
  #ran: SimServer | null = null;
  #failure: unknown = null;
  #events = 0;
  #elections = 0;
  /** "leader<peer": when the leader last heard from it, in microseconds. */
  readonly #heard = new Map<string, number>();
  readonly #leadsSince = new Map<ServerId, { readonly term: number; readonly sinceUs: number }>();

  constructor({ seed, swarm, onTrace }: SimulationOptions) {
    this.#seed = seed;
    this.#swarm = swarm ?? swarmOf(seed);
    this.#random = new Random(seed, 2);
    this.#trace = new Trace(onTrace ?? null);
    this.#safety = new Safety(this.#swarm.servers);
    this.#network = this.#newNetwork();
    this.#servers = this.#newServers();
  }

  #newNetwork(): SimNetwork {
    return new SimNetwork(
      {
        timeline: this.#timeline,
        random: this.#random,
        faults: this.#faults,
        endpoint: (id) => (this.#servers[id]?.node === null ? null : (this.#servers[id] ?? null)),
        onMessage: (from, to, message, fate) => {
          this.#tell("network", `${message.kind} ${from}->${to} ${fate}`, message);
        },
        onReply: (from, to) => this.#heard.set(`${from}<${to}`, this.#timeline.nowUs),
      },
      this.#swarm.network,
    );
  }

  #newServers(): readonly [SimServer, ...SimServer[]] {
    const { servers, disk, clockSkew } = this.#swarm;
    const parts = {
      timeline: this.#timeline,
      random: this.#random,
      swarm: this.#swarm,
      network: this.#network,
      safety: this.#safety,
      newDisk: (onMoment: (moment: Moment) => void) =>
        new SimDisk(this.#random, disk, this.#faults, onMoment),
      onEvent: (who: string, what: string, detail?: unknown) => this.#tell(who, what, detail),
      onRan: (server: SimServer) => (this.#ran = server),
      onMoment: (server: SimServer, moment: Moment) => this.#storm?.strikeAt(server, moment),
      onFailure: (error: unknown) => (this.#failure ??= error),
    };
    const newServer = (id: ServerId): SimServer => {
      const rate = 1 + (clockSkew * this.#random.int(-100, 100)) / 100;
      if (rate !== 1) this.#faults.count("clockSkew");
      return new SimServer(id, rate, parts);
    };
    return [newServer(0), ...Array.from({ length: servers - 1 }, (_, i) => newServer(i + 1))];
  }

  /** The violation that ended the run, or null. */
  run(): Violation | null {
    try {
      this.#create();
      const storm = this.#begin();
      this.#storm = storm;
      this.#runUntil(this.#swarm.stormUs, () => false);
      this.#calm(storm);
      const acted = this.#timeline.nowUs;
      for (const act of this.#acts()) this.#act(act);
      this.#killLeader();
      this.#trace.mix(this.#timeline.nowUs - acted);
      this.#checkEnd();
      return null;
    } catch (error) {
      if (error instanceof Violation) return error;
      const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
      return new Violation("No crash", message);
    }
  }

  result(violation: Violation | null): SimulationResult {
    const operations = this.#history.operations.filter(({ kind }) => kind === "put" || kind === "get");
    const count = (...kinds: readonly string[]): number =>
      operations.filter(({ outcome }) => kinds.includes(outcome.kind)).length;
    return {
      seed: this.#seed,
      swarm: this.#swarm,
      hash: this.#trace.hash,
      events: this.#events,
      virtualUs: this.#timeline.nowUs,
      elections: this.#elections,
      operations: { done: count("ok"), unknown: count("unknown", "unanswered"), failed: count("failed") },
      enabled: enabledFaults(this.#swarm),
      faults: this.#faults,
      violation,
      lastEvents: this.#trace.last(LAST_EVENTS),
    };
  }

  #create(): void {
    const ids = this.#servers.map(({ id }) => id);
    for (const server of this.#servers) {
      void server.create(ids).catch((error: unknown) => (this.#failure ??= error));
    }
    drainMicrotasks();
    this.#throwFailure();
    for (const server of this.#servers) {
      server.disk.processDied();
      server.start();
    }
  }

  #begin(): Storm {
    const parts = {
      timeline: this.#timeline,
      random: this.#random,
      swarm: this.#swarm,
      network: this.#network,
      servers: this.#servers,
      history: this.#history,
      faults: this.#faults,
      onAcknowledged: (command: Parameters<Safety["acknowledged"]>[0]) => this.#safety.acknowledged(command),
      onEvent: (who: string, what: string, detail?: unknown) => this.#tell(who, what, detail),
    };
    this.#clients = Array.from(
      { length: this.#swarm.clients },
      (_, id) => new SimClient(id, this.#random.pick(CLIENT_KINDS), parts),
    );
    return new Storm(parts);
  }

  /** Runs events until `durationUs` have passed or `done` says so. Whether it did. */
  #runUntil(durationUs: number, done: () => boolean): boolean {
    const untilUs = this.#timeline.nowUs + durationUs;
    while (this.#timeline.nowUs < untilUs) {
      const action = defined(this.#timeline.next(), "a cluster always has something to do");
      this.#events += 1;
      require("Convergence", this.#events < MAX_EVENTS, () => `more than ${MAX_EVENTS} events`);
      action();
      drainMicrotasks();
      this.#throwFailure();
      if (this.#ran === null) continue;
      this.#checkAfter(this.#ran);
      this.#ran = null;
      if (done()) return true;
    }
    return false;
  }

  #throwFailure(): void {
    if (this.#failure !== null) throw this.#failure;
  }

  #checkAfter(server: SimServer): void {
    const { node, id } = server;
    if (node === null) return;
    this.#safety.stepped(id, node);
    const { role, currentTerm, commitIndex, lastLogIndex } = node.status();
    this.#trace.mix(id);
    this.#trace.mix(currentTerm);
    this.#trace.mix(commitIndex * 4096 + lastLogIndex);
    if (role === "leader") {
      this.#checkHearsMajority(server, currentTerm);
      server.stoppedLeadingUs = null;
    } else this.#checkNobodyWaits(server);
    if (role === "follower") this.#checkStands(server);
    else server.calmedUs = this.#timeline.nowUs;
    if (node.leaderRead("k1").kind === "value") this.#safety.serving(id, currentTerm, node.appliedIndex);
  }

  /** E4: a follower that hears no leader and gives no vote stands for election, whatever else it hears. */
  #checkStands({ id, calmedUs }: SimServer): void {
    const silentUs = this.#timeline.nowUs - calmedUs;
    require("Follower without a leader stands for election", silentUs < SILENCE_US, () => {
      return `server ${id} has heard no leader for ${silentUs / 1e3} ms and stays a follower`;
    });
  }

  /** C5: who no longer leads has told every client that waited. */
  #checkNobodyWaits(server: SimServer): void {
    const { id, waitingCount, resumedUs } = server;
    server.stoppedLeadingUs ??= this.#timeline.nowUs;
    const sinceUs = this.#timeline.nowUs - Math.max(server.stoppedLeadingUs, resumedUs);
    require("Waiting clients are answered", waitingCount === 0 || sinceUs < DISMISSED_US, () => {
      return `${waitingCount} clients wait at server ${id}, which has not led for ${sinceUs / 1e3} ms`;
    });
  }

  /** E8: who leads has heard a majority not long ago, or has only just begun to lead or to run again. */
  #checkHearsMajority({ id, resumedUs }: SimServer, term: number): void {
    const nowUs = this.#timeline.nowUs;
    if (this.#leadsSince.get(id)?.term !== term) {
      this.#elections += 1;
      this.#leadsSince.set(id, { term, sinceUs: nowUs });
    }
    const sinceUs = Math.max(resumedUs, this.#leadsSince.get(id)?.sinceUs ?? 0);
    if (nowUs - sinceUs < MAJORITY_MISSED_US) return;
    const heard = this.#servers.filter(
      (peer) => peer.id !== id && nowUs - (this.#heard.get(`${id}<${peer.id}`) ?? 0) < MAJORITY_MISSED_US,
    );
    require("Leader without a majority steps down", heard.length + 1 >= majority(this.#swarm.servers), () => {
      return `server ${id} still leads term ${term} and has heard only ${heard.length} others lately`;
    });
  }

  /** Everything is healed, and the living must agree soon. */
  #calm(storm: Storm): void {
    this.#tell("network", "is calm from now on");
    const { network, disk } = this.#swarm;
    this.#network.trouble = { ...network, loss: 0, duplication: 0, delay: 0 };
    for (const server of this.#servers) server.disk.trouble = { ...disk, fsyncError: 0, slow: 0 };
    for (const client of this.#clients) client.stop();
    storm.end();
    const converged = this.#runUntil(CONVERGENCE_US, () => this.#hasConverged());
    require("Convergence", converged, () =>
      `no agreement ${CONVERGENCE_US / 1e6} s after healing: ${this.#describe()}`);
    this.#tell("cluster", "has converged");
  }

  #hasConverged(): boolean {
    const living = this.#servers.filter(({ life }) => life.kind !== "refused");
    const states = living.flatMap(({ node }) =>
      node === null ? [] : [{ ...node.status(), applied: node.appliedIndex }],
    );
    if (states.length < living.length) return false;
    const leader = states.find(({ role }) => role === "leader");
    if (leader === undefined || !this.#clients.every((client) => client.idle)) return false;
    return states.every(
      ({ currentTerm, lastLogIndex, applied, role }) =>
        currentTerm === leader.currentTerm &&
        lastLogIndex === leader.lastLogIndex &&
        applied === leader.lastLogIndex &&
        (role === "leader" || role === "follower"),
    );
  }

  #acts(): readonly Act[] {
    return [
      {
        what: "is cut off",
        leave: (follower) => this.#isolate(follower),
        comeBack: () => this.#network.heal(),
        mayStand: true,
      },
      {
        what: "is cut off from the leader",
        leave: (follower, leader) => {
          this.#network.cut(follower.id, leader.id);
          this.#network.cut(leader.id, follower.id);
        },
        comeBack: () => this.#network.heal(),
        mayStand: true,
      },
      {
        what: "is stopped",
        leave: (follower) => follower.pause(),
        comeBack: (follower) => follower.resume(),
        mayStand: false,
      },
    ];
  }

  /** A follower goes away and comes back; the leader does not change. Needs a majority without it. */
  #act({ what, leave, comeBack, mayStand }: Act): void {
    const living = this.#servers.filter(({ node }) => node !== null);
    const leader = living.find(({ node }) => node?.status().role === "leader");
    const others = living.filter((server) => server !== leader);
    const follower = this.#random.shuffle(others)[0];
    if (leader === undefined || follower === undefined) return;
    if (living.length - 1 < majority(this.#swarm.servers)) return;
    const term = leader.node?.status().currentTerm;
    this.#tell(`server ${follower.id}`, what);
    leave(follower, leader);
    this.#runUntil(ACT_US, () => false);
    comeBack(follower);
    const stood = this.#runUntil(ACT_US, () => !mayStand && follower.node?.status().role !== "follower");
    const now = leader.node?.status();
    require("Stable leader", !stood && now?.role === "leader" && now.currentTerm === term, () => {
      return `follower ${follower.id} ${what} for ${ACT_US / 1e6} s and came back; server ${leader.id} led term ${term}: ${this.#describe()}`;
    });
    require("Convergence", this.#hasConverged(), () => `after an act: ${this.#describe()}`);
  }

  /**
   * The leader dies; the others elect one of themselves, and it comes back. Everything takes equally long
   * now, so that no jitter parts those who stand at the same time: only their timers can (E10).
   */
  #killLeader(): void {
    const living = this.#servers.filter(({ node }) => node !== null);
    const leader = living.find(({ node }) => node?.status().role === "leader");
    if (leader === undefined || living.length - 1 < majority(this.#swarm.servers)) return;
    const { network, disk } = this.#swarm;
    this.#network.trouble = { ...this.#network.trouble, latencyMaxUs: network.latencyMinUs };
    for (const each of this.#servers) {
      each.disk.trouble = { ...each.disk.trouble, latencyMaxUs: disk.latencyMinUs };
    }
    leader.kill();
    const elected = (): boolean => living.some(({ node }) => node?.status().role === "leader");
    require("Convergence", this.#runUntil(CONVERGENCE_US, elected), () =>
      `no leader ${CONVERGENCE_US / 1e6} s after server ${leader.id} was killed: ${this.#describe()}`);
    leader.start();
    require("Convergence", this.#runUntil(CONVERGENCE_US, () => this.#hasConverged()), () =>
      `no agreement ${CONVERGENCE_US / 1e6} s after server ${leader.id} was killed: ${this.#describe()}`);
  }

  #isolate(server: SimServer): void {
    for (const other of this.#servers) {
      this.#network.cut(server.id, other.id);
      this.#network.cut(other.id, server.id);
    }
  }

  #checkEnd(): void {
    const machines = this.#servers.flatMap(({ id, life }) =>
      life.kind === "up" ? [{ id, digest: life.machine.digest() }] : [],
    );
    const [first] = machines;
    for (const { id, digest } of machines) {
      require("State Machine Safety", digest === first?.digest, () =>
        `servers ${first?.id} and ${id} end in different states`);
    }
    const verdict = checkLinearizability(this.#history.operations);
    if (verdict.kind === "linearizable") return;
    throw new Violation(
      "Linearizability",
      verdict.kind === "violation" ? verdict.explanation.join("\n") : `key ${verdict.key}: undecided`,
    );
  }

  #describe(): string {
    return this.#servers
      .map(({ id, life, node }) => {
        if (node === null) return `${id} ${life.kind}`;
        const { role, currentTerm, commitIndex, lastLogIndex } = node.status();
        return `${id} ${role} t${currentTerm} ${commitIndex}/${lastLogIndex}`;
      })
      .concat(this.#clients.every((client) => client.idle) ? [] : ["a client still waits"])
      .join(", ");
  }

  #tell(who: string, what: string, detail?: unknown): void {
    this.#trace.add({ atUs: this.#timeline.nowUs, who, what, detail });
  }
}
