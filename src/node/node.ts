/**
 * The driver: runs the core's effects in order, and owns the timers and the waiting clients.
 *
 * Inputs go into the core as they come; the first of them asks for a turn, which the event loop runs when
 * what was ready has been read. A turn takes one batch and, in this order:
 *
 *   1. hands its writes to the persister, which starts one fsync for all that wait;
 *   2. sends its requests and replies, in parallel with that fsync (the core gives only what may go), to whom
 *      the latest configuration names;
 *   3. takes over a snapshot that the core installs, applies committed entries in log order and answers the
 *      clients whose entries they were, and then those who wait to read;
 *   4. looks whether a snapshot is due.
 *
 * The reads that have gathered are asked for right before the batch is taken, so that it carries their round.
 *
 * When the fsync is done the core hears of it, and the next turn carries votes, append replies and commits.
 * Snapshots are written, sent and received beside the turns (snapshots.ts).
 */
import { assert } from "../base/assert.ts";
import { RaftKvError } from "../base/errors.ts";
import { commandByteLength, type Command } from "../kv/command.ts";
import type { PutResult } from "../kv/state-machine.ts";
import type { Batch } from "../raft/batch.ts";
import type { Configuration, ConfigurationChange } from "../raft/configuration.ts";
import type { Entry, LogIndex, ServerId, Term } from "../raft/entry.ts";
import type { Reply, Request } from "../raft/message.ts";
import { type FollowerStatus, Raft, type RaftStatus } from "../raft/raft.ts";
import { ORIGIN } from "../raft/snapshot-position.ts";
import { servesElection } from "../storage/reserve.ts";
import type { Recovered, SnapshotInfo, SnapshotSource } from "../storage/store.ts";
import { Handover, type TransferOutcome } from "./handover.ts";
import type { NodeParts } from "./node-parts.ts";
import type { PeerReply, PeerRequest } from "./peer-message.ts";
import { PendingRpcs } from "./pending-rpcs.ts";
import { Persister } from "./persister.ts";
import { checkReady, Reads, type ReadOutcome } from "./reads.ts";
import { Snapshots } from "./snapshots.ts";
import { Ticker } from "./ticker.ts";
import { WaitingClients, type ChangeOutcome, type PutOutcome } from "./waiting-clients.ts";

/** The core gives a transfer up after one longest election timeout; elections that follow it take some more. */
const TRANSFER_ELECTION_TIMEOUTS = 4;
/** A leader that stops waits no longer for another to take over. */
const STOPPING_TRANSFER_MS = 500;

export class Node {
  readonly #parts: Omit<NodeParts, "recovered">;
  readonly #raft: Raft<Command>;
  readonly #ticker: Ticker;
  readonly #persister: Persister;
  readonly #clients: WaitingClients<PutResult>;
  /** Whose changes of the configuration wait; the core takes one at a time. */
  readonly #changes: WaitingClients<null>;
  readonly #reads: Reads;
  readonly #handover: Handover;
  readonly #rpcs: PendingRpcs;
  readonly #snapshots: Snapshots;
  #turnIsDue = false;
  #life: "runs" | "stops" | "failed" = "runs";
  #stopped: Promise<void> | null = null;
  /** The one that the transport goes by. */
  #configuration: Configuration | null = null;

  constructor({ recovered, ...parts }: NodeParts) {
    const { limits, clock, tickMs, store, machine, diskRoom } = parts;
    this.#parts = parts;
    this.#raft = recoveredRaft(parts, recovered);
    if (recovered.snapshot !== null) machine.restore(recovered.snapshot.state);
    this.#clients = new WaitingClients(limits.maxPendingProposals, limits.maxPendingBytes);
    this.#changes = new WaitingClients(Infinity, Infinity);
    this.#reads = this.#newReads();
    this.#handover = new Handover(this.#raft, clock);
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
    this.#followConfiguration();
    this.#ticker.start();
  }

  /**
   * A leader hands over first, if somebody can take over within half a second, and goes on until then. Then lets
   * the disk finish what it was given, but for what waits for room, and closes the store. Whoever waits is told:
   * of a write or a change, that it is unknown.
   */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  status(): RaftStatus {
    return this.#raft.status();
  }

