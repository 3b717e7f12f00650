/**
 * Leadership and members that are changed on purpose, in a calm cluster; each with a promise that must be kept:
 *
 *   leadership goes to a follower        it leads the next term, and no election timeout has passed (dissertation §3.10)
 *   leadership is to go to a dead one    the leader goes on, in the same term, and takes writes
 *   the leader is asked to end           another one leads, and no election timeout has passed
 *   a follower is removed while away     back again, it disturbs nobody (M4); added again, it is soon a voter (M5)
 *   the leader is removed                another one leads (M4), and the removed one can be added again
 *   a server is added that is new        it is soon a voter (M5)
 */
import { memberOf, votersOf, type ConfigurationChange } from "../raft/configuration.ts";
import { majority } from "../raft/quorum.ts";
import type { ChangeOutcome } from "../node/waiting-clients.ts";
import { CONVERGENCE_US, type Calm, type CalmParts, type RunningServer } from "./calm.ts";
import { hardStateToJoinWith } from "./operator.ts";
import { spareAddress } from "./sim-network.ts";
import type { SimServer } from "./sim-server.ts";
import { require } from "./violation.ts";

/** Several election timeouts. */
const ACT_US = 1_200_000;
/** Not every act in every run: that keeps them short. */
const PLAYED = 0.5;
/** Messages and disks may be so slow, together, that it is given up at first. */
const ATTEMPTS = 5;

export class MembershipActs {
  readonly #calm: Calm;
  readonly #parts: CalmParts;

  constructor(calm: Calm) {
    this.#calm = calm;
    this.#parts = calm.parts;
  }

