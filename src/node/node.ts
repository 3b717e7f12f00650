/**
 * The driver: runs the core's effects in order, and owns the timers and the waiting clients.
 *
 * Inputs go into the core as they come; the first of them asks for a turn, which the event loop runs when
 * what was ready has been read. A turn takes one batch and, in this order:
 *
 *   1. hands its writes to the persister, which starts one fsync for all that wait;
 *   2. sends its requests and replies, in parallel with that fsync (the core gives only what may go);
 *   3. takes over a snapshot that the core installs, applies committed entries in log order and answers the
 *      clients whose entries they were;
 *   4. looks whether a snapshot is due.
 *
 * When the fsync is done the core hears of it, and the next turn carries votes, append replies and commits.
 * Snapshots are written, sent and received beside the turns (snapshots.ts).
 */
import { assert } from "../base/assert.ts";
import { RaftKvError } from "../base/errors.ts";
import { commandByteLength, type Command } from "../kv/command.ts";
import type { Batch } from "../raft/batch.ts";
import type { Entry, LogIndex, ServerId, Term } from "../raft/entry.ts";
import type { Reply, Request } from "../raft/message.ts";
import { Raft, type RaftStatus } from "../raft/raft.ts";
import { ORIGIN } from "../raft/snapshot-position.ts";
import { servesElection } from "../storage/reserve.ts";
import type { Recovered, SnapshotInfo, SnapshotSource } from "../storage/store.ts";
import type { NodeParts } from "./node-parts.ts";
import type { PeerReply, PeerRequest } from "./peer-message.ts";
import { PendingRpcs } from "./pending-rpcs.ts";
import { Persister } from "./persister.ts";
import { Snapshots } from "./snapshots.ts";
import { Ticker } from "./ticker.ts";
import { WaitingClients, type PutOutcome } from "./waiting-clients.ts";

/** Whether a server can answer for the cluster. */
export type Leadership =
  /** It leads, and has applied an entry of its own term, so it knows all that was committed before (Raft §8). */
  | { readonly kind: "ready"; readonly term: Term }
  | { readonly kind: "notLeader"; readonly leaderId: ServerId | null }
  /** Elected, but not yet sure of what was committed before; soon. */
  | { readonly kind: "notReady" };

export type LeaderRead =
  /** undefined: no such key. */
  | { readonly kind: "value"; readonly value: string | undefined }
  | Exclude<Leadership, { readonly kind: "ready" }>;

export class Node {
  readonly #parts: Omit<NodeParts, "recovered">;
  readonly #raft: Raft<Command>;
  readonly #ticker: Ticker;
  readonly #persister: Persister;
  readonly #clients: WaitingClients;
  readonly #rpcs: PendingRpcs;
  readonly #snapshots: Snapshots;
  #turnIsDue = false;
  #life: "runs" | "stops" | "failed" = "runs";

