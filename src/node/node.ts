/**
 * The driver: runs the core's effects in order, and owns the timers and the waiting clients.
 *
 * Inputs go into the core as they come; the first of them asks for a turn, which the event loop runs when
 * what was ready has been read. A turn takes one batch and, in this order:
 *
 *   1. hands its writes to the persister, which starts one fsync for all that wait;
 *   2. sends its requests and replies, in parallel with that fsync (the core gives only what may go);
 *   3. applies committed entries in log order and answers the clients whose entries they were.
 *
 * When the fsync is done the core hears of it, and the next turn carries votes, append replies and commits.
 */
import { RaftKvError } from "../base/errors.ts";
import { commandByteLength, type Command } from "../kv/command.ts";
import type { KvStateMachine } from "../kv/state-machine.ts";
import type { Batch, RpcId } from "../raft/batch.ts";
import type { Entry, LogIndex, ServerId } from "../raft/entry.ts";
import type { RaftEvent } from "../raft/event.ts";
import type { Reply, Request } from "../raft/message.ts";
import { Raft, type RaftStatus } from "../raft/raft.ts";
import type { RaftOptions } from "../raft/options.ts";
import type { Recovered, Store } from "../storage/store.ts";
import type { Clock } from "./clock.ts";
import { Persister } from "./persister.ts";
import { Ticker } from "./ticker.ts";
import type { Transport } from "./transport.ts";
import { WaitingClients, type PutOutcome } from "./waiting-clients.ts";

export interface NodeLimits {
  /** Puts in the log and not applied, in number and bytes; beyond that they are refused as overloaded. */
  readonly maxPendingProposals: number;
  readonly maxPendingBytes: number;
  /** Peers' requests that wait for this server's disk. */
  readonly maxPendingRpcs: number;
}

export interface NodeParts {
  readonly raftOptions: RaftOptions;
  readonly tickMs: number;
  readonly limits: NodeLimits;
  readonly clock: Clock;
  readonly transport: Transport;
  readonly store: Store;
  readonly recovered: Recovered;
  readonly machine: KvStateMachine;
  readonly onEvent: (event: RaftEvent) => void;
  /** The disk failed: what it holds is unknown, nothing more is acknowledged, the process must end. */
  readonly onFailure: (error: unknown) => void;
}

export type LeaderRead =
  /** undefined: no such key. */
  | { readonly kind: "value"; readonly value: string | undefined }
  | { readonly kind: "notLeader"; readonly leaderId: ServerId | null }
  /** Elected, but not yet sure of what was committed before; soon. */
  | { readonly kind: "notReady" };

export class Node {
  readonly #parts: NodeParts;
  readonly #raft: Raft<Command>;
  readonly #ticker: Ticker;
  readonly #persister: Persister;
  readonly #clients: WaitingClients;
  readonly #pendingRpcs = new Map<RpcId, (reply: Reply) => void>();
  #nextRpc: RpcId = 1;
  #turnIsDue = false;
  #stopped = false;

