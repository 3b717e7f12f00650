import { drainMicrotasks } from "bun:jsc";
import { unreachable } from "../base/assert.ts";
import { RaftKvError } from "../base/errors.ts";
import type { KvStateMachine } from "../kv/state-machine.ts";
import { DiskRoom } from "../node/disk-room.ts";
import type { NodeEvent } from "../node/node-event.ts";
import { Node } from "../node/node.ts";
import type { PeerReply, PeerRequest } from "../node/peer-message.ts";
import { memberOf, type Configuration } from "../raft/configuration.ts";
import type { LogIndex, ServerId, Term } from "../raft/entry.ts";
import { hardStateAfterLoss, type HardState } from "../raft/hard-state.ts";
import type { RaftStatus } from "../raft/raft.ts";
import { createServerStore, eraseServer, openServerStore } from "../storage/server-store.ts";
import type { Identity, Recovered, Store } from "../storage/store.ts";
import type { FaultCounter } from "./fault-counter.ts";
import { momentOfEvent, type Moment } from "./moment.ts";
import { ObservedMachine } from "./observed-machine.ts";
import { observeStore } from "./observed-store.ts";
import { observeTransport } from "./observed-transport.ts";
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
/** A few turns of the event loop. */
const TURNS_US = 1000;
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
  /** It has no files: it was never a server, or they were taken away. */
  | { readonly kind: "absent" }
  | { readonly kind: "down" }
  | { readonly kind: "starting"; readonly process: SimProcess }
  | {
      readonly kind: "up";
      readonly process: SimProcess;
      readonly node: Node;
      readonly store: Store;
      readonly machine: KvStateMachine;
      /** The clients that it has not answered. */
      readonly waiting: Set<WaitingClient>;
      /** Asked to end: it hands over, if it leads, and answers nobody any more when that is done. */
      stopping: boolean;
    }
  /** Its files were damaged or lost and it said so: it stays out until it is made anew. */
  | { readonly kind: "refused" };

interface WaitingClient {
  readonly call: "put" | "get";
  readonly sinceUs: number;
}

/** One server machine: a disk that outlives every crash, and a process that runs the production code. */
export class SimServer implements Endpoint {
  readonly id: ServerId;
  readonly disk: SimDisk;
  readonly #parts: ServerParts;
  readonly #clockRate: number;
  #life: Life = { kind: "absent" };
  /** Somebody damaged its files since it last ran: it may refuse to start. */
  damaged = false;
  /** Made anew, it has not caught up. */
  #abstains = false;
  /** How many leaders' snapshots it has installed. */
  installs = 0;
  /** How often it has asked whether it could be elected. */
  stood = 0;
  /** When it last came back from a pause, in microseconds. */
  resumedUs = 0;
  /** When it last gave up handing over, in microseconds. */
  transferFailedUs = 0;
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
  /** Of its log; 0: it does not run. */
  get logBytes(): number {
    return this.#life.kind === "up" ? this.#life.store.logBytes : 0;
  }
  /** Asked to end, it still serves, for a while. */
  get isStopping(): boolean {
    return this.#life.kind === "up" && this.#life.stopping;
  }

