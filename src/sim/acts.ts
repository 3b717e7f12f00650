/**
 * What is done to a cluster that is calm, one thing after the other, each with a promise that must be kept:
 *
 *   a follower is cut off, or from the leader only, or stopped for a while   the leader stays (E7, E9, E11)
 *   one falls so far behind that what it needs is gone from the log          it gets a snapshot, hears the leader
 *                                                                            all the time, and that stays (S6)
 *   the leader's disk is full                                                others with room take over, else it
 *                                                                            leads on and serves reads (P6)
 *   all disks are full, and the leader is killed or not                      some leader serves reads (P6)
 *   leadership is handed over, a server removed and added again              see membership-acts.ts
 *   the leader is killed                                                     there is soon another (E10)
 *   a snapshot is taken on demand                                            the log is as short as it should be
 */
import { RaftKvError } from "../base/errors.ts";
import { votersOf } from "../raft/configuration.ts";
import { majority } from "../raft/quorum.ts";
import { CONVERGENCE_US, type Calm, type CalmParts, type RunningServer } from "./calm.ts";
import { MembershipActs } from "./membership-acts.ts";
import type { SimServer } from "./sim-server.ts";
import { require } from "./violation.ts";

/** How long an act keeps a follower away, and how long the rest then has to show that it does not matter. */
const ACT_US = 1_200_000;
/** A transfer to a dead follower is given up within some of them. */
const SNAPSHOT_ROUNDS = 6;
/** In the acts, clients hardly pause. */
const THINK_TIME_US = 2000;
/** A disk is full when no more than this is left. */
const MAX_ROOM_BYTES = 2000;
/** How long it may take until a log is compacted that clients write to as fast as they can. */
const COMPACTION_US = 60_000_000;

/** What happens to one follower in the calm, which must not matter to the others. */
interface Act {
  readonly what: string;
  readonly leave: (follower: SimServer, leader: SimServer) => void;
  readonly comeBack: (follower: SimServer) => void;
  /** Back again, it may stand for election; for nothing, as the others hear their leader. */
  readonly mayStand: boolean;
}

/** Plays the acts. */
export class Acts {
  readonly #calm: Calm;
  readonly #parts: CalmParts;

  constructor(calm: Calm) {
    this.#calm = calm;
    this.#parts = calm.parts;
  }

  /** Throws Violation when a promise is broken. */
  play(): void {
    for (const act of this.#acts()) this.#act(act);
    this.#leaveFollowerBehind();
    this.#fillLeadersDisk();
    this.#fillAllDisks();
    new MembershipActs(this.#calm).play();
    this.#killLeader();
    this.#checkBoundedLogs();
  }

  #acts(): readonly Act[] {
    return [
      {
        what: "is cut off",
        leave: (follower) => this.#calm.isolate(follower),
        comeBack: () => this.#parts.network.heal(),
        mayStand: true,
      },
      {
        what: "is cut off from the leader",
        leave: (follower, leader) => {
          this.#parts.network.cut(follower.id, leader.id);
          this.#parts.network.cut(leader.id, follower.id);
        },
        comeBack: () => this.#parts.network.heal(),
        mayStand: true,
      },
      {
        what: "is stopped",
        leave: (follower) => follower.pause(),
        comeBack: (follower) => follower.resume(),
        mayStand: false,
      },
    ];
  }

  /** A follower goes away and comes back; the leader does not change. */
  #act({ what, leave, comeBack, mayStand }: Act): void {
    const { actors } = this.#calm;
    if (actors === null) return;
    const { server: leader } = actors.leader;
    const { server: follower } = actors.follower;
    const term = leader.node?.status().currentTerm;
    this.#parts.onEvent(`server ${follower.id}`, what);
    leave(follower, leader);
    this.#parts.runUntil(ACT_US, () => false);
    comeBack(follower);
    const stood = this.#parts.runUntil(
      ACT_US,
      () => !mayStand && follower.node?.status().role !== "follower",
    );
    const now = leader.node?.status();
    require("Stable leader", !stood && now?.role === "leader" && now.currentTerm === term, () => {
      return `follower ${follower.id} ${what} for ${ACT_US / 1e6} s and came back; server ${leader.id} led term ${term}: ${this.#calm.describe()}`;
    });
    require("Convergence", this.#calm.hasConverged, () => `after an act: ${this.#calm.describe()}`);
  }

