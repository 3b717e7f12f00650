import { drainMicrotasks } from "bun:jsc";
import { RaftKvError } from "../base/errors.ts";
import type { KvStateMachine } from "../kv/state-machine.ts";
import { DiskRoom } from "../node/disk-room.ts";
import type { NodeEvent } from "../node/node-event.ts";
import { Node } from "../node/node.ts";
import type { PeerReply, PeerRequest } from "../node/peer-message.ts";
import type { Transport } from "../node/transport.ts";
import type { ServerId, Term } from "../raft/entry.ts";
import { hardStateAfterLoss } from "../raft/hard-state.ts";
import type { RaftStatus } from "../raft/raft.ts";
import { createServerStore, eraseServer, openServerStore } from "../storage/server-store.ts";
import type { Identity, Recovered, Store } from "../storage/store.ts";
import type { FaultCounter } from "./fault-counter.ts";
import { momentOfEvent, type Moment } from "./moment.ts";
import { ObservedMachine } from "./observed-machine.ts";
import { observeStore } from "./observed-store.ts";
import type { Random } from "./random.ts";
import type { Safety } from "./safety.ts";
import { STATE_DIRECTORY, type SimDisk } from "./sim-disk.ts";
import type { Endpoint, SimNetwork } from "./sim-network.ts";
import { SimProcess } from "./sim-process.ts";
import type { Swarm } from "./swarm.ts";
import type { Timeline } from "./timeline.ts";
import { Violation } from "./violation.ts";

const TICK_MS = 10;
const RESTARTED_AFTER_US = 500_000;
/** No pause between two chunks of a snapshot would be noticed among the others. */
const TRANSFER_BYTES_PER_SECOND = 1_000_000;

/** What all servers of a simulation share. */
export interface ServerParts {
  readonly timeline: Timeline;
  readonly random: Random;
  readonly swarm: Swarm;
  readonly network: SimNetwork;
  readonly safety: Safety;
  readonly faults: FaultCounter;
  readonly newDisk: (onMoment: (moment: Moment) => void) => SimDisk;
  readonly onEvent: (who: string, what: string, detail?: unknown) => void;
  /** Something ran in the server. */
  readonly onRan: (server: SimServer) => void;
  /** A bad moment for it to die. */
  readonly onMoment: (server: SimServer, moment: Moment) => void;
  /** It will not start with the files that it has. */
  readonly onRefused: (server: SimServer) => void;
  /** Made anew, it has caught up and votes again. */
  readonly onCaughtUp: (server: SimServer) => void;
  /** A property was violated, or an assertion failed, where nobody can catch it. */
  readonly onFailure: (error: unknown) => void;
}

type Life =
  | { readonly kind: "down" }
  | { readonly kind: "starting" | "stopping"; readonly process: SimProcess }
  | {
      readonly kind: "up";
      readonly process: SimProcess;
      readonly node: Node;
      readonly store: Store;
      readonly machine: KvStateMachine;
      /** The clients whose puts it has and has not answered. */
      readonly waiting: Set<symbol>;
    }
  /** Its files were damaged or lost and it said so: it stays out until it is made anew. */
  | { readonly kind: "refused" };

/** One server machine: a disk that outlives every crash, and a process that runs the production code. */
export class SimServer implements Endpoint {
  readonly id: ServerId;
  readonly disk: SimDisk;
  readonly #parts: ServerParts;
  readonly #clockRate: number;
  #life: Life = { kind: "down" };
  /** Somebody damaged its files since it last ran: it may refuse to start. */
  damaged = false;
  /** Made anew, it has not caught up. */
  #abstains = false;
  /** How many leaders' snapshots it has installed. */
  installs = 0;
  /** When it last came back from a pause, in microseconds. */
  resumedUs = 0;
  /** When it last had a reason not to stand for election, in microseconds. */
  calmedUs = 0;
  /** When it last had no room on its disk, in microseconds. */
  fullUs = -Infinity;
  /** When it was first seen not to lead any more, in microseconds; null: it leads. */
  stoppedLeadingUs: number | null = null;
  /** Pieces of a snapshot that it has and has not answered, in this life. */
  #chunks = new Set<PeerRequest>();

