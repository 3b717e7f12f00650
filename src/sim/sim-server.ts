import { RaftKvError } from "../base/errors.ts";
import type { Command } from "../kv/command.ts";
import { KvStateMachine, type PutResult } from "../kv/state-machine.ts";
import { Node } from "../node/node.ts";
import type { Transport } from "../node/transport.ts";
import type { ServerId } from "../raft/entry.ts";
import type { Reply, Request } from "../raft/message.ts";
import type { RaftStatus } from "../raft/raft.ts";
import { createServerStore, openServerStore } from "../storage/server-store.ts";
import type { Recovered, Store } from "../storage/store.ts";
import type { Random } from "./random.ts";
import type { Safety } from "./safety.ts";
import { MOMENTS, type Moment } from "./moment.ts";
import type { SimDisk } from "./sim-disk.ts";
import type { Endpoint, SimNetwork } from "./sim-network.ts";
import { SimProcess } from "./sim-process.ts";
import type { Swarm } from "./swarm.ts";
import type { Timeline } from "./timeline.ts";
import { Violation } from "./violation.ts";

const STATE_DIRECTORY = "raft_state";
const TICK_MS = 10;
const RESTART_AFTER_IO_ERROR_US = 500_000;

/** What all servers of a simulation share. */
export interface ServerParts {
  readonly timeline: Timeline;
  readonly random: Random;
  readonly swarm: Swarm;
  readonly network: SimNetwork;
  readonly safety: Safety;
  readonly newDisk: (onMoment: (moment: Moment) => void) => SimDisk;
  readonly onEvent: (who: string, what: string, detail?: unknown) => void;
  /** Something ran in the server. */
  readonly onRan: (server: SimServer) => void;
  /** A bad moment for it to die. */
  readonly onMoment: (server: SimServer, moment: Moment) => void;
  /** A property was violated, or an assertion failed, where nobody can catch it. */
  readonly onFailure: (error: unknown) => void;
}