  /** Throws Violation when a promise is broken. */
  play(): void {
    const acts = [
      () => this.#handOver(),
      () => this.#handOverToDead(),
      () => this.#endLeader(),
      () => this.#removeFollower(),
      () => this.#removeLeader(),
      () => this.#addSpare(),
    ];
    for (const act of this.#parts.random.some(acts, PLAYED)) act();
  }

  #handOver(): void {
    const { leader, voters } = this.#calm;
    const [follower] = this.#parts.random.shuffle(voters.filter(({ server }) => server !== leader?.server));
    if (leader === null || follower === undefined) return;
    const { currentTerm } = leader.node.status();
    this.#tell(leader.server, `hands over to ${follower.server.id}`);
    const stood = this.#stood();
    let outcome: string | null = null;
    for (let attempt = 0; attempt < ATTEMPTS && outcome !== "done"; attempt += 1) {
      const transfer = this.#calm.outcome(leader.node.transferLeadership(follower.server.id));
      outcome = transfer?.kind ?? null;
    }
    const status = follower.node.status();
    require("Transfer", outcome === "done" && status.role === "leader", () => {
      return `server ${leader.server.id} led term ${currentTerm} and handed over to server ${follower.server.id}, ${outcome}: ${this.#calm.describe()}`;
    });
    require("Transfer", this.#stood() === stood, () => {
      return `server ${leader.server.id} handed over, and an election timeout passed: ${this.#calm.describe()}`;
    });
    this.#calm.converge("after leadership was handed over");
  }

  /** Nobody else leads meanwhile, and writes go on. */
  #handOverToDead(): void {
    const { actors } = this.#calm;
    if (actors === null) return;
    const { leader, follower } = actors;
    const { currentTerm } = leader.node.status();
    this.#tell(leader.server, `hands over to ${follower.server.id}, which is dead`);
    follower.server.kill();
    const outcome = this.#calm.outcome(leader.node.transferLeadership(follower.server.id));
    const command = { kind: "put", key: "end", value: "handed-over", request: null, routed: null } as const;
    const put = this.#calm.outcome(leader.node.put(command));
    const status = leader.node.status();
    const goesOn = status.role === "leader" && status.currentTerm === currentTerm && put?.kind === "done";
    require("Transfer", outcome?.kind === "failed" && goesOn, () => {
      return `server ${leader.server.id} led term ${currentTerm} and was to hand over to a dead one, ${outcome?.kind}; a write then: ${put?.kind}: ${this.#calm.describe()}`;
    });
    follower.server.start();
    this.#calm.converge("after leadership was not handed over");
  }

  #endLeader(): void {
    const { leader, voters } = this.#calm;
    if (leader === null || voters.length < 2) return;
    const { currentTerm } = leader.node.status();
    const stood = this.#stood();
    leader.server.stop();
    const others = voters.filter(({ server }) => server !== leader.server);
    const elected = this.#parts.runUntil(CONVERGENCE_US, () => others.some(leads));
    require("Transfer", elected && this.#stood() === stood, () => {
      return `server ${leader.server.id} led term ${currentTerm} and ended without handing over: ${this.#calm.describe()}`;
    });
    this.#calm.converge("after the leader ended");
  }

  #removeFollower(): void {
    const { actors } = this.#calm;
    if (actors === null) return;
    const { leader, follower } = actors;
    const { currentTerm } = leader.node.status();
    this.#calm.isolate(follower.server);
    this.#change(leader, { kind: "remove", id: follower.server.id });
    this.#parts.runUntil(ACT_US, () => false);
    this.#parts.network.heal();
    this.#parts.runUntil(ACT_US, () => false);
    const status = leader.node.status();
    require("Stable leader", status.role === "leader" && status.currentTerm === currentTerm, () => {
      return `server ${follower.server.id} was removed while it was away, and came back; server ${leader.server.id} led term ${currentTerm}: ${this.#calm.describe()}`;
    });
    this.#add(leader, follower.server);
  }

  #removeLeader(): void {
    const { leader, voters } = this.#calm;
    const left = votersOf(this.#calm.configuration).length - 1;
    if (leader === null || left === 0 || voters.length - 1 < majority(left)) return;
    this.#change(leader, { kind: "remove", id: leader.server.id });
    const other = (): RunningServer | null => {
      const next = this.#calm.leader;
      return next?.server === leader.server ? null : next;
    };
    require("Membership", this.#parts.runUntil(CONVERGENCE_US, () => other() !== null), () => {
      return `server ${leader.server.id} was removed, and nobody else leads: ${this.#calm.describe()}`;
    });
    this.#calm.converge("after the leader was removed");
    const next = other();
    if (next !== null) this.#add(next, leader.server);
  }

  #addSpare(): void {
    const { leader } = this.#calm;
    const outside = this.#parts.servers.filter(({ id, life }) => {
      return memberOf(this.#calm.configuration, id) === null && life.kind !== "refused";
    });
    const [server] = this.#parts.random.shuffle(outside);
    if (leader !== null && server !== undefined) this.#add(leader, server);
  }

  /** With the files that it has, or as a new one; it is a voter soon. */
  #add(leader: RunningServer, server: SimServer): void {
    const { id } = server;
    if (server.life.kind === "absent" || this.#parts.random.chance(0.5)) {
      server.leave();
      const hardState = this.#calm.outcome(hardStateToJoinWith(leader.node, id));
      require("Membership", hardState !== null, () => `server ${id} cannot join: ${this.#calm.describe()}`);
      if (hardState !== null) server.join(hardState, leader.node.appliedIndex);
    } else {
      server.start();
    }
    const isFirst = memberOf(this.#parts.safety.configurations.committedAt(0), id) !== null;
    this.#change(leader, { kind: "add", id, address: isFirst ? "" : spareAddress(id) });
    this.#calm.converge(`after server ${id} was added`);
    this.#change(leader, { kind: "promote", id });
    this.#calm.converge(`after server ${id} was promoted`);
  }

  #change({ server, node }: RunningServer, change: ConfigurationChange): void {
    this.#tell(server, `is to ${change.kind} ${change.id}`);
    let outcome: ChangeOutcome | null = null;
    for (let attempt = 0; attempt < ATTEMPTS && outcome?.kind !== "done"; attempt += 1) {
      // Its followers may not know yet what is committed, nor the new one have all of the log.
      if (attempt > 0) this.#parts.runUntil(ACT_US, () => false);
      outcome = this.#calm.outcome(node.changeConfiguration(change));
    }
    require("Membership", outcome?.kind === "done", () => {
      return `server ${server.id} does not ${change.kind} server ${change.id}: ${JSON.stringify(outcome)}: ${this.#calm.describe()}`;
    });
  }

  /** How often a member has asked whether it could be elected. */
  #stood(): number {
    return this.#calm.members.reduce((sum, { server }) => sum + server.stood, 0);
  }

  #tell({ id }: SimServer, what: string): void {
    this.#parts.onEvent(`server ${id}`, what);
  }
}

function leads({ node }: RunningServer): boolean {
  return node.status().role === "leader";
}
