import type { Random } from "./random.ts";
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
    this.#parts.onEvent("cluster", "has converged");
  }

  /** Throws Violation unless all who live agree soon after `what`, for which snapshots may have to be sent. */
  converge(what: string): void {
    const allowedUs = CONVERGENCE_US + this.catchUpUs;
    require("Convergence", this.#parts.runUntil(allowedUs, () => this.hasConverged), () => {
      return `no agreement ${(allowedUs / 1e6).toFixed(1)} s ${what}: ${this.describe()}`;
    });
  }

  /** How long it may take to send all there is to a server that has nothing, message after message. */
  get catchUpUs(): number {
    const { network, disk, snapshot, maxBatchEntries, maxInflight } = this.#parts.swarm;
    const bytes = Math.max(...this.#parts.servers.map(({ snapshotBytes }) => snapshotBytes));
    const entries = Math.max(...this.#parts.servers.map(({ node }) => node?.status().lastLogIndex ?? 0));
    const messages = bytes / snapshot.maxChunkBytes + entries / maxBatchEntries / maxInflight;
    return messages * (network.latencyMaxUs + disk.latencyMaxUs);
  }

  /** Whether all who live follow one leader, votes and all, hold the same log, and no client waits. */
  get hasConverged(): boolean {
    const living = this.#parts.servers.filter((server) => server.life.kind !== "refused");
    if (this.#parts.storm.isReplacing) return false;
    const states = living.flatMap(({ node }) =>
      node === null ? [] : [{ ...node.status(), applied: node.appliedIndex }],
    );
    if (states.length < living.length) return false;
    const leader = states.find(({ role }) => role === "leader");
    if (leader === undefined || !this.#parts.clients.every((client) => client.idle)) return false;
    return states.every(
      ({ id, currentTerm, lastLogIndex, applied, role }) =>
        currentTerm === leader.currentTerm &&
        this.#parts.safety.durable(id).hardState.abstainsThrough === 0 &&
        lastLogIndex === leader.lastLogIndex &&
        applied === leader.lastLogIndex &&
        (role === "leader" || role === "follower"),
    );
  }

  /** Every server in a few words. */
  describe(): string {
    return this.#parts.servers
      .map(({ id, life, node }) => {
        if (node === null) return `${id} ${life.kind}`;
        const { role, currentTerm, commitIndex, firstLogIndex, lastLogIndex, snapshotIndex } = node.status();
        return `${id} ${role} t${currentTerm} ${commitIndex}/${firstLogIndex}..${lastLogIndex} snapshot ${snapshotIndex}`;
      })
      .concat(this.#parts.clients.every((client) => client.idle) ? [] : ["a client still waits"])
      .join(", ");
  }
}
