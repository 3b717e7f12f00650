/**
 * A few cores, the messages between them and their disks, all in the hands of the test: nothing is
 * delivered, persisted or ticked by itself. Calls behave as RPCs do: each has one outcome at its sender (a
 * reply, or lost), while its request may still arrive later, or twice. After every step the checks of one
 * server and between all servers run.
 */
import { assert, defined } from "../../src/base/assert.ts";
import type { ReadId, RpcId } from "../../src/raft/batch.ts";
import {
  type Configuration,
  type ConfigurationChange,
  isSameConfiguration,
  memberOf,
} from "../../src/raft/configuration.ts";
import type { LogIndex, ServerId, Term } from "../../src/raft/entry.ts";
import { hardStateAfterLoss, hardStateOfJoiner } from "../../src/raft/hard-state.ts";
import type { ChangeResult } from "../../src/raft/membership.ts";
import type { Reply, Request } from "../../src/raft/message.ts";
import type { RaftOptions } from "../../src/raft/options.ts";
import type { Raft } from "../../src/raft/raft.ts";
import type { TransferResult } from "../../src/raft/transfer.ts";
import { type ServerSpec, TestServer } from "./harness.ts";
import { SeededRandom } from "./random.ts";
import { SafetyChecker } from "./safety-checker.ts";

interface Call {
  readonly from: ServerId;
  readonly to: ServerId;
  readonly request: Request<string>;
  /** The sender has its outcome, or is no more. */
  settled: boolean;
}

/** Travels from `from` to `to`; `reply` is null in a request. */
export interface Message {
  readonly call: Call;
  readonly from: ServerId;
  readonly to: ServerId;
  readonly reply: Reply | null;
}

interface ClusterSpec {
  readonly size: number;
  readonly seed?: number;
  readonly options?: Partial<RaftOptions>;
  /** Server i's log, term and vote. */
  readonly servers?: readonly Pick<ServerSpec, "base" | "log" | "term" | "votedFor">[];
}

export class Cluster {
  readonly servers: TestServer[];
  readonly checker = new SafetyChecker();
  readonly random: SeededRandom;
  /** Under way, oldest first. */
  messages: Message[] = [];
  readonly #down = new Set<ServerId>();
  readonly #cutLinks = new Set<string>();
  /** What each server has been asked and has not answered. */
  readonly #asked: Map<RpcId, Call>[];
  readonly #options: Partial<RaftOptions>;

