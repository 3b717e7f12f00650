import { majority } from "../raft/quorum.ts";
import { votersOf, type Configuration } from "../raft/configuration.ts";
import type { Node } from "../node/node.ts";
import type { Random } from "./random.ts";
import { describe } from "./membership-safety.ts";
import type { Safety } from "./safety.ts";
import type { SimClient } from "./sim-client.ts";
import type { SimNetwork } from "./sim-network.ts";
import type { SimServer } from "./sim-server.ts";
import type { Storm } from "./storm.ts";
import type { Swarm } from "./swarm.ts";
import type { Timeline } from "./timeline.ts";
import { require } from "./violation.ts";

/** Twenty election timeouts. */
export const CONVERGENCE_US = 20 * 300_000;
/** One after the other on the disk, from one segment of the log to the next (SegmentedLog). */
const SEGMENT_OPERATIONS = 6;

export interface CalmParts {
  readonly timeline: Timeline;
  readonly random: Random;
  readonly swarm: Swarm;
  readonly network: SimNetwork;
  readonly servers: readonly SimServer[];
  readonly clients: readonly SimClient[];
  readonly safety: Safety;
  readonly storm: Storm;
  /** Runs events until so much time has passed or `done` says so. Whether it did. */
  readonly runUntil: (durationUs: number, done: () => boolean) => boolean;
  readonly onEvent: (who: string, what: string, detail?: unknown) => void;
  readonly onFailure: (error: unknown) => void;
}

/** A server with its node. */
export interface RunningServer {
  readonly server: SimServer;
  readonly node: Node;
}

/** After the storm: whatever was broken is mended, and all who live must agree soon. */
export class Calm {
  readonly #parts: CalmParts;

  constructor(parts: CalmParts) {
    this.#parts = parts;
  }

  get parts(): CalmParts {
    return this.#parts;
  }

  /** Ends the storm and heals everything. Throws Violation when there is no agreement soon. */
  begin(): void {
    this.#parts.onEvent("network", "is calm from now on");
    const { network, disk } = this.#parts.swarm;
    this.#parts.network.trouble = { ...network, loss: 0, duplication: 0, delay: 0 };
    for (const server of this.#parts.servers) server.disk.trouble = { ...disk, fsyncError: 0, slow: 0 };
    for (const client of this.#parts.clients) client.stop();
    this.#parts.storm.end();
    this.converge("after healing");
    for (const server of this.#parts.servers) {
      if (this.#parts.storm.replace(server)) this.converge(`after server ${server.id} was made anew`);
    }
    this.#removeTheAbsent();
    this.#parts.onEvent("cluster", "has converged");
  }

  /** Who was added while its files were taken away comes back only when it has been removed again. */
  #removeTheAbsent(): void {
    for (const server of this.#parts.servers) {
      const isMember = this.configuration.some(({ id }) => id === server.id);
      if (server.life.kind !== "absent" || !isMember) continue;
      const removed = this.outcome(this.leader?.node.changeConfiguration({ kind: "remove", id: server.id }));
      require("Membership", removed?.kind === "done", () => {
        return `server ${server.id} cannot be removed: ${JSON.stringify(removed)}: ${this.describe()}`;
      });
      this.converge(`after server ${server.id} was removed`);
    }
  }

  /** Who leads; null: nobody. */
  get leader(): RunningServer | null {
    return this.#running
      .filter(({ node }) => node.status().role === "leader")
      .reduce<RunningServer | null>((latest, each) => {
        const isLater = latest === null || each.node.status().currentTerm > latest.node.status().currentTerm;
        return isLater ? each : latest;
      }, null);
  }

  /** What the leader goes by; what is committed, while there is none. */
  get configuration(): Configuration {
    return this.leader?.node.status().configuration ?? this.#parts.safety.configurations.committed;
  }

  /** The voters that run. */
  get voters(): readonly RunningServer[] {
    const voters = votersOf(this.configuration);
    return this.#running.filter(({ server }) => voters.includes(server.id));
  }

  /** The members that run. */
  get members(): readonly RunningServer[] {
    const ids = new Set(this.configuration.map(({ id }) => id));
    return this.#running.filter(({ server }) => ids.has(server.id));
  }

  get #running(): readonly RunningServer[] {
    return this.#parts.servers.flatMap((server) =>
      server.node === null ? [] : [{ server, node: server.node }],
    );
  }

