import { assert, defined } from "../../src/base/assert.ts";
import { type Configuration, initialConfiguration } from "../../src/raft/configuration.ts";
import type { ServerId } from "../../src/raft/entry.ts";
import type { RaftEvent, StepDownReason } from "../../src/raft/event.ts";
import type { Request } from "../../src/raft/message.ts";
import type { RaftOptions } from "../../src/raft/options.ts";
import { Cluster, type Message } from "../raft/cluster.ts";
import type { ServerSpec, TestServer } from "../raft/harness.ts";
import { messageText, replyText } from "./scenario-text.ts";

/** Who sends what a script writes by hand; no server has this id. */
const HAND: ServerId = -1;

/** A follower that heard its leader less than this many ticks ago refuses pre-votes. */
const ELECTION_TIMEOUT_MIN_TICKS = 10;
const ELECTION_TIMEOUT_MAX_TICKS = 20;

/** Server i's election timeout when the script names none. */
export const DEFAULT_TIMEOUT_TICKS = 15;

/** What a script says of its servers before they start. */
export interface ScenarioSpec {
  readonly size: number;
  /** Server i's election timeout in ticks. */
  readonly timeouts: readonly number[];
  readonly options: Partial<RaftOptions>;
  /** Server i's log, term and vote; undefined: it is new. */
  readonly servers: readonly (Pick<ServerSpec, "base" | "log" | "term" | "votedFor"> | undefined)[];
}

/** Every election timeout is what the script says; how far each has run is known. */
class ElectionClocks {
  readonly #timeouts: number[];
  readonly #elapsed: number[];
  /** Whose clock is drawn next; null while the servers are made, in the order of their ids. */
  acting: ServerId | null = null;
  #made = 0;

  constructor(timeouts: readonly number[]) {
    for (const timeout of timeouts) checkTimeout(timeout);
    this.#timeouts = [...timeouts];
    this.#elapsed = timeouts.map(() => 0);
  }