  /** As Raft.followers. */
  followers(): readonly FollowerStatus[] | null {
    return this.#raft.followers();
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

  /**
   * Resolves to "ready" when this server, whatever its role, has applied everything that was acknowledged
   * anywhere before the call: `get` then reads linearizably (dissertation §6.4).
   */
  read(): Promise<ReadOutcome> {
    return this.#life === "runs" ? this.#reads.read() : Promise.resolve({ kind: "stopping" });
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

  /** Resolves when the change is committed, or when that can no longer be told. */
  changeConfiguration(change: ConfigurationChange): Promise<ChangeOutcome> {
    if (this.#life !== "runs") return Promise.resolve({ kind: "stopping" });
    const changed = this.#raft.changeConfiguration(change);
    if (changed.kind !== "accepted") return Promise.resolve(changed);
    const { index, term } = changed;
    return new Promise((settle) => {
      this.#changes.add(index, {
        term,
        bytes: 0,
        settle: (outcome) => settle(outcome.kind === "done" ? { kind: "done" } : outcome),
      });
      this.#wake();
    });
  }

  /** Makes way for `to`; null: for whoever has most of the log. Resolves when it is known who leads. */
  transferLeadership(to: ServerId | null): Promise<TransferOutcome> {
    if (this.#life !== "runs") return Promise.resolve({ kind: "notLeader", leaderId: null });
    const { tickMs, raftOptions } = this.#parts;
    const electionTimeoutMs = raftOptions.electionTimeoutMaxTicks * tickMs;
    const outcome = this.#handover.begin(to, TRANSFER_ELECTION_TIMEOUTS * electionTimeoutMs);
    this.#wake();
    return outcome;
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
    if (request.kind === "readIndex") return this.#reads.handle();
    return this.#rpcs
      .askBounded((rpc) => this.#input((raft) => raft.handleRequest(rpc, request)))
      .then(asPeerReply);
  }

  /**
   * Takes a snapshot now, due or not. It counts when this resolves, and holds everything that this server had
   * applied before the call; a leader's, everything that was acknowledged anywhere. Rejects with RaftKvError
   * "notLeader" when leadership was lost before that was sure, "unavailable", "diskFull" or "overloaded".
   */
  async takeSnapshot(): Promise<SnapshotInfo> {
    if (this.#raft.status().role === "leader") checkReady(await this.read());
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
    this.#reads.ask();
    const batch = this.#raft.takeBatch();
    const status = this.#followConfiguration();
    if (batch.persist !== null) {
      this.#persister.add(batch.persist);
      if (servesElection(batch.persist, status.currentTerm)) this.#parts.diskRoom.retryNow();
    }
    this.#send(batch);
    if (batch.install !== null) this.#snapshots.install(batch.install);
    this.#apply(batch.committed);
    for (const event of batch.events) this.#parts.onEvent(event);
    this.#dismissClientsOfLostLeadership();
    this.#reads.settle(batch.reads, status);
    this.#handover.consider(status);
    this.#snapshots.consider();
    if (this.#raft.hasMore) this.#wake();
  }

  #followConfiguration(): RaftStatus {
    const status = this.#raft.status();
    const { id, configuration } = status;
    if (configuration !== this.#configuration) {
      this.#configuration = configuration;
      this.#parts.transport.setPeers(configuration.filter((member) => member.id !== id));
    }
    return status;
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
        assert(
          reply.kind !== "snapshotChunkReply" && reply.kind !== "readIndexReply",
          "a reply of another kind",
        );
        raft.handleReply(to, request, reply);
      }
    });
  }

  #apply(committed: readonly Entry<Command>[]): void {
    const { machine } = this.#parts;
    for (const { index, term, payload } of committed) {
      if (payload.kind === "command") {
        this.#clients.applied(index, term, machine.apply(index, payload.command));
        this.#snapshots.taken.applied(payload.byteLength);
      } else {
        machine.skip(index);
        this.#changes.applied(index, term, null);
        this.#snapshots.taken.applied(0);
      }
    }
  }

  /** A server waits for clients only while it leads the term in which it took their puts. */
  #dismissClientsOfLostLeadership(): void {
    if (this.#clients.count + this.#changes.count === 0) return;
    if (this.#raft.status().role !== "leader") this.#giveUp("leadership was lost before it was committed");
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
      this.#giveUp("the disk is full");
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
    this.#giveUp(why);
    this.#reads.end();
    this.#handover.giveUp();
  }

  #giveUp(why: string): void {
    this.#clients.giveUp(why);
    this.#changes.giveUp(why);
  }

  async #stop(): Promise<void> {
    if (this.#life === "runs") {
      const handedOver = this.#handover.begin(null, STOPPING_TRANSFER_MS);
      this.#wake();
      await handedOver;
    }
    // Perhaps the disk has failed meanwhile.
    if (this.#life === "runs") this.#halt("stops", "the server is stopping");
    await Promise.all([this.#persister.idle(), this.#snapshots.stop()]);
    await this.#parts.store.close();
  }

  #newReads(): Reads {
    const { clock, transport, limits, machine } = this.#parts;
    return new Reads({
      clock,
      raft: this.#raft,
      transport,
      appliedIndex: () => machine.appliedIndex,
      maxPending: limits.maxPendingReads,
      wake: () => this.#wake(),
    });
  }
}

function recoveredRaft({ raftOptions }: Pick<NodeParts, "raftOptions">, recovered: Recovered): Raft<Command> {
  const { identity, hardState, log, snapshot } = recovered;
  return new Raft(raftOptions, {
    hardState,
    log,
    snapshot: snapshot?.info.position ?? ORIGIN,
    configuration: snapshot?.configuration ?? identity.members,
    configurationFrom: identity.membersFrom ?? 0,
  });
}

function asPeerReply(reply: Reply): PeerReply {
  assert(reply.kind !== "installSnapshotReply", "a reply of another kind");
  return reply;
}