  constructor({ size, seed = 1, options = {}, servers = [] }: ClusterSpec) {
    this.random = new SeededRandom(seed);
    const voters = Array.from({ length: size }, (_, id) => id);
    const randomInt = (min: number, max: number) => this.random.int(min, max);
    this.#options = { randomInt, ...options };
    this.servers = voters.map((id) => new TestServer({ id, voters, ...servers[id], options: this.#options }));
    this.#asked = voters.map(() => new Map());
  }

  get up(): readonly TestServer[] {
    return this.servers.filter(({ id }) => !this.#down.has(id));
  }

  get down(): readonly TestServer[] {
    return this.servers.filter(({ id }) => this.#down.has(id));
  }

  /** The leader of the latest term that has one among the servers that are up. */
  get leader(): TestServer | null {
    const leaders = this.up.filter(({ status }) => status.role === "leader");
    return leaders.toSorted((a, b) => b.status.currentTerm - a.status.currentTerm)[0] ?? null;
  }

  server(id: ServerId): TestServer {
    return defined(this.servers[id], `server ${id}`);
  }

  /** Lets a server do something, collects what it sends, and checks everything. */
  act(id: ServerId, action: (server: TestServer) => void): void {
    assert(!this.#down.has(id), `server ${id} is down`);
    const server = this.server(id);
    action(server);
    for (const { to, request } of server.takeSent()) {
      const call = { from: id, to, request, settled: false };
      this.messages.push({ call, from: id, to, reply: null });
    }
    for (const [rpc, reply] of server.replies) {
      const call = this.#askedOf(id).get(rpc);
      this.#askedOf(id).delete(rpc);
      if (call !== undefined && !call.settled) {
        this.messages.push({ call, from: id, to: call.from, reply });
      }
    }
    server.replies.clear();
    this.checker.check(server, this.servers);
  }

  #askedOf(id: ServerId): Map<RpcId, Call> {
    return defined(this.#asked[id], `server ${id}`);
  }

  /** Delivers messages for one server in one turn; what a cut link or a dead server cannot take is lost. */
  deliver(...messages: readonly Message[]): void {
    this.messages = this.messages.filter((message) => !messages.includes(message));
    const arriving = messages.filter((message) => this.#canPass(message));
    const [to] = arriving.map((message) => message.to);
    if (to !== undefined) {
      this.act(to, (server) =>
        server.turn((raft) => {
          for (const message of arriving) this.#hand(server, raft, message);
        }),
      );
    }
    for (const message of messages) if (!arriving.includes(message)) this.#giveUp(message.call);
  }

  #canPass({ from, to }: Message): boolean {
    return !this.#down.has(to) && !this.#cutLinks.has(`${from}>${to}`);
  }

  #hand(server: TestServer, raft: Raft<string>, { call, reply }: Message): void {
    if (reply === null) {
      this.#askedOf(server.id).set(server.feed(raft, call.request), call);
    } else if (!call.settled) {
      call.settled = true;
      raft.handleReply(call.to, call.request, reply);
    }
  }

  lose(message: Message): void {
    this.messages = this.messages.filter((other) => other !== message);
    this.#giveUp(message.call);
  }

  /** A request arrives once more; nobody waits for the second answer. */
  duplicate(message: Message): void {
    if (message.reply !== null) return;
    this.messages.push({ ...message, call: { ...message.call, settled: true } });
  }

  /** The sender stops waiting, but the message travels on. */
  expire(message: Message): void {
    this.#giveUp(message.call);
  }

  #giveUp(call: Call): void {
    if (call.settled) return;
    call.settled = true;
    this.act(call.from, (server) => server.lose(call.to, call.request));
  }

  tick(id: ServerId, ticks = 1): void {
    this.act(id, (server) => server.tick(ticks));
  }

  /** False when it takes them not. */
  propose(id: ServerId, ...commands: readonly string[]): boolean {
    let accepted = false;
    this.act(id, (server) => void (accepted = server.propose(...commands)));
    return accepted;
  }

  change(id: ServerId, change: ConfigurationChange): ChangeResult {
    let result: ChangeResult = { kind: "notLeader", leaderId: null };
    this.act(id, (server) => void (result = server.change(change)));
    return result;
  }

  transfer(id: ServerId, to: ServerId | null = null): TransferResult {
    let result: TransferResult = { kind: "notLeader", leaderId: null };
    this.act(id, (server) => void (result = server.transfer(to)));
    return result;
  }

  /** It must see whatever any server has handed out by now; null when the server does not lead. */
  read(id: ServerId): ReadId | null {
    let read: ReadId | null = null;
    const floor = this.checker.committed.length;
    this.act(id, (server) => void (read = server.read(floor)));
    return read;
  }

  persist(id: ServerId, count?: number): void {
    this.act(id, (server) => server.persist(count));
  }

  /** As TestServer.compact. */
  compact(id: ServerId, through: LogIndex, index?: LogIndex): boolean {
    let done = false;
    this.act(id, (server) => void (done = server.compact(through, index)));
    return done;
  }

  fillDisk(id: ServerId): void {
    this.act(id, (server) => server.fillDisk());
  }

  makeRoom(id: ServerId): void {
    this.act(id, (server) => server.makeRoom());
  }

  /**
   * A server that is down loses its disk and is made anew; the last term that it abstains for. All other members go by
   * the same configuration, which thus cannot be undone any more.
   */
  replaceDisk(id: ServerId): Term {
    assert(this.#down.has(id), `server ${id} is up`);
    const configuration = defined(this.configurationWithout(id), "one configuration on all others");
    const hardState = hardStateAfterLoss(this.#highestTerm(id), id);
    this.server(id).disk.replace(hardState, configuration);
    return hardState.abstainsThrough;
  }

  /** The one that all its other members go by, and `id` belongs to; null: there is none, or they differ. */
  configurationWithout(id: ServerId): Configuration | null {
    const others = this.servers.filter((server) => server.id !== id);
    for (const { status } of others) {
      const { configuration } = status;
      const has = (server: TestServer): boolean => memberOf(configuration, server.id) !== null;
      const agree = others
        .filter(has)
        .every((other) => isSameConfiguration(other.status.configuration, configuration));
      if (agree && memberOf(configuration, id) !== null && configuration.length > 1) return configuration;
    }
    return null;
  }

  /**
   * A server that waits to be added: a new one, or one that was removed and has lost all that it had. It has asked
   * `leader`.
   */
  join(id: ServerId, leader: TestServer): void {
    const { currentTerm: term, commitIndex, noopIndex } = leader.status;
    const hardState = hardStateOfJoiner(term, id, Math.max(commitIndex, noopIndex ?? 0));
    this.checker.joined(id, term);
    if (id < this.servers.length) {
      if (!this.#down.has(id)) this.crash(id);
      this.server(id).disk.replace(hardState, []);
      this.restart(id);
      return;
    }
    assert(id === this.servers.length, `the next new server is ${this.servers.length}`);
    this.servers.push(new TestServer({ id, configuration: [], hardState, options: this.#options }));
    this.#asked.push(new Map());
  }

  /** Of all but `id`. */
  #highestTerm(id: ServerId): Term {
    const terms = this.servers
      .filter((server) => server.id !== id)
      .map(({ status, disk }) => Math.max(status.currentTerm, disk.hardState.currentTerm));
    return Math.max(...terms);
  }

  crash(id: ServerId): void {
    this.#down.add(id);
    for (const { call } of this.messages) if (call.from === id) call.settled = true;
    for (const asked of this.#asked) {
      for (const call of asked.values()) if (call.from === id) call.settled = true;
    }
    const unanswered = [...this.#askedOf(id).values()];
    this.#askedOf(id).clear();
    for (const call of unanswered) this.#giveUp(call);
  }

  /** What was not durable when it crashed is on the disk in part. */
  restart(id: ServerId): void {
    this.#down.delete(id);
    this.checker.restarted(id);
    this.act(id, (server) => server.restart(this.random));
  }

  /** One way; `partition` and `isolate` are for both. */
  cut(from: ServerId, to: ServerId): void {
    this.#cutLinks.add(`${from}>${to}`);
  }

  isolate(id: ServerId): void {
    this.partition([id]);
  }

  /** `side` and the others do not hear each other. */
  partition(side: readonly ServerId[]): void {
    for (const a of side) {
      for (const { id: b } of this.servers) {
        if (side.includes(b)) continue;
        this.cut(a, b);
        this.cut(b, a);
      }
    }
  }

  healLinks(): void {
    this.#cutLinks.clear();
  }

  /** Delivers and persists until nothing more happens. */
  settle(): void {
    for (let round = 0; round < 1000; round += 1) {
      for (const { id, disk } of this.up) if (disk.canComplete) this.persist(id);
      const [next] = this.messages;
      if (next === undefined && this.up.every(({ disk }) => !disk.canComplete)) return;
      for (const message of this.messages) this.deliver(message);
    }
    assert(false, "the servers never come to rest");
  }

  /** Time passes for all servers alike, and everything is delivered at once. */
  run(ticks: number): void {
    for (let i = 0; i < ticks; i += 1) {
      for (const { id } of this.up) this.tick(id);
      this.settle();
    }
  }

  /** Runs until the condition holds; returns the ticks that it took. */
  runUntil(condition: () => boolean, maxTicks: number): number {
    for (let ticks = 0; ticks < maxTicks; ticks += 1) {
      if (condition()) return ticks;
      this.run(1);
    }
    assert(condition(), `it did not come to that within ${maxTicks} ticks`);
    return maxTicks;
  }

  /** Runs until there is a leader that knows its no-op to be committed. */
  elect(): TestServer {
    const ready = (): boolean => {
      const { leader } = this;
      return leader !== null && leader.status.commitIndex >= (leader.status.noopIndex ?? Infinity);
    };
    this.runUntil(ready, 400);
    return defined(this.leader, "a leader");
  }
}