  /** The leader, and a voter without which the others are a majority; null: there are none such. */
  get actors(): { readonly leader: RunningServer; readonly follower: RunningServer } | null {
    const { leader, voters } = this;
    const [follower] = this.#parts.random.shuffle(voters.filter(({ server }) => server !== leader?.server));
    const enough = voters.length - 1 >= majority(Math.max(1, votersOf(this.configuration).length));
    return leader === null || follower === undefined || !enough ? null : { leader, follower };
  }

  /** Waits for it; null: it has no outcome soon, or there is nothing to wait for. */
  outcome<T>(promise: Promise<T> | undefined): T | null {
    const outcomes: { readonly value: T }[] = [];
    promise?.then(
      (value) => outcomes.push({ value }),
      (error: unknown) => this.#parts.onFailure(error),
    );
    this.#parts.runUntil(CONVERGENCE_US, () => outcomes.length > 0);
    return outcomes[0]?.value ?? null;
  }

  /** Nothing gets to it, or from it. */
  isolate(server: SimServer): void {
    for (const other of this.#parts.servers) {
      this.#parts.network.cut(server.id, other.id);
      this.#parts.network.cut(other.id, server.id);
    }
  }

  /** Throws Violation unless all who live agree soon after `what`, for which snapshots may have to be sent. */
  converge(what: string): void {
    const allowedUs = CONVERGENCE_US + this.catchUpUs;
    require("Convergence", this.#parts.runUntil(allowedUs, () => this.hasConverged), () => {
      return `no agreement ${(allowedUs / 1e6).toFixed(1)} s ${what}: ${this.describe()}`;
    });
  }

  /**
   * How long it may take to send all there is to a server that has nothing, message after message, and to write it,
   * segment after segment.
   */
  get catchUpUs(): number {
    const { network, disk, snapshot, maxBatchEntries, maxInflight, maxSegmentBytes } = this.#parts.swarm;
    const bytes = Math.max(...this.#parts.servers.map(({ snapshotBytes }) => snapshotBytes));
    const entries = Math.max(...this.#parts.servers.map(({ node }) => node?.status().lastLogIndex ?? 0));
    const messages = bytes / snapshot.maxChunkBytes + entries / maxBatchEntries / maxInflight;
    const segments = Math.max(...this.#parts.servers.map(({ logBytes }) => logBytes)) / maxSegmentBytes;
    return (
      messages * (network.latencyMaxUs + disk.latencyMaxUs) +
      segments * SEGMENT_OPERATIONS * disk.latencyMaxUs
    );
  }

  /**
   * Whether all members that live follow one leader, votes and all, and hold the same log, while no disk is
   * thought full, nobody is on its way out, and neither a client nor the operator waits.
   */
  get hasConverged(): boolean {
    if (this.#parts.storm.isOperated) return false;
    const { leader } = this;
    if (leader === null || !this.#parts.clients.every((client) => client.idle)) return false;
    const { configuration, currentTerm, lastLogIndex } = leader.node.status();
    return configuration.every(({ id }) => {
      const { life, node, isStopping } = this.#parts.servers[id] ?? {};
      if (life?.kind === "refused" || life?.kind === "absent") return true;
      if (node === null || node === undefined || isStopping) return false;
      const status = node.status();
      return (
        status.currentTerm === currentTerm &&
        !this.#parts.safety.votes.abstains(id) &&
        !status.diskFull &&
        status.lastLogIndex === lastLogIndex &&
        node.appliedIndex === lastLogIndex &&
        (status.role === "leader" || status.role === "follower")
      );
    });
  }

  /** Every server in a few words. */
  describe(): string {
    return [`members ${describe(this.configuration)}`]
      .concat(
        this.#parts.servers.map(({ id, life, node }) => {
          if (node === null) return `${id} ${life.kind}`;
          const { role, currentTerm, commitIndex, firstLogIndex, lastLogIndex, snapshotIndex } =
            node.status();
          return `${id} ${role} t${currentTerm} ${commitIndex}/${firstLogIndex}..${lastLogIndex} snapshot ${snapshotIndex}`;
        }),
      )
      .concat(this.#parts.clients.every((client) => client.idle) ? [] : ["a client still waits"])
      .join(", ");
  }
}