  constructor(id: ServerId, clockRate: number, parts: ServerParts) {
    this.id = id;
    this.disk = parts.newDisk((moment) => parts.onMoment(this, moment));
    this.#parts = parts;
    this.#clockRate = clockRate;
  }

  get life(): Life {
    return this.#life;
  }
  get node(): Node | null {
    return this.#life.kind === "up" ? this.#life.node : null;
  }
  get isPaused(): boolean {
    return this.#life.kind === "up" && this.#life.process.paused;
  }
  /** Of its newest snapshot; 0: there is none, or it does not run. */
  get snapshotBytes(): number {
    return this.#life.kind === "up" ? (this.#life.store.snapshotInfo?.totalBytes ?? 0) : 0;
  }
  /** How many clients it has not answered. */
  get waitingCount(): number {
    return this.#life.kind === "up" ? this.#life.waiting.size : 0;
  }

  /** A client waits from now on; returns what says that it has its answer. */
  clientWaits(): () => void {
    if (this.#life.kind !== "up") return () => {};
    const { waiting } = this.#life;
    const client = Symbol("client");
    waiting.add(client);
    return () => waiting.delete(client);
  }

  get process(): SimProcess {
    if ("process" in this.#life) return this.#life.process;
    throw new TypeError(`server ${this.id} has no process`);
  }

  get #identity(): Identity {
    const servers = Array.from({ length: this.#parts.swarm.servers }, (_, id) => id);
    return { clusterId: "simulated", serverId: this.id, servers };
  }

  /** Makes its files, as StartRaft does. */
  create(): Promise<void> {
    return createServerStore(this.disk.files, STATE_DIRECTORY, this.#identity);
  }

  /** Makes its files anew, as ReplaceServer does, and starts it. No other server is in a later term than `term`. */
  makeAnew(term: Term): void {
    const hardState = hardStateAfterLoss(term, this.id);
    this.disk.makeRoom();
    eraseServer(this.disk.files, STATE_DIRECTORY, this.id)
      .then(() => createServerStore(this.disk.files, STATE_DIRECTORY, this.#identity, { hardState }))
      .catch((error: unknown) => this.#parts.onFailure(error));
    drainMicrotasks();
    this.disk.processDied();
    this.damaged = false;
    this.#abstains = true;
    this.#life = { kind: "down" };
    this.#tell("is made anew", hardState);
    this.#parts.safety.madeAnew(this.id, hardState);
    this.start();
  }

  /** Starts the process, which recovers and then serves. */
  start(): void {
    if (this.#life.kind !== "down") return;
    const process = new SimProcess(this.#parts.timeline, this.#clockRate, () => this.#parts.onRan(this));
    this.#life = { kind: "starting", process };
    this.#tell("starts");
    const diskRoom = new DiskRoom(process);
    const { maxSegmentBytes } = this.#parts.swarm;
    const options = { maxSegmentBytes, whenFull: (error: RaftKvError) => diskRoom.whenFull(error) };
    void openServerStore(this.disk.mount(process), STATE_DIRECTORY, this.id, options)
      .then(({ store, recovered }) => this.#serve(process, diskRoom, store, recovered))
      .catch((error: unknown) => this.#cannotStart(error));
  }

  #serve(process: SimProcess, diskRoom: DiskRoom, store: Store, recovered: Recovered): void {
    const { safety, network, swarm, random, timeline } = this.#parts;
    const { hardState, snapshot, log, repairs } = recovered;
    const snapshotIndex = snapshot?.info.position.index ?? 0;
    this.#tell("recovered", {
      ...hardState,
      snapshotIndex,
      base: log.base.index,
      entries: log.entries.length,
      repairs,
    });
    safety.recovered(this.id, recovered, this.damaged);
    this.damaged = false;
    const machine = new ObservedMachine(this.id, safety);
    const node: Node = new Node({
      raftOptions: {
        id: this.id,
        voters: recovered.identity.servers,
        electionTimeoutMinTicks: 15,
        electionTimeoutMaxTicks: 30,
        heartbeatTicks: 5,
        maxBatchEntries: swarm.maxBatchEntries,
        maxBatchBytes: 1024 * 1024,
        maxInflight: swarm.maxInflight,
        maxCommittedPerBatch: 64,
        randomInt: (min, max) => random.int(min, max),
      },
      tickMs: TICK_MS,
      limits: { maxPendingProposals: 1000, maxPendingBytes: 1_000_000, maxPendingRpcs: 1000 },
      snapshots: {
        entries: swarm.snapshot.everyEntries || Infinity,
        bytes: Infinity,
        keepEntries: swarm.snapshot.keepEntries,
        chunkBytes: swarm.snapshot.maxChunkBytes,
        transferBytesPerSecond: TRANSFER_BYTES_PER_SECOND,
      },
      clock: process,
      transport: this.#observedTransport(network.transport(this.id, process, swarm.maxInflight)),
      store: observeStore(store, {
        id: this.id,
        safety,
        node: () => node,
        onPersisted: () => this.#persisted(),
      }),
      diskRoom,
      recovered,
      machine,
      onEvent: (event) => this.#happened(event),
      onFailure: (error) => this.#diskFailed(error),
    });
    this.#life = { kind: "up", process, node, store, machine, waiting: new Set() };
    this.calmedUs = timeline.nowUs;
    this.#chunks = new Set();
    node.start();
  }

  /** Until it is durable that it votes again, it abstains after a crash. */
  #persisted(): void {
    const { safety, onCaughtUp } = this.#parts;
    if (!this.#abstains || safety.durable(this.id).hardState.abstainsThrough > 0) return;
    this.#abstains = false;
    onCaughtUp(this);
  }

  #happened(event: NodeEvent): void {
    const { faults, safety, timeline, onMoment } = this.#parts;
    this.#tell(event.kind, event);
    if (event.kind === "snapshotTaken") faults.count("snapshotTaken");
    if (event.kind === "votesAgain") safety.votesAgain(this.id);
    if (event.kind === "installed") {
      faults.count("snapshotInstalled");
      this.installs += 1;
      // Its last chunk came a while ago: it was made durable and read before the core heard of it.
      this.calmedUs = timeline.nowUs;
    }
    const moment = momentOfEvent(event.kind);
    if (moment !== null) onMoment(this, moment);
  }

  /** Shows the checks what leaves. */
  #observedTransport(transport: Transport): Transport {
    const { safety, swarm } = this.#parts;
    return {
      send: (to, request, settle) => {
        safety.sending(this.id, request, swarm);
        transport.send(to, request, (reply) => {
          settle(reply);
          // The term of a granted pre-vote is one that was asked about; a chunk's reply goes to the core a little later.
          const tellsNothing =
            reply === null ||
            reply.kind === "snapshotChunkReply" ||
            (reply.kind === "requestVoteReply" && reply.voteGranted);
          if (this.node !== null) safety.heardOf(this.id, tellsNothing ? 0 : reply.term, this.node.status());
        });
      },
      close: () => transport.close(),
    };
  }

  #cannotStart(error: unknown): void {
    const code = error instanceof RaftKvError ? error.code : null;
    if (code === "io") {
      this.#tell("cannot start", { error: String(error) });
      this.losePower();
      this.#parts.timeline.schedule(RESTARTED_AFTER_US, () => this.start());
    } else if (code === "diskFull") {
      this.#tell("cannot start", { error: String(error) });
      this.kill();
      this.#parts.timeline.schedule(RESTARTED_AFTER_US, () => this.start());
    } else if (this.damaged && (code === "corruption" || code === "failedPrecondition")) {
      this.#tell("refuses its damaged files", { error: String(error) });
      this.kill();
      this.#life = { kind: "refused" };
      this.#parts.onRefused(this);
    } else if (code === null) {
      this.#parts.onFailure(error);
    } else {
      this.#parts.onFailure(
        new Violation("Recovery", `server ${this.id} refuses to start: ${String(error)}`),
      );
    }
  }

  /** What could not be written is gone from the page cache too. The process ends, as it does in earnest. */
  #diskFailed(error: unknown): void {
    if (!(error instanceof RaftKvError) || (error.code !== "io" && error.code !== "diskFull")) {
      this.#parts.onFailure(error);
      return;
    }
    if (error.code === "diskFull") {
      this.#parts.onFailure(
        new Violation("Disk full", `server ${this.id} ends, for its disk is full: ${error.message}`),
      );
      return;
    }
    this.#tell("ends itself", { error: error.message });
    this.losePower();
    this.#parts.timeline.schedule(RESTARTED_AFTER_US, () => this.start());
  }

  handle(request: PeerRequest, reply: (reply: PeerReply | null) => void): void {
    const { node } = this;
    if (node === null) {
      reply(null);
      return;
    }
    const { safety } = this.#parts;
    const answered = node.handleRequest(request);
    if (request.kind === "appendEntries" || (request.kind === "requestVote" && !request.preVote)) {
      safety.heardOf(this.id, request.term, node.status());
    }
    if (isCalming(request, node.status())) {
      this.calmedUs = this.#parts.timeline.nowUs;
      if (request.kind === "requestVote") this.#parts.onMoment(this, "voted");
    }
    const chunks = this.#chunks;
    if (request.kind === "snapshotChunk") chunks.add(request);
    void this.#answer(request, answered, reply).finally(() => chunks.delete(request));
  }

  /** A piece of a snapshot waits for those before it: the core hears of its leader whenever it is its turn. */
  get receivesSnapshot(): boolean {
    return this.#chunks.size > 0;
  }

  async #answer(
    request: PeerRequest,
    answered: Promise<PeerReply>,
    reply: (reply: PeerReply | null) => void,
  ): Promise<void> {
    const { safety, onFailure } = this.#parts;
    try {
      const answer = await answered;
      safety.replying(this.id, request, answer, this.node?.status().currentTerm ?? 0);
      reply(answer);
    } catch (error) {
      // Refused is as good as lost; anything else is a bug.
      if (error instanceof RaftKvError) reply(null);
      else onFailure(error);
    }
  }

  /** SIGTERM: it ends when its disk has what it was given, and is started again soon. Only while it is up. */
  stop(): void {
    if (this.#life.kind !== "up") return;
    const { process, node } = this.#life;
    const life: Life = { kind: "stopping", process };
    this.#life = life;
    this.#tell("stops");
    const stopped = (): void => {
      if (this.#life !== life) return;
      this.kill();
      this.#parts.timeline.schedule(RESTARTED_AFTER_US, () => this.start());
    };
    node.stop().then(stopped, (error: unknown) => {
      if (this.#life === life) this.#diskFailed(error);
    });
  }

  /** SIGKILL: what it wrote stays in the page cache. */
  kill(): void {
    if ("process" in this.#life) this.#life.process.kill();
    if (this.#life.kind !== "refused") this.#life = { kind: "down" };
    this.disk.processDied();
    this.#tell("is killed");
  }

  /** The machine goes off: what was not synced may be gone. */
  losePower(): void {
    this.kill();
    this.disk.powerLost();
    this.#tell("loses power");
  }

  pause(): void {
    if (this.#life.kind !== "up") return;
    this.#tell("is stopped");
    this.#life.process.pause();
  }

  resume(): void {
    if (this.#life.kind !== "up" || !this.#life.process.paused) return;
    this.#tell("goes on");
    this.resumedUs = this.#parts.timeline.nowUs;
    this.calmedUs = this.resumedUs;
    this.#life.process.resume();
  }

  #tell(what: string, detail?: unknown): void {
    this.#parts.onEvent(`server ${this.id}`, what, detail);
  }
}

/** E4: what sets an election timer back, and nothing else does: a word of the leader, a vote given. */
function isCalming(request: PeerRequest, { currentTerm, votedFor, leaderId }: RaftStatus): boolean {
  if (request.term !== currentTerm) return false;
  return request.kind === "requestVote"
    ? !request.preVote && request.candidateId === votedFor
    : request.leaderId === leaderId;
}
