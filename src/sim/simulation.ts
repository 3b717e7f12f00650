/**
 * One simulated cluster, from creation through a storm of faults to calm: the production node, core,
 * storage and state machine, in virtual time. One seed decides everything.
 *
 *   storm   clients work, faults strike; safety is checked after every event
 *   calm    everything is healed; all must agree soon (calm.ts)
 *   acts    one thing goes wrong at a time, with nothing else in its way (acts.ts)
 *   end     equal state everywhere; every acknowledged write is there; the history is linearizable
 */
import { drainMicrotasks } from "bun:jsc";
import { defined } from "../base/assert.ts";
import type { ServerId } from "../raft/entry.ts";
import { initialConfiguration } from "../raft/configuration.ts";
import { hasMajority } from "../raft/quorum.ts";
import type { RaftStatus } from "../raft/raft.ts";
import { Acts } from "./acts.ts";
import { Calm } from "./calm.ts";
import { FaultCounter } from "./fault-counter.ts";
import { History } from "./history.ts";
import { checkLinearizability } from "./linearizability.ts";
import type { Moment } from "./moment.ts";
import { Random } from "./random.ts";
import { Safety } from "./safety.ts";
import { SimClient, type ClientKind } from "./sim-client.ts";
import { SimFrontend } from "./sim-frontend.ts";
import { SimDisk } from "./sim-disk.ts";
import { SimNetwork } from "./sim-network.ts";
import { isVoter, SimServer } from "./sim-server.ts";
import { Storm } from "./storm.ts";
import { drawSwarm, enabledFaults, LARGE_WINDOW, type FaultKind, type Swarm } from "./swarm.ts";
import { Timeline } from "./timeline.ts";
import { Trace, type TraceEvent } from "./trace.ts";
import { require, Violation } from "./violation.ts";

/** Two election timeouts, by the slowest clock, and a few ticks. */
const MAJORITY_MISSED_US = 2 * 300_000 * 1.1 + 100_000;
/** One election timeout, by the slowest clock, and a few ticks. */
const SILENCE_US = 300_000 * 1.1 + 100_000;
/** How much longer a server without room may take: one more such timeout. */
const PATIENCE_US = 300_000 * 1.1;
/** A few turns of the event loop. */
const DISMISSED_US = 1000;
/** A transfer of leadership is given up after an election timeout, by the slowest clock. */
const TRANSFER_US = 300_000 * 1.1 + 100_000;
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

