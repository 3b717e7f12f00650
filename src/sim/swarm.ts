/**
 * What one seed is like. Every seed draws its own mix of sizes, speeds and faults, most of them off in any
 * one seed: bugs hide behind faults that are always on together ("swarm testing", Groce et al., 2012).
 */
import type { Random } from "./random.ts";
import type { MachineSizes } from "./reference-machine.ts";

/**
 * Everything a simulation can inject, and what should come of it where that is rare (`replaced`, the
 * snapshots, what operators do). The run counts what really happened, by these names.
 */
export const FAULT_KINDS = [
  "messageLost",
  "messageDuplicated",
  "messageDelayed",
  "partition",
  "oneWayPartition",
  "partialPartition",
  "stop",
  "kill",
  "powerLoss",
  "totalPowerLoss",
  "pause",
  "fsyncError",
  "slowDisk",
  "clockSkew",
  "ambush",
  "bitFlip",
  "truncation",
  "diskLost",
  "replaced",
  "diskFull",
  "snapshotTaken",
  "snapshotInstalled",
  "membership",
  "memberAdded",
  "memberPromoted",
  "memberRemoved",
  "leaderRemoved",
  "joinedAnew",
  "transfer",
  "transferred",
  "transferFailed",
  "handedOver",
  "sessionExpired",
] as const;

export type FaultKind = (typeof FAULT_KINDS)[number];

/** Times in microseconds, probabilities 0..1; 0 switches a fault off. */
export interface Swarm {
  /** That the cluster is created with. */
  readonly servers: number;
  /** Servers beyond those, which may be added to it. */
  readonly spares: number;
  readonly clients: number;
  readonly keys: number;
  /** Between the operations of one client. */
  readonly thinkTimeUs: number;
  /** The share of the writes that are batches, of a few keys. */
  readonly batches: number;
  /** How long faults go on, before everything is healed. */
  readonly stormUs: number;
  readonly network: NetworkFaults;
  readonly disk: DiskFaults;
  /** Mean time between two faults that strike servers or links; 0: none. */
  readonly faultEveryUs: number;
  /** Which of those may strike; empty: none. */
  readonly strikes: readonly Strike[];
  /** Timers run up to this share fast or slow, each server its own. */
  readonly clockSkew: number;
  readonly maxBatchEntries: number;
  readonly maxInflight: number;
  readonly maxSegmentBytes: number;
  readonly snapshot: SnapshotSizes;
  /** Frontends that clients share. */
  readonly frontends: number;
  /** Probability that a frontend is another one from the next call on. */
  readonly frontendRestart: number;
  /** How much the servers remember of what was done. */
  readonly memory: MachineSizes;
}

/** A fault that strikes at a moment, not with a message or a disk operation. */
export type Strike = Extract<
  FaultKind,
  | "partition"
  | "oneWayPartition"
  | "partialPartition"
  | "stop"
  | "kill"
  | "powerLoss"
  | "totalPowerLoss"
  | "pause"
  | "ambush"
  | "bitFlip"
  | "truncation"
  | "diskLost"
  | "diskFull"
  | "membership"
  | "transfer"
>;

export interface NetworkFaults {
  readonly latencyMinUs: number;
  readonly latencyMaxUs: number;
  readonly loss: number;
  readonly duplication: number;
  /** A message that is delayed arrives up to this much later, behind others that were sent after it. */
  readonly delay: number;
  readonly delayMaxUs: number;
}

export interface DiskFaults {
  readonly latencyMinUs: number;
  readonly latencyMaxUs: number;
  /** Of one fsync. */
  readonly fsyncError: number;
  /** Of one operation that takes up to `slowMaxUs`. */
  readonly slow: number;
  readonly slowMaxUs: number;
}

export interface SnapshotSizes {
  /** Entries from one snapshot to the next; 0: none is ever taken. */
  readonly everyEntries: number;
  /** How many entries stay in the log behind a snapshot. */
  readonly keepEntries: number;
  /** Of a snapshot on its way to a follower. */
  readonly maxChunkBytes: number;
}

/** More calls than any run has. */
export const LARGE_WINDOW = 65_536;
/** More frontends than any run has. */
export const MANY_SESSIONS = 1024;