  draw(): number {
    const id = this.acting ?? this.#made;
    if (this.acting === null) this.#made += 1;
    this.#elapsed[id] = 0;
    return defined(this.#timeouts[id], `a timeout of server ${id}`);
  }

  /** Of a server that is made next. */
  add(timeout: number): void {
    checkTimeout(timeout);
    this.#timeouts.push(timeout);
    this.#elapsed.push(0);
    this.acting = this.#elapsed.length - 1;
  }

  set(id: ServerId, timeout: number): void {
    checkTimeout(timeout);
    this.#timeouts[id] = timeout;
  }

  tick(id: ServerId): void {
    this.#elapsed[id] = this.elapsed(id) + 1;
  }

  /** Ticks since the timer was reset. */
  elapsed(id: ServerId): number {
    return defined(this.#elapsed[id], `a clock of server ${id}`);
  }
}

function checkTimeout(timeout: number): void {
  const possible = timeout >= ELECTION_TIMEOUT_MIN_TICKS && timeout <= ELECTION_TIMEOUT_MAX_TICKS;
  assert(
    possible,
    `an election timeout is ${ELECTION_TIMEOUT_MIN_TICKS} to ${ELECTION_TIMEOUT_MAX_TICKS} ticks`,
  );
}

/**
 * A cluster that a script drives: timeouts are set instead of drawn, a disk completes every write at once
 * unless it is held, requests can be written by hand, and what is worth a line is noted.
 */
export class ScenarioCluster extends Cluster {
  /** What happened since it was last taken, a line each. */
  #notes: string[] = [];
  /** What the cluster began with. */
  readonly created: Configuration;
  readonly #clocks: ElectionClocks;
  readonly #heldDisks = new Set<ServerId>();
  #handCalls: Message["call"][] = [];
  /** Whether every message that is sent is noted. */
  tracing = false;
  /** Ticks of the `run` under way; null outside of one. */
  #runTick: number | null = null;

  constructor({ size, timeouts, options, servers }: ScenarioSpec) {
    const clocks = new ElectionClocks(timeouts);
    const timing = {
      electionTimeoutMinTicks: ELECTION_TIMEOUT_MIN_TICKS,
      electionTimeoutMaxTicks: ELECTION_TIMEOUT_MAX_TICKS,
      randomInt: () => clocks.draw(),
    };
    super({
      size,
      options: { ...options, ...timing },
      servers: Array.from({ length: size }, (_, id) => servers[id] ?? {}),
    });
    this.created = initialConfiguration(this.servers.map(({ id }) => id));
    this.#clocks = clocks;
  }

  takeNotes(): readonly string[] {
    const notes = this.#notes;
    this.#notes = [];
    return notes;
  }

  note(line: string): void {
    this.#notes.push(this.#runTick === null ? line : `tick ${this.#runTick}: ${line}`);
  }

  isUp(id: ServerId): boolean {
    return this.up.includes(this.server(id));
  }

  override act(id: ServerId, action: (server: TestServer) => void): void {
    const server = this.server(id);
    const messagesBefore = this.messages.length;
    const eventsBefore = server.events.length;
    const wasLeader = this.isUp(id) && server.status.role === "leader";
    const answeredBefore = server.readIndices.size;
    this.#clocks.acting = id;
    super.act(id, () => {
      action(server);
      if (!this.#heldDisks.has(id)) server.persist();
    });
    for (const event of server.events.slice(eventsBefore)) this.#noteEvent(id, event, wasLeader);
    for (const [read, readIndex] of [...server.readIndices].slice(answeredBefore)) {
      this.note(`${id} ${readIndex === null ? "cannot tell" : `may answer at ${readIndex}`}: read ${read}`);
    }
    this.#noteSent(this.messages.slice(messagesBefore));
  }

  #noteEvent(id: ServerId, event: RaftEvent, wasLeader: boolean): void {
    if (event.kind === "truncated") {
      this.note(`${id} removes ${rangeText(event.from, event.lastIndex)}`);
    } else if (event.kind === "refused") {
      this.note(`${id} refuses leader ${event.leaderId} of term ${event.term}: ${event.why}`);
    } else if (event.kind === "compacted") {
      this.note(`${id} forgets up to entry ${event.through}; its snapshot is at ${event.snapshotIndex}`);
    } else if (event.kind === "installed") {
      this.note(`${id} installs the snapshot up to ${event.index}(${event.term})`);
    } else if (event.kind === "votesAgain") {
      this.note(`${id} votes again`);
    } else if (event.kind === "transferStarted") {
      this.note(`${id} asks ${event.to} to stand for election`);
    } else if (event.kind === "transferFailed") {
      this.note(`${id} leads on: ${event.to} has not taken over`);
    } else if (event.kind === "becameFollower" && wasLeader) {
      this.note(`${id} stops leading: ${REASONS[event.reason]}`);
    } else if (event.kind === "becameLeader" && this.#runTick !== null) {
      this.note(`${id} leads term ${event.term}`);
    }
  }

  #noteSent(sent: readonly Message[]): void {
    for (const message of sent) {
      if (message.to === HAND && message.reply !== null) {
        this.note(`${message.from} answers: ${replyText(message.reply)}`);
      } else if (this.tracing) this.note(`${message.from}->${message.to} ${messageText(message)}`);
    }
    this.messages = this.messages.filter(({ to }) => to !== HAND);
  }

  override join(id: ServerId, leader: TestServer): void {
    if (id === this.servers.length) this.#clocks.add(DEFAULT_TIMEOUT_TICKS);
    super.join(id, leader);
  }

  setTimeout(id: ServerId, timeout: number): void {
    this.#clocks.set(id, timeout);
  }

  override tick(id: ServerId, ticks = 1): void {
    for (let i = 0; i < ticks; i += 1) {
      this.#clocks.tick(id);
      super.tick(id);
    }
  }

  /** Time passes for all alike, and everything is delivered within each tick. */
  override run(ticks: number): void {
    for (this.#runTick = 1; this.#runTick <= ticks; this.#runTick += 1) {
      for (const { id } of this.up) this.tick(id);
      this.settleAmong(this.servers.map((server) => server.id));
    }
    this.#runTick = null;
  }

  /** Delivers what is sent between these servers until nothing more is; the rest stays under way. */
  settleAmong(ids: readonly ServerId[]): void {
    const among = ({ from, to }: Message): boolean => ids.includes(from) && ids.includes(to);
    for (let round = 0; round < 1000; round += 1) {
      const messages = this.messages.filter(among);
      if (messages.length === 0) return;
      for (const message of messages) this.deliver(message);
    }
    assert(false, "the servers never come to rest");
  }

  /**
   * Lets `voters` forget their leader and `id` time out, delivers its calls for votes to `voters` and
   * their answers, and loses those to anyone else. What the winner then sends stays under way.
   */
  standForElection(id: ServerId, voters: readonly ServerId[]): void {
    assert(this.server(id).status.role !== "leader", `server ${id} leads already`);
    for (const voter of voters) {
      const { role, leaderId } = this.server(voter).status;
      if (role === "leader" || leaderId === null || !this.isUp(voter)) continue;
      this.tick(voter, Math.max(0, ELECTION_TIMEOUT_MIN_TICKS - this.#clocks.elapsed(voter)));
    }
    const events = this.server(id).events;
    const before = events.length;
    const stands = (): boolean => events.slice(before).some(({ kind }) => kind === "becamePreCandidate");
    for (let ticks = 0; !stands() && ticks < 2 * ELECTION_TIMEOUT_MAX_TICKS; ticks += 1) this.tick(id);
    const isCall = ({ call }: Message): boolean => call.from === id && call.request.kind === "requestVote";
    for (let calls = this.messages.filter(isCall); calls.length > 0; calls = this.messages.filter(isCall)) {
      for (const message of calls) {
        if (voters.includes(message.call.to)) this.deliver(message);
        else this.lose(message);
      }
    }
  }

  /** A request from nowhere; the answer is noted when it comes. */
  ask(id: ServerId, request: Request<string>): void {
    assert(this.isUp(id), `server ${id} is down`);
    const call = { from: HAND, to: id, request, settled: false };
    this.#handCalls.push(call);
    this.deliver({ call, from: HAND, to: id, reply: null });
  }

  holdDisk(id: ServerId): void {
    this.#heldDisks.add(id);
  }

  freeDisk(id: ServerId): void {
    this.#heldDisks.delete(id);
    this.act(id, () => {});
  }

  /** Of what is not durable only the `keep` oldest groups survive. */
  crashKeeping(id: ServerId, keep: number): void {
    for (const call of this.#handCalls) if (call.to === id) call.settled = true;
    this.crash(id);
    const { disk } = this.server(id);
    if (keep > 0) disk.complete(keep);
    disk.crash();
  }

  /** `from` no longer reaches `to`, one way. */
  cutLinks(froms: readonly ServerId[], tos: readonly ServerId[]): void {
    for (const from of froms) for (const to of tos) if (from !== to) this.cut(from, to);
  }
}

const REASONS: Readonly<Record<StepDownReason, string>> = {
  higherTerm: "there is a higher term",
  otherLeader: "another leads",
  noQuorum: "it hears no majority",
  lostElection: "it lost an election",
  diskFull: "its disk is full, and others have room",
  removed: "it belongs to the cluster no more",
};

function rangeText(from: number, to: number): string {
  return from === to ? `entry ${from}` : `entries ${from}..${to}`;
}