  /**
   * A follower is away until what it needs is gone from the leader's log. Back again, it gets a snapshot while
   * clients go on, and all that time it hears the leader, which stays (S6).
   */
  #leaveFollowerBehind(): void {
    const { actors } = this.#calm;
    if (actors === null || this.#parts.swarm.snapshot.everyEntries === 0 || this.#parts.clients.length === 0)
      return;
    const { server: leader } = actors.leader;
    const { server: follower } = actors.follower;
    const term = leader.node?.status().currentTerm;
    const { installs } = follower;
    const end = follower.node?.status().lastLogIndex ?? 0;
    this.#parts.onEvent(`server ${follower.id}`, "is left behind");
    this.#calm.isolate(follower);
    for (const client of this.#parts.clients) client.resume(THINK_TIME_US);
    const compacted = this.#parts.runUntil(
      COMPACTION_US,
      () => (leader.node?.status().firstLogIndex ?? 0) > end + 1,
    );
    require("Bounded log", compacted, () => {
      return `server ${leader.id} still has entry ${end + 1} in its log after ${COMPACTION_US / 1e6} s: ${this.#calm.describe()}`;
    });
    // What was sent before is lost now, too.
    this.#parts.runUntil(this.#parts.swarm.network.latencyMaxUs, () => false);
    this.#parts.network.heal();
    const allowedUs = CONVERGENCE_US + this.#calm.catchUpUs;
    const healedUs = this.#parts.timeline.nowUs;
    let follows = false;
    const installed = this.#parts.runUntil(allowedUs, () => {
      const { role } = follower.node?.status() ?? {};
      require("Stable leader", !follows || role === "follower", () => {
        return `server ${follower.id} hears no leader while it gets a snapshot: ${this.#calm.describe()}`;
      });
      follows ||= role === "follower" && follower.calmedUs > healedUs;
      return follower.installs > installs;
    });
    for (const client of this.#parts.clients) client.stop();
    require("Convergence", installed, () => {
      return `server ${follower.id} has no snapshot ${(allowedUs / 1e6).toFixed(1)} s after it came back: ${this.#calm.describe()}`;
    });
    this.#calm.converge("after it was installed");
    const now = leader.node?.status();
    require("Stable leader", now?.role === "leader" && now.currentTerm === term, () => {
      return `server ${leader.id} led term ${term} and sent a snapshot to server ${follower.id}: ${this.#calm.describe()}`;
    });
  }

  /** P6: nobody waits for a leader that cannot write while others can; and if none can, it still serves reads. */
  #fillLeadersDisk(): void {
    const leader = this.#calm.leader?.server;
    if (leader === undefined || this.#parts.clients.length === 0) return;
    const others = this.#calm.voters.filter(({ server }) => server !== leader);
    const { life } = leader;
    this.#parts.onEvent(`server ${leader.id}`, "leads with a full disk");
    leader.disk.fill(0);
    for (const client of this.#parts.clients) client.resume(THINK_TIME_US);
    if (others.length >= majority(votersOf(this.#calm.configuration).length)) {
      const tookOver = (): boolean => {
        // A compaction would make room, and there would be nothing to make way for.
        leader.disk.refill();
        return others.some(leadsForSure);
      };
      require("Disk full", this.#parts.runUntil(CONVERGENCE_US, tookOver), () => {
        return `server ${leader.id} leads on with a full disk, though others have room: ${this.#calm.describe()}`;
      });
    } else {
      this.#parts.runUntil(ACT_US, () => false);
      const read = this.#calm.outcome(leader.node?.read());
      require("Disk full", read?.kind === "ready", () => {
        return `server ${leader.id} serves no reads, for its disk is full: ${this.#calm.describe()}`;
      });
    }
    require("Disk full", leader.life === life, () => `server ${leader.id} ended, for its disk was full`);
    leader.disk.makeRoom();
    for (const client of this.#parts.clients) client.stop();
    this.#calm.converge("after there was room on the disk");
  }

  /** P6: where no disk has room there still is a leader that serves reads, also after the one that was is gone. */
  #fillAllDisks(): void {
    const { random, clients, runUntil, onEvent } = this.#parts;
    const leader = this.#calm.leader?.server;
    if (leader === undefined || clients.length === 0) return;
    const { voters, members } = this.#calm;
    onEvent("cluster", "has no room on any disk");
    for (const { server } of members) server.disk.fill(random.int(0, MAX_ROOM_BYTES));
    for (const client of clients) client.resume(THINK_TIME_US);
    runUntil(ACT_US, () => false);
    const others = voters.filter(({ server }) => server !== leader);
    const enough = others.length >= majority(votersOf(this.#calm.configuration).length);
    const dies = enough && random.chance(0.5);
    if (dies) leader.kill();
    // Who needs a snapshot needs room for it, and cannot be counted on before.
    const hold = (): boolean => this.#calm.voters.some(leadsForSure) || this.#someNeedSnapshot();
    require("Disk full", runUntil(CONVERGENCE_US, hold), () => {
      return `no leader serves reads, all disks being full: ${this.#calm.describe()}`;
    });
    if (dies) leader.start();
    runUntil(ACT_US, () => false);
    require("Disk full", runUntil(CONVERGENCE_US, hold), () => {
      return `no leader goes on serving reads, all disks being full: ${this.#calm.describe()}`;
    });
    for (const { server } of members) server.disk.makeRoom();
    for (const client of clients) client.stop();
    this.#calm.converge("after there was room on all disks");
    // The leader hears of it only with the next heartbeats, and hands over to nobody who may have none.
    runUntil(ACT_US, () => false);
  }

  /** Whether the entry that some server lacks first is gone from the log of another. */
  #someNeedSnapshot(): boolean {
    const states = this.#calm.members.map(({ node }) => node.status());
    const lacking = Math.min(...states.map(({ lastLogIndex }) => lastLogIndex + 1));
    return states.some(({ firstLogIndex }) => firstLogIndex > lacking);
  }

  /**
   * Where nothing goes on, a snapshot leaves of the log what is to be kept behind it, and little more; or the
   * next one, when the first comes while a transfer to a follower that has just died is not given up yet.
   */
  #checkBoundedLogs(): void {
    const { everyEntries, keepEntries } = this.#parts.swarm.snapshot;
    const { leader } = this.#calm;
    if (everyEntries === 0 || leader === null) return;
    const { members } = this.#calm;
    const tooLong = (): readonly string[] =>
      members.flatMap(({ server: { id }, node }) => {
        const { firstLogIndex, lastLogIndex } = node.status();
        const most = Math.max(everyEntries, this.#parts.swarm.keys + 1) + keepEntries;
        return lastLogIndex - firstLogIndex + 1 > most
          ? [`server ${id}: ${firstLogIndex} to ${lastLogIndex}`]
          : [];
      });
    let bounded = false;
    for (let round = 0; round < SNAPSHOT_ROUNDS && !bounded; round += 1) {
      // One more entry, so that there is something to take a snapshot of.
      const value = `end-${round}`;
      void leader.node.put({ kind: "put", key: "end", value, request: null, routed: null });
      this.#parts.runUntil(ACT_US, () => false);
      this.#calm.converge("after one more entry");
      for (const { node } of members) {
        node.takeSnapshot().catch((error: unknown) => {
          // Not sure to lead, it takes none for others to rely on.
          if (!(error instanceof RaftKvError)) this.#parts.onFailure(error);
        });
      }
      bounded = this.#parts.runUntil(ACT_US, () => tooLong().length === 0);
    }
    require("Bounded log", bounded, () => {
      return `after ${SNAPSHOT_ROUNDS} snapshots, with ${keepEntries} entries to be kept: ${tooLong().join(", ")}`;
    });
  }

  /**
   * The leader dies; the others elect one of themselves, and it comes back. Everything takes equally long
   * now, so that no jitter parts those who stand at the same time: only their timers can (E10).
   */
  #killLeader(): void {
    const { actors } = this.#calm;
    if (actors === null) return;
    const { server: leader } = actors.leader;
    const others = this.#calm.voters.filter(({ server }) => server !== leader);
    const { network, disk } = this.#parts.swarm;
    this.#parts.network.trouble = { ...this.#parts.network.trouble, latencyMaxUs: network.latencyMinUs };
    for (const each of this.#parts.servers) {
      each.disk.trouble = { ...each.disk.trouble, latencyMaxUs: disk.latencyMinUs };
    }
    leader.kill();
    const elected = (): boolean => others.some(({ node }) => node.status().role === "leader");
    require("Convergence", this.#parts.runUntil(CONVERGENCE_US, elected), () =>
      `no leader ${CONVERGENCE_US / 1e6} s after server ${leader.id} was killed: ${this.#calm.describe()}`);
    leader.start();
    this.#calm.converge(`after server ${leader.id} was killed`);
  }
}

/** It leads, and knows all that was committed before. */
function leadsForSure({ node }: RunningServer): boolean {
  const { noopIndex } = node.status();
  return noopIndex !== null && node.appliedIndex >= noopIndex;
}