  constructor(parts: NodeParts) {
    const { recovered, limits, clock, tickMs, store } = parts;
    this.#parts = parts;
    this.#raft = new Raft(parts.raftOptions, recovered.hardState, recovered.entries);
    this.#clients = new WaitingClients(limits.maxPendingProposals, limits.maxPendingBytes);
    this.#ticker = new Ticker(
      clock,
      tickMs,
      () => this.#input((raft) => raft.tick()),
      () => this.#input((raft) => raft.stalled()),
    );
    this.#persister = new Persister(
      store,
      (sequence) => this.#input((raft) => raft.persisted(sequence)),
      (error) => this.#fail(error),
    );
  }

  start(): void {
    this.#ticker.start();
  }

  /** Lets the disk finish what it was given, and closes the store. Whoever waits is told that it is unknown. */
  async stop(): Promise<void> {
    this.#halt("the server is stopping");
    await this.#persister.idle();
    await this.#parts.store.close();
  }

  status(): RaftStatus {
    return this.#raft.status();
  }

  /** An entry of the log, 1 to lastLogIndex; for checks and reports. */
  entryAt(index: LogIndex): Entry<Command> {
    return this.#raft.entryAt(index);
  }

  /** This server's applied state, whatever its role (contract: KeyValueStore.Get); undefined: no such key. */
  get(key: string): string | undefined {
    return this.#parts.machine.get(key);
  }

  get appliedIndex(): number {
    return this.#parts.machine.appliedIndex;
  }

  get keyCount(): number {
    return this.#parts.machine.size;
  }

  /** The applied state of a leader that has applied an entry of its own term (Raft §8). */
  leaderRead(key: string): LeaderRead {
    const { noopIndex, leaderId } = this.#raft.status();
    if (noopIndex === null) return { kind: "notLeader", leaderId };
    if (this.#parts.machine.appliedIndex < noopIndex) return { kind: "notReady" };
    return { kind: "value", value: this.#parts.machine.get(key) };
  }

  /** Resolves when the command is applied here, or when that can no longer be told. */
  put(command: Command): Promise<PutOutcome> {
    if (this.#stopped) return Promise.resolve({ kind: "stopping" });
    const byteLength = commandByteLength(command);
    if (!this.#clients.hasRoomFor(byteLength)) return Promise.resolve({ kind: "overloaded" });
    const proposed = this.#raft.propose({ kind: "command", command, byteLength });
    if (proposed.kind === "notLeader") return Promise.resolve(proposed);
    const { index, term } = proposed;
    return new Promise((settle) => {
      this.#clients.add(index, { term, bytes: byteLength, settle });
      this.#wake();
    });
  }

  /** A peer's RPC. Rejects with RaftKvError "overloaded" or "unavailable"; otherwise the core's answer. */
  handleRequest(request: Request<Command>): Promise<Reply> {
    if (this.#stopped) return Promise.reject(new RaftKvError("unavailable", "the server is stopping"));
    if (this.#pendingRpcs.size >= this.#parts.limits.maxPendingRpcs) {
      return Promise.reject(new RaftKvError("overloaded", "too many requests wait for this server's disk"));
    }
    return new Promise((resolve) => {
      const rpc = this.#nextRpc;
      this.#nextRpc += 1;
      this.#pendingRpcs.set(rpc, resolve);
      this.#input((raft) => raft.handleRequest(rpc, request));
    });
  }

  #input(feed: (raft: Raft<Command>) => void): void {
    if (this.#stopped) return;
    feed(this.#raft);
    this.#wake();
  }

  #wake(): void {
    if (this.#turnIsDue) return;
    this.#turnIsDue = true;
    this.#parts.clock.defer(() => {
      this.#turnIsDue = false;
      if (!this.#stopped) this.#turn();
    });
  }

  #turn(): void {
    const batch = this.#raft.takeBatch();
    if (batch.persist !== null) this.#persister.add(batch.persist);
    this.#send(batch);
    this.#apply(batch.committed);
    for (const event of batch.events) this.#parts.onEvent(event);
    this.#dismissClientsOfLostLeadership();
    if (this.#raft.hasMoreCommitted) this.#wake();
  }

  #send(batch: Batch<Command>): void {
    for (const { to, request } of batch.requests) {
      this.#parts.transport.send(to, request, (reply) => {
        this.#input((raft) => {
          if (reply === null) raft.handleLost(to, request);
          else raft.handleReply(to, request, reply);
        });
      });
    }
    for (const { rpc, reply } of batch.replies) {
      this.#pendingRpcs.get(rpc)?.(reply);
      this.#pendingRpcs.delete(rpc);
    }
  }

  #apply(committed: readonly Entry<Command>[]): void {
    const { machine } = this.#parts;
    for (const { index, term, payload } of committed) {
      if (payload.kind === "noop") machine.skip(index);
      else this.#clients.applied(index, term, machine.apply(index, payload.command));
    }
  }

  /** A server waits for clients only while it leads the term in which it took their puts. */
  #dismissClientsOfLostLeadership(): void {
    if (this.#clients.count === 0) return;
    if (this.#raft.status().role !== "leader")
      this.#clients.giveUp("leadership was lost before it was committed");
  }

  #fail(error: unknown): void {
    this.#halt("the server's disk failed");
    this.#parts.onFailure(error);
  }

  #halt(why: string): void {
    this.#stopped = true;
    this.#ticker.stop();
    this.#parts.transport.close();
    this.#clients.giveUp(why);
  }
}