const LAST_EVENTS = 60;
const CLIENT_KINDS: readonly [ClientKind, ...ClientKind[]] = [
  "namesRequests",
  "reusesName",
  "routed",
  "nameless",
];
/** Of those whose writes a small window may forget before their next attempt, frontends make good for it. */
const FRONTEND_CLIENT_KINDS: readonly [ClientKind, ...ClientKind[]] = ["reusesName", "routed", "nameless"];

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
  /** By leader and peer: when the one last heard from the other, in microseconds. */
  readonly #heard = new Map<ServerId, Map<ServerId, number>>();
  readonly #leadsSince = new Map<ServerId, { readonly term: number; readonly sinceUs: number }>();
  /** By leader: since when it has been handing over, in microseconds. */
  readonly #handsOverSince = new Map<ServerId, number>();
  /** By leader: since when it has known that it was removed. */
  readonly #removedSince = new Map<ServerId, number>();

  constructor({ seed, swarm, onTrace }: SimulationOptions) {
    this.#seed = seed;
    this.#swarm = swarm ?? swarmOf(seed);
    this.#random = new Random(seed, 2);
    this.#trace = new Trace(onTrace ?? null);
    this.#safety = new Safety({
      founders: initialConfiguration(range(this.#swarm.servers)),
      machine: this.#swarm.memory,
    });
    this.#network = this.#newNetwork();
    this.#servers = this.#newServers();
  }

  #newNetwork(): SimNetwork {
    return new SimNetwork(
      {
        timeline: this.#timeline,
        random: this.#random,
        faults: this.#faults,
        endpoint: (id) => ((this.#servers[id]?.node ?? null) === null ? null : (this.#servers[id] ?? null)),
        onMessage: (from, to, message, fate) => {
          this.#tell("network", `${message.kind} ${from}->${to} ${fate}`, message);
        },
        onReply: (from, to) => this.#heardBy(from).set(to, this.#timeline.nowUs),
      },
      this.#swarm.network,
    );
  }

  #newServers(): readonly [SimServer, ...SimServer[]] {
    const { servers, spares, disk, clockSkew } = this.#swarm;
    const parts = {
      timeline: this.#timeline,
      random: this.#random,
      swarm: this.#swarm,
      network: this.#network,
      safety: this.#safety,
      faults: this.#faults,
      newDisk: (onMoment: (moment: Moment) => void) =>
        new SimDisk(this.#random, disk, this.#faults, onMoment),
      onEvent: (who: string, what: string, detail?: unknown) => this.#tell(who, what, detail),
      onRan: (server: SimServer) => (this.#ran = server),
      onMoment: (server: SimServer, moment: Moment) => this.#storm?.strikeAt(server, moment),
      onRefused: (server: SimServer) => this.#storm?.refused(server),
      onCaughtUp: (server: SimServer) => this.#storm?.caughtUp(server),
      onFailure: (error: unknown) => (this.#failure ??= error),
    };
    const newServer = (id: ServerId): SimServer => {
      const rate = 1 + (clockSkew * this.#random.int(-100, 100)) / 100;
      if (rate !== 1) this.#faults.count("clockSkew");
      return new SimServer(id, rate, parts);
    };
    return [newServer(0), ...range(servers + spares - 1).map((i) => newServer(i + 1))];
  }

  /** The violation that ended the run, or null. */
  run(): Violation | null {
    try {
      this.#create();
      const storm = this.#begin();
      this.#storm = storm;
      this.#runUntil(this.#swarm.stormUs, () => false);
      const calm = this.#newCalm(storm);
      calm.begin();
      const acted = this.#timeline.nowUs;
      new Acts(calm).play();
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
    const founders = initialConfiguration(range(this.#swarm.servers));
    for (const { id } of founders) this.#servers[id]?.create(founders);
    this.#throwFailure();
    for (const server of this.#servers) server.start();
  }

  #begin(): Storm {
    const parts = {
      timeline: this.#timeline,
      random: this.#random,
      swarm: this.#swarm,
      network: this.#network,
      servers: this.#servers,
      safety: this.#safety,
      history: this.#history,
      faults: this.#faults,
      onEvent: (who: string, what: string, detail?: unknown) => this.#tell(who, what, detail),
      onFailure: (error: unknown) => (this.#failure ??= error),
    };
    const frontends = this.#newFrontends();
    const kinds = this.#swarm.memory.window < LARGE_WINDOW ? FRONTEND_CLIENT_KINDS : CLIENT_KINDS;
    this.#clients = range(this.#swarm.clients).map((id) => {
      const frontend = this.#random.pick(frontends);
      return new SimClient(id, this.#random.pick(kinds), { ...parts, frontend });
    });
    return new Storm(parts);
  }

  #newFrontends(): readonly [SimFrontend, ...SimFrontend[]] {
    const { frontends, frontendRestart: restart } = this.#swarm;
    let lastRouterId = 0;
    const nextRouterId = (): number => (lastRouterId += 1);
    const newFrontend = (): SimFrontend => new SimFrontend(this.#random, restart, nextRouterId);
    return [newFrontend(), ...range(frontends - 1).map(newFrontend)];
  }

  #newCalm(storm: Storm): Calm {
    return new Calm({
      timeline: this.#timeline,
      random: this.#random,
      swarm: this.#swarm,
      network: this.#network,
      servers: this.#servers,
      clients: this.#clients,
      safety: this.#safety,
      storm,
      runUntil: (durationUs, done) => this.#runUntil(durationUs, done),
      onEvent: (who, what, detail) => this.#tell(who, what, detail),
      onFailure: (error) => (this.#failure ??= error),
    });
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
    const status = this.#safety.stepped(id, node);
    const { role, currentTerm, commitIndex, lastLogIndex, diskFull } = status;
    this.#trace.mix(id);
    this.#trace.mix(currentTerm);
    this.#trace.mix(commitIndex * 4096 + lastLogIndex);
    if (server.isStopping) return;
    if (role === "leader") {
      this.#checkHearsMajority(server, status);
      this.#checkMakesWay(server, status);
      server.stoppedLeadingUs = null;
    } else this.#checkNobodyWaits(server);
    if (diskFull) server.fullUs = this.#timeline.nowUs;
    const mayStand = isVoter(status) && !this.#safety.votes.abstains(id);
    if (role === "follower" && mayStand && !server.receivesSnapshot) this.#checkStands(server);
    else server.calmedUs = this.#timeline.nowUs;
  }

  /** E4: a follower that hears no leader and gives no vote stands for election, whatever else it hears. */
  #checkStands({ id, calmedUs, fullUs }: SimServer): void {
    const silentUs = this.#timeline.nowUs - calmedUs;
    const allowedUs = SILENCE_US + (fullUs < calmedUs ? 0 : PATIENCE_US);
    require("Follower without a leader stands for election", silentUs < allowedUs, () => {
      return `server ${id} has heard no leader for ${silentUs / 1e3} ms and stays a follower`;
    });
  }

  /** C5: who no longer leads has told every client that waited. */
  #checkNobodyWaits(server: SimServer): void {
    const { id, resumedUs } = server;
    server.stoppedLeadingUs ??= this.#timeline.nowUs;
    const waitingCount = server.waitingCount(server.stoppedLeadingUs);
    const sinceUs = this.#timeline.nowUs - Math.max(server.stoppedLeadingUs, resumedUs);
    require("Waiting clients are answered", waitingCount === 0 || sinceUs < DISMISSED_US, () => {
      return `${waitingCount} clients wait at server ${id}, which has not led for ${sinceUs / 1e3} ms`;
    });
  }

  /** E8: who leads has heard a majority not long ago, or has only just begun to lead or to run again. */
  #checkHearsMajority({ id, resumedUs }: SimServer, { currentTerm: term }: RaftStatus): void {
    const nowUs = this.#timeline.nowUs;
    if (this.#leadsSince.get(id)?.term !== term) {
      this.#elections += 1;
      this.#leadsSince.set(id, { term, sinceUs: nowUs });
    }
    const sinceUs = Math.max(resumedUs, this.#leadsSince.get(id)?.sinceUs ?? 0);
    if (nowUs - sinceUs < MAJORITY_MISSED_US) return;
    const lately = [...this.#heardBy(id)].filter(([, atUs]) => nowUs - atUs < MAJORITY_MISSED_US);
    const heard = new Set([id, ...lately.map(([other]) => other)]);
    require("Leader without a majority steps down", hasMajority(
      this.#safety.configurations.votersOf(id),
      heard,
    ), () => {
      return `server ${id} still leads term ${term} and has heard only [${[...heard].join()}] lately`;
    });
  }

  /** A leader that hands over, or that was removed (M4), does so soon, or goes on as before. */
  #checkMakesWay({ id, resumedUs, transferFailedUs }: SimServer, status: RaftStatus): void {
    const { currentTerm, transferTo, commitIndex } = status;
    const nowUs = this.#timeline.nowUs;
    const removed = !isVoter(status) && this.#safety.configurations.of(id).index <= commitIndex;
    const waits = [
      [this.#handsOverSince, transferTo !== null, `hands over to ${transferTo}`],
      [this.#removedSince, removed, "was removed"],
    ] as const;
    for (const [since, does, what] of waits) {
      const leadsUs = this.#leadsSince.get(id)?.sinceUs ?? 0;
      const sinceUs = does ? Math.max(since.get(id) ?? nowUs, leadsUs) : nowUs;
      since.set(id, sinceUs);
      const reasonUs = Math.max(sinceUs, resumedUs, transferFailedUs);
      require("Transfer", nowUs - reasonUs < TRANSFER_US, () => {
        return `server ${id} ${what}, and still leads term ${currentTerm} after ${(nowUs - sinceUs) / 1e3} ms`;
      });
    }
  }

  #heardBy(leader: ServerId): Map<ServerId, number> {
    const known = this.#heard.get(leader) ?? new Map<ServerId, number>();
    this.#heard.set(leader, known);
    return known;
  }

  #checkEnd(): void {
    this.#faults.count("sessionExpired", this.#safety.expiredSessions);
    const members = new Set(this.#safety.configurations.committed.map(({ id }) => id));
    const machines = this.#servers.flatMap(({ id, life }) =>
      life.kind === "up" && members.has(id) ? [{ id, digest: life.machine.digest() }] : [],
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

  #tell(who: string, what: string, detail?: unknown): void {
    this.#trace.add({ atUs: this.#timeline.nowUs, who, what, detail });
  }
}

/** 0 to `count` - 1. */
function range(count: number): readonly number[] {
  return Array.from({ length: count }, (_, i) => i);
}