  /**
   * How many clients it has not answered that it took on as a leader before `untilUs`. A read is taken on in the
   * turn after it came; if leadership is lost before that, it is as good as a follower's.
   */
  waitingCount(untilUs: number): number {
    if (this.#life.kind !== "up") return 0;
    let count = 0;
    for (const { call, sinceUs } of this.#life.waiting) {
      if (call === "put" || sinceUs + TURNS_US < untilUs) count += 1;
    }
    return count;
  }

  /** A client waits from now on; returns what says that it has its answer. */
  clientWaits(call: WaitingClient["call"]): () => void {
    if (this.#life.kind !== "up") return () => {};
    const { waiting } = this.#life;
    const client = { call, sinceUs: this.#parts.timeline.nowUs };
    waiting.add(client);
    return () => waiting.delete(client);
  }

  get process(): SimProcess {
    if ("process" in this.#life) return this.#life.process;
    throw new TypeError(`server ${this.id} has no process`);
  }

  #identity(members: Configuration, membersFrom: LogIndex = 0): Identity {
    const since = membersFrom === 0 ? {} : { membersFrom };
    return { clusterId: "simulated", serverId: this.id, members, ...since };
  }

  /** Makes its files, as StartRaft does for each of `founders`. */
  create(founders: Configuration): void {
    createServerStore(this.disk.files, STATE_DIRECTORY, this.#identity(founders)).catch((error: unknown) =>
      this.#parts.onFailure(error),
    );
    drainMicrotasks();
    this.disk.processDied();
    this.#life = { kind: "down" };
  }

  /**
   * Makes its files anew, as ReplaceServer does, and starts it. No other of `members`, which is what all of them go
   * by from the entry at `membersFrom` on, is in a later term than `term`.
   */
  makeAnew(term: Term, members: Configuration, membersFrom: LogIndex): void {
    const hardState = hardStateAfterLoss(term, this.id);
    this.#remake(hardState, this.#identity(members, membersFrom));
    this.#abstains = true;
    this.#tell("is made anew", hardState);
    this.#parts.safety.madeAnew(this.id, hardState);
    this.start();
  }

  /** Its process ends and its files go; it is no member of any configuration that counts. */
  leave(): void {
    this.kill();
    this.disk.replace();
    this.#life = { kind: "absent" };
    this.#parts.safety.configurations.forget(this.id);
    this.#tell("has no files any more");
  }

  /**
   * Makes the files of a server that is to be added, and starts it. A leader has committed that it is no member:
   * what a former self may have voted, and held, counts no more (server/joining.ts). Everything up to `committed` was
   * committed then.
   */
  join(hardState: HardState, committed: LogIndex): void {
    this.#remake(hardState, this.#identity([]));
    this.#abstains = true;
    this.#tell("is to join", hardState);
    this.#parts.safety.begunAnew(this.id, hardState, committed);
    this.start();
  }

  #remake(hardState: HardState, identity: Identity): void {
    this.disk.makeRoom();
    eraseServer(this.disk.files, STATE_DIRECTORY, this.id)
      .then(() => createServerStore(this.disk.files, STATE_DIRECTORY, identity, { hardState }))
      .catch((error: unknown) => this.#parts.onFailure(error));
    drainMicrotasks();
    this.disk.processDied();
    this.damaged = false;
    this.#life = { kind: "down" };
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
    const machine = new ObservedMachine(this.id, safety, swarm.memory);
    const node: Node = new Node({
      raftOptions: {
        id: this.id,
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
      limits: {
        maxPendingProposals: 1000,
        maxPendingBytes: 1_000_000,
        maxPendingReads: 1000,
        maxPendingRpcs: 1000,
      },
      snapshots: {
        entries: swarm.snapshot.everyEntries || Infinity,
        bytes: Infinity,
        keepEntries: swarm.snapshot.keepEntries,
        chunkBytes: swarm.snapshot.maxChunkBytes,
        transferBytesPerSecond: TRANSFER_BYTES_PER_SECOND,
      },
      clock: process,
      transport: observeTransport(network.transport(this.id, process, swarm.maxInflight), {
        server: this,
        safety,
        swarm,
      }),
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
    this.#life = { kind: "up", process, node, store, machine, waiting: new Set(), stopping: false };
    this.calmedUs = timeline.nowUs;
    this.#chunks = new Set();
    node.start();
  }

  /** Until it is durable that it votes again, it abstains after a crash. */
  #persisted(): void {
    const { safety, onCaughtUp } = this.#parts;
    if (!this.#abstains || safety.votes.abstains(this.id)) return;
    this.#abstains = false;
    onCaughtUp(this);
  }

  #happened(event: NodeEvent): void {
    const { faults, safety, timeline, onMoment } = this.#parts;
    this.#tell(event.kind, event);
    if (event.kind === "snapshotTaken") faults.count("snapshotTaken");
    if (event.kind === "votesAgain") safety.votes.votesAgain(this.id);
    if (event.kind === "becamePreCandidate") this.stood += 1;
    if (event.kind === "transferFailed") {
      faults.count("transferFailed");
      this.transferFailedUs = timeline.nowUs;
    }
    if (event.kind === "installed") {
      faults.count("snapshotInstalled");
      this.installs += 1;
      // Its last chunk came a while ago: it was made durable and read before the core heard of it.
      this.calmedUs = timeline.nowUs;
    }
    const moment = momentOfEvent(event.kind);
    if (moment !== null) onMoment(this, moment);
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
    const before = node.status();
    const answered = node.handleRequest(request);
    if (request.kind === "timeoutNow") this.#parts.safety.askedToStand(request, before, node.status());
    if (!this.isStopping) this.#checkHeard(request, node.status());
    if (isCalming(request, node.status())) {
      this.calmedUs = this.#parts.timeline.nowUs;
      if (request.kind === "requestVote") this.#parts.onMoment(this, "voted");
    }
    const chunks = this.#chunks;
    if (request.kind === "snapshotChunk") chunks.add(request);
    void this.#answer(request, answered, reply).finally(() => chunks.delete(request));
  }

  #checkHeard(request: PeerRequest, status: RaftStatus): void {
    const tellsTerm =
      request.kind === "appendEntries" ||
      request.kind === "timeoutNow" ||
      (request.kind === "requestVote" && !request.preVote);
    if (tellsTerm) this.#parts.safety.heardOf(this.id, request.term, status);
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

  /**
   * SIGTERM: it hands over if it leads, ends when its disk has what it was given, and is started again soon. Only
   * while it is up.
   */
  stop(): void {
    const life = this.#life;
    if (life.kind !== "up" || life.stopping) return;
    const { node } = life;
    const { role, currentTerm } = node.status();
    life.stopping = true;
    this.#tell("stops");
    const stopped = (): void => {
      if (this.#life !== life) return;
      if (role === "leader" && node.status().currentTerm > currentTerm)
        this.#parts.faults.count("handedOver");
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
    if ("process" in this.#life) this.#life = { kind: "down" };
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
  switch (request.kind) {
    case "requestVote":
      return request.term === currentTerm && !request.preVote && request.candidateId === votedFor;
    case "appendEntries":
    case "snapshotChunk":
      return request.term === currentTerm && request.leaderId === leaderId;
    case "timeoutNow":
    case "readIndex":
      return false;
    default:
      return unreachable(request);
  }
}

/** Whether it counts in what it goes by. */
export function isVoter({ id, configuration }: RaftStatus): boolean {
  return memberOf(configuration, id)?.voter === true;
}