type Life =
  | { readonly kind: "down" }
  | { readonly kind: "starting"; readonly process: SimProcess }
  | {
      readonly kind: "up";
      readonly process: SimProcess;
      readonly node: Node;
      readonly machine: KvStateMachine;
      /** The clients whose puts it has and has not answered. */
      readonly waiting: Set<symbol>;
    }
  /** Its files were damaged and it said so: it stays out. */
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
  /** When it last came back from a pause, in microseconds. */
  resumedUs = 0;
  /** When it last had a reason not to stand for election, in microseconds. */
  calmedUs = 0;
  /** When it was first seen not to lead any more, in microseconds; null: it leads. */
  stoppedLeadingUs: number | null = null;

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
    if (this.#life.kind === "up" || this.#life.kind === "starting") return this.#life.process;
    throw new TypeError(`server ${this.id} has no process`);
  }

  /** Makes its files, as StartRaft does. */
  create(servers: readonly ServerId[]): Promise<void> {
    const identity = { clusterId: "simulated", serverId: this.id, servers };
    return createServerStore(this.disk.files, STATE_DIRECTORY, identity);
  }

  /** Starts the process, which recovers and then serves. */
  start(): void {
    if (this.#life.kind !== "down") return;
    const process = new SimProcess(this.#parts.timeline, this.#clockRate, () => this.#parts.onRan(this));
    this.#life = { kind: "starting", process };
    this.#tell("starts");
    const { maxSegmentBytes } = this.#parts.swarm;
    void openServerStore(this.disk.mount(process), STATE_DIRECTORY, this.id, { maxSegmentBytes })
      .then(({ store, recovered }) => this.#serve(process, store, recovered))
      .catch((error: unknown) => this.#cannotStart(error));
  }

  #serve(process: SimProcess, store: Store, recovered: Recovered): void {
    const { safety, network, swarm, random } = this.#parts;
    const { hardState, entries, repairs } = recovered;
    this.#tell("recovered", { ...hardState, entries: entries.length, repairs });
    safety.recovered(this.id, recovered);
    this.damaged = false;
    const machine = new ObservedMachine((index, command, result) => {
      safety.applied(this.id, index, command, result);
    });
    const node = new Node({
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
      clock: process,
      transport: this.#observedTransport(network.transport(this.id, process, swarm.maxInflight)),
      store: this.#observed(store),
      recovered,
      machine,
      onEvent: (event) => {
        this.#tell(event.kind, event);
        const moment = MOMENTS.find((name) => name === event.kind);
        if (moment !== undefined) this.#parts.onMoment(this, moment);
      },
      onFailure: (error) => this.#diskFailed(error),
    });
    this.#life = { kind: "up", process, node, machine, waiting: new Set() };
    this.calmedUs = this.#parts.timeline.nowUs;
    node.start();
  }

  /** Shows the checks what leaves. */
  #observedTransport(transport: Transport): Transport {
    const { safety, swarm } = this.#parts;
    return {
      send: (to, request, settle) => {
        safety.sending(this.id, request, swarm.maxBatchEntries);
        transport.send(to, request, (reply) => {
          settle(reply);
          // The term of a granted pre-vote is one that was asked about.
          const heard = reply?.kind === "requestVoteReply" && reply.voteGranted ? 0 : (reply?.term ?? 0);
          if (this.node !== null) safety.heardOf(this.id, heard, this.node.status());
        });
      },
      close: () => transport.close(),
    };
  }

  /** Tells the checks what is on its way to the disk, and what the store says has arrived. */
  #observed(store: Store): Store {
    const { safety } = this.#parts;
    return {
      get logBytes() {
        return store.logBytes;
      },
      persist: async (persist) => {
        if (this.node !== null) safety.persisting(this.id, persist, this.node);
        await store.persist(persist);
        safety.durable(this.id).finished(persist);
      },
      close: () => store.close(),
    };
  }

  #cannotStart(error: unknown): void {
    const code = error instanceof RaftKvError ? error.code : null;
    if (code === "io") {
      this.#tell("cannot start", { error: String(error) });
      this.losePower();
      this.#parts.timeline.schedule(RESTART_AFTER_IO_ERROR_US, () => this.start());
    } else if (this.damaged && (code === "corruption" || code === "failedPrecondition")) {
      this.#tell("refuses its damaged files", { error: String(error) });
      this.kill();
      this.#life = { kind: "refused" };
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
    if (!(error instanceof RaftKvError) || error.code !== "io") {
      this.#parts.onFailure(error);
      return;
    }
    this.#tell("ends itself", { error: error.message });
    this.losePower();
    this.#parts.timeline.schedule(RESTART_AFTER_IO_ERROR_US, () => this.start());
  }

  handle(request: Request<Command>, reply: (reply: Reply | null) => void): void {
    const { node } = this;
    if (node === null) {
      reply(null);
      return;
    }
    const { safety } = this.#parts;
    const answered = node.handleRequest(request);
    if (request.kind === "appendEntries" || !request.preVote) {
      safety.heardOf(this.id, request.term, node.status());
    }
    if (isCalming(request, node.status())) {
      this.calmedUs = this.#parts.timeline.nowUs;
      if (request.kind === "requestVote") this.#parts.onMoment(this, "voted");
    }
    void this.#answer(request, answered, reply);
  }

  async #answer(
    request: Request<Command>,
    answered: Promise<Reply>,
    reply: (reply: Reply | null) => void,
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

  /** SIGKILL: what it wrote stays in the page cache. */
  kill(): void {
    if (this.#life.kind === "up" || this.#life.kind === "starting") this.#life.process.kill();
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
function isCalming(request: Request<Command>, { currentTerm, votedFor, leaderId }: RaftStatus): boolean {
  if (request.term !== currentTerm) return false;
  return request.kind === "appendEntries"
    ? request.leaderId === leaderId
    : !request.preVote && request.candidateId === votedFor;
}

class ObservedMachine extends KvStateMachine {
  readonly #observe: (index: number, command: Command, result: PutResult) => void;

  constructor(observe: (index: number, command: Command, result: PutResult) => void) {
    super();
    this.#observe = observe;
  }

  override apply(index: number, command: Command): PutResult {
    const result = super.apply(index, command);
    this.#observe(index, command, result);
    return result;
  }
}