  constructor({ recovered, ...parts }: NodeParts) {
    const { limits, clock, tickMs, store, machine, diskRoom } = parts;
    this.#parts = parts;
    this.#raft = recoveredRaft(parts, recovered);
    if (recovered.snapshot !== null) machine.restore(recovered.snapshot.state);
    this.#clients = new WaitingClients(limits.maxPendingProposals, limits.maxPendingBytes);
    this.#rpcs = new PendingRpcs(limits.maxPendingRpcs);
    this.#ticker = new Ticker(
      clock,
      tickMs,
      () => this.#input((raft) => raft.tick()),
      () => this.#input((raft) => raft.stalled()),
    );
    this.#persister = new Persister(
      store,
      (sequence) => this.#persisted(sequence),
      (error) => this.#fail(error),
    );
    this.#snapshots = new Snapshots(parts, {
      raft: this.#raft,
      ask: (request) => this.#rpcs.ask((rpc) => this.#input((raft) => raft.handleRequest(rpc, request))),
      wake: () => this.#wake(),
      fail: (error) => this.#fail(error),
    });
    diskRoom.watch((full, why) => this.#diskChanged(full, why));
  }

  start(): void {
    this.#ticker.start();
  }

  /**
   * Lets the disk finish what it was given, but for what waits for room, and closes the store. Whoever waits
   * is told that it is unknown.
   */
  async stop(): Promise<void> {
    if (this.#life === "runs") this.#halt("stops", "the server is stopping");
    await Promise.all([this.#persister.idle(), this.#snapshots.stop()]);
    await this.#parts.store.close();
  }

  status(): RaftStatus {
    return this.#raft.status();
  }

  /** An entry of the log, firstLogIndex to lastLogIndex; for checks and reports. */
  entryAt(index: LogIndex): Entry<Command> {
    return this.#raft.entryAt(index);
  }

  /** null where it is not known: below what the log still knows, and past its end. For checks and reports. */
  termAt(index: LogIndex): Term | null {
    return this.#raft.termAt(index);
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

  leadership(): Leadership {
    const { noopIndex, leaderId, currentTerm } = this.#raft.status();
    if (noopIndex === null) return { kind: "notLeader", leaderId };
    if (this.appliedIndex < noopIndex) return { kind: "notReady" };
    return { kind: "ready", term: currentTerm };
  }

  /** The applied state of a leader that is ready. */
  leaderRead(key: string): LeaderRead {
    const leadership = this.leadership();
    return leadership.kind === "ready" ? { kind: "value", value: this.get(key) } : leadership;
  }

  /** Resolves when the command is applied here, or when that can no longer be told. */
  put(command: Command): Promise<PutOutcome> {
    if (this.#life !== "runs") return Promise.resolve({ kind: "stopping" });
    const byteLength = commandByteLength(command);
    if (!this.#clients.hasRoomFor(byteLength)) return Promise.resolve({ kind: "overloaded" });
    const proposed = this.#raft.propose({ kind: "command", command, byteLength });
    if (proposed.kind !== "accepted") return Promise.resolve(proposed);
    const { index, term } = proposed;
    return new Promise((settle) => {
      this.#clients.add(index, { term, bytes: byteLength, settle });
      this.#wake();
    });
  }

  /**
   * A peer's RPC. Rejects with RaftKvError "overloaded", "diskFull" or "unavailable"; otherwise the core's
   * answer, or the receiver's to a piece of a snapshot.
   */
  handleRequest(request: PeerRequest): Promise<PeerReply> {
    if (this.#life !== "runs") {
      return Promise.reject(new RaftKvError("unavailable", "the server is stopping"));
    }
    if (request.kind === "snapshotChunk") return this.#snapshots.received.handle(request);
    return this.#rpcs
      .askBounded((rpc) => this.#input((raft) => raft.handleRequest(rpc, request)))
      .then(asPeerReply);
  }

  /**
   * Takes a snapshot now, due or not. It counts when this resolves, and holds everything applied before the
   * call. Rejects with RaftKvError "unavailable", "diskFull" or "overloaded".
   */
  takeSnapshot(): Promise<SnapshotInfo> {
    return this.#snapshots.takeNow();
  }

  /** Opens the snapshot that counts; null: there is none. To be closed before the node is stopped. */
  openSnapshot(): Promise<SnapshotSource | null> {
    return this.#snapshots.open();
  }

  #input(feed: (raft: Raft<Command>) => void): void {
    if (this.#life !== "runs") return;
    feed(this.#raft);
    this.#wake();
  }

  #wake(): void {
    if (this.#turnIsDue) return;
    this.#turnIsDue = true;
    this.#parts.clock.defer(() => {
      this.#turnIsDue = false;
      if (this.#life === "runs") this.#turn();
    });
  }

  #turn(): void {
    const batch = this.#raft.takeBatch();
    if (batch.persist !== null) {
      this.#persister.add(batch.persist);
      if (servesElection(batch.persist, this.#raft.status().currentTerm)) this.#parts.diskRoom.retryNow();
    }
    this.#send(batch);
    if (batch.install !== null) this.#snapshots.install(batch.install);
    this.#apply(batch.committed);
    for (const event of batch.events) this.#parts.onEvent(event);
    this.#dismissClientsOfLostLeadership();
    this.#snapshots.consider();
    if (this.#raft.hasMoreCommitted) this.#wake();
  }

  #send({ requests, replies }: Batch<Command>): void {
    for (const { to, request } of requests) {
      const settle = (reply: PeerReply | Reply | null): void => this.#settled(to, request, reply);
      if (request.kind === "installSnapshot") this.#snapshots.sent.send(to, request, settle);
      else this.#parts.transport.send(to, request, settle);
    }
    for (const { rpc, reply } of replies) this.#rpcs.answer(rpc, reply);
  }

  #settled(to: ServerId, request: Request<Command>, reply: PeerReply | Reply | null): void {
    this.#input((raft) => {
      if (reply === null) {
        raft.handleLost(to, request);
      } else {
        assert(reply.kind !== "snapshotChunkReply", "a reply of another kind");
        raft.handleReply(to, request, reply);
      }
    });
  }

  #apply(committed: readonly Entry<Command>[]): void {
    const { machine } = this.#parts;
    for (const { index, term, payload } of committed) {
      if (payload.kind === "noop") {
        machine.skip(index);
        this.#snapshots.taken.applied(0);
      } else {
        this.#clients.applied(index, term, machine.apply(index, payload.command));
        this.#snapshots.taken.applied(payload.byteLength);
      }
    }
  }

  /** A server waits for clients only while it leads the term in which it took their puts. */
  #dismissClientsOfLostLeadership(): void {
    if (this.#clients.count === 0) return;
    if (this.#raft.status().role !== "leader")
      this.#clients.giveUp("leadership was lost before it was committed");
  }

  #persisted(sequence: number): void {
    this.#parts.diskRoom.written();
    this.#snapshots.taken.persisted();
    this.#input((raft) => raft.persisted(sequence));
  }

  /** P6: nobody is kept waiting for a disk that may stay full, and reads go on. */
  #diskChanged(full: boolean, why: string): void {
    this.#input((raft) => raft.setDiskFull(full));
    if (full) {
      this.#clients.giveUp("the disk is full");
      this.#snapshots.taken.diskFull();
    }
    this.#parts.onEvent(full ? { kind: "diskFull", why } : { kind: "diskHasRoom" });
  }

  /** What is given up only because the server stops, or after an earlier failure, is not one. */
  #fail(error: unknown): void {
    const givenUp = error instanceof RaftKvError && error.code === "diskFull";
    if (this.#life === "failed" || (this.#life === "stops" && givenUp)) return;
    this.#halt("failed", "the server's disk failed");
    this.#parts.onFailure(error);
  }

  #halt(life: "stops" | "failed", why: string): void {
    const { transport, diskRoom } = this.#parts;
    this.#life = life;
    this.#ticker.stop();
    transport.close();
    diskRoom.close();
    this.#snapshots.stop().catch((error: unknown) => this.#fail(error));
    this.#clients.giveUp(why);
  }
}

function recoveredRaft({ raftOptions }: Pick<NodeParts, "raftOptions">, recovered: Recovered): Raft<Command> {
  const { hardState, log, snapshot } = recovered;
  return new Raft(raftOptions, { hardState, log, snapshot: snapshot?.info.position ?? ORIGIN });
}

function asPeerReply(reply: Reply): PeerReply {
  assert(reply.kind !== "installSnapshotReply", "a reply of another kind");
  return reply;
}