export const STRIKES: readonly Strike[] = [
  "partition",
  "oneWayPartition",
  "partialPartition",
  "stop",
  "kill",
  "powerLoss",
  "totalPowerLoss",
  "pause",
  "ambush",
  "bitFlip",
  "truncation",
  "diskLost",
  "diskFull",
  "membership",
  "transfer",
];

/** From so many servers on, one that has lost its disk can be made anew: the others are a majority without it. */
export const SERVERS_TO_REPLACE_ONE = 3;

export function drawSwarm(random: Random): Swarm {
  const servers = random.pick([1, 2, 3, 3, 3, 4, 5, 5, 6, 7]);
  const strikes = random.some(STRIKES, random.pick([0, 0.25, 0.5, 0.8]));
  const on = (probability: number): number => (random.chance(0.5) ? probability : 0);
  return {
    servers,
    spares: random.pick([0, 0, 1, 2]),
    clients: random.int(1, 6),
    keys: random.int(1, 6),
    thinkTimeUs: random.pick([1000, 20_000, 100_000]),
    stormUs: random.int(6, 16) * 1_000_000,
    network: {
      latencyMinUs: random.int(100, 1000),
      latencyMaxUs: random.int(2000, 30_000),
      loss: on(random.pick([0.01, 0.05, 0.15, 0.3])),
      duplication: on(random.pick([0.01, 0.1])),
      delay: on(random.pick([0.01, 0.1, 0.3])),
      delayMaxUs: random.pick([50_000, 400_000]),
    },
    disk: {
      latencyMinUs: 50,
      latencyMaxUs: random.pick([500, 3000, 20_000]),
      fsyncError: on(random.pick([0.0005, 0.005])),
      slow: on(random.pick([0.01, 0.1])),
      slowMaxUs: random.pick([50_000, 500_000]),
    },
    faultEveryUs: random.pick([200_000, 600_000, 1_500_000]),
    strikes,
    clockSkew: on(0.1),
    maxBatchEntries: random.pick([1, 3, 100]),
    maxInflight: random.pick([1, 2, 8]),
    maxSegmentBytes: random.pick([700, 4000, 100_000]),
    snapshot: {
      everyEntries: random.pick([0, 5, 10, 30, 100]),
      keepEntries: random.pick([0, 0, 3, 20]),
      maxChunkBytes: random.pick([300, 1000, 4000]),
    },
    frontends: random.int(1, 3),
    frontendRestart: random.pick([0, 0.01, 0.1]),
    memory: {
      window: random.pick([8, LARGE_WINDOW, LARGE_WINDOW]),
      sessions: random.pick([1, 2, 3, MANY_SESSIONS]),
    },
    batches: random.pick([0, 0.1, 0.4]),
  };
}

/** The faults that are switched on in this swarm, and so should happen, over many seeds. */
export function enabledFaults(swarm: Swarm): readonly FaultKind[] {
  const { network, disk, strikes, clockSkew, servers, snapshot } = swarm;
  const changes = strikes.includes("membership");
  const replaces = strikes.includes("diskLost") && servers >= SERVERS_TO_REPLACE_ONE;
  const on: readonly (readonly [FaultKind, boolean])[] = [
    ["messageLost", network.loss > 0 && servers > 1],
    ["messageDuplicated", network.duplication > 0 && servers > 1],
    ["messageDelayed", network.delay > 0 && servers > 1],
    ["fsyncError", disk.fsyncError > 0],
    ["slowDisk", disk.slow > 0],
    ["clockSkew", clockSkew > 0],
    ["replaced", replaces],
    ["snapshotTaken", snapshot.everyEntries > 0],
    ["snapshotInstalled", snapshot.everyEntries > 0 && servers > 1],
    ["memberAdded", changes],
    ["memberPromoted", changes],
    ["memberRemoved", changes && servers > 1],
    ["leaderRemoved", changes && servers > 1],
    ["joinedAnew", changes && servers > 1],
    ["transferred", strikes.includes("transfer") && servers > 1],
    ["transferFailed", strikes.includes("transfer") && servers > 1],
    ["handedOver", servers > 1],
    ["sessionExpired", swarm.frontendRestart > 0 && swarm.memory.sessions < MANY_SESSIONS],
  ];
  return [...on.filter(([, enabled]) => enabled).map(([kind]) => kind), ...strikes];
}
