/** Swarms that lead to a kind of trouble more often than most; see Mutant.focus. */
import type { Swarm } from "../../src/sim/swarm.ts";

const QUICKLY_US = 200_000;

/** Elections that crashes interrupt. */
export const CRASHES: Partial<Swarm> = {
  servers: 3,
  faultEveryUs: QUICKLY_US,
  strikes: ["ambush", "kill", "powerLoss"],
};

/** Leaders that lose touch while they work, and logs that part. */
export const PARTITIONS: Partial<Swarm> = {
  servers: 3,
  clients: 6,
  thinkTimeUs: 1000,
  faultEveryUs: QUICKLY_US,
  strikes: ["ambush", "partition", "oneWayPartition", "pause"],
};

/** The same, while the disk is slow. */
export const SLOW_DISKS: Partial<Swarm> = {
  ...PARTITIONS,
  servers: 5,
  disk: { latencyMinUs: 50, latencyMaxUs: 20_000, fsyncError: 0, slow: 0.1, slowMaxUs: 500_000 },
};

/** The same, while the network is slow. */
export const SLOW_NETWORK: Partial<Swarm> = {
  ...PARTITIONS,
  servers: 5,
  network: {
    latencyMinUs: 1000,
    latencyMaxUs: 30_000,
    loss: 0.05,
    duplication: 0,
    delay: 0.3,
    delayMaxUs: 400_000,
  },
};

/** Power that goes while much is being written. */
export const POWER_LOSSES: Partial<Swarm> = {
  servers: 3,
  clients: 6,
  thinkTimeUs: 1000,
  faultEveryUs: QUICKLY_US,
  strikes: ["ambush", "powerLoss", "totalPowerLoss"],
  maxBatchEntries: 100,
  maxSegmentBytes: 100_000,
  disk: { latencyMinUs: 50, latencyMaxUs: 20_000, fsyncError: 0, slow: 0, slowMaxUs: 50_000 },
};

/** Servers that fall far behind, and are far away. */
export const DISTANCE: Partial<Swarm> = {
  servers: 3,
  clients: 6,
  thinkTimeUs: 1000,
  faultEveryUs: QUICKLY_US,
  strikes: ["kill"],
  network: {
    latencyMinUs: 20_000,
    latencyMaxUs: 30_000,
    loss: 0,
    duplication: 0,
    delay: 0,
    delayMaxUs: 50_000,
  },
};

/** Damaged files, of servers whose terms and votes change. */
export const BIT_FLIPS: Partial<Swarm> = {
  servers: 5,
  faultEveryUs: QUICKLY_US,
  strikes: ["bitFlip", "kill"],
};

/** Snapshots all the time, on disks that lose power in mid-write; small segments, so that much is removed. */
export const SNAPSHOT_CRASHES: Partial<Swarm> = {
  servers: 3,
  clients: 6,
  thinkTimeUs: 1000,
  faultEveryUs: QUICKLY_US,
  strikes: ["ambush", "powerLoss", "kill", "partition"],
  maxSegmentBytes: 700,
  disk: { latencyMinUs: 50, latencyMaxUs: 20_000, fsyncError: 0, slow: 0, slowMaxUs: 50_000 },
  snapshot: { everyEntries: 5, keepEntries: 0, maxChunkBytes: 4000 },
};

/** The same, with fsyncs that fail. */
export const FAILING_FSYNCS: Partial<Swarm> = {
  ...SNAPSHOT_CRASHES,
  strikes: ["powerLoss"],
  disk: { latencyMinUs: 50, latencyMaxUs: 3000, fsyncError: 0.02, slow: 0, slowMaxUs: 50_000 },
};

/** Followers that need snapshots again and again, in many chunks. */
export const LEFT_BEHIND: Partial<Swarm> = {
  servers: 5,
  clients: 6,
  thinkTimeUs: 1000,
  faultEveryUs: QUICKLY_US,
  strikes: ["partition", "oneWayPartition", "pause", "kill"],
  snapshot: { everyEntries: 5, keepEntries: 0, maxChunkBytes: 300 },
};

/** Disks that fill up while votes and entries are written. */
export const FULL_DISKS: Partial<Swarm> = {
  servers: 3,
  clients: 6,
  thinkTimeUs: 1000,
  faultEveryUs: QUICKLY_US,
  strikes: ["diskFull", "kill", "powerLoss"],
  snapshot: { everyEntries: 30, keepEntries: 3, maxChunkBytes: 4000 },
};

/** Servers that are made anew while leaders change. */
export const LOST_DISKS: Partial<Swarm> = {
  servers: 3,
  clients: 6,
  thinkTimeUs: 20_000,
  faultEveryUs: QUICKLY_US,
  strikes: ["diskLost", "partition", "kill", "ambush"],
};

/** Power that goes while one small segment follows the other. */
export const ROLLING_POWER_LOSSES: Partial<Swarm> = { ...POWER_LOSSES, maxSegmentBytes: 700 };

/** Messages that are lost, until all is calm of a sudden, and hardly anything follows. */
export const LOSSES: Partial<Swarm> = {
  servers: 5,
  clients: 1,
  thinkTimeUs: 100_000,
  stormUs: 2_000_000,
  strikes: [],
  network: {
    latencyMinUs: 1000,
    latencyMaxUs: 30_000,
    loss: 0.3,
    duplication: 0,
    delay: 0,
    delayMaxUs: 50_000,
  },
};

/** Members that come and go while leaders change. */
export const MEMBERS: Partial<Swarm> = {
  servers: 3,
  spares: 2,
  clients: 6,
  thinkTimeUs: 1000,
  faultEveryUs: QUICKLY_US,
  strikes: ["membership", "partition", "kill"],
};

/** The same without a pause, where files last. */
export const RESTLESS_MEMBERS: Partial<Swarm> = {
  ...MEMBERS,
  faultEveryUs: 50_000,
  strikes: ["membership"],
};

/** Leadership that is handed over all the time. */
export const TRANSFERS: Partial<Swarm> = {
  servers: 3,
  clients: 6,
  thinkTimeUs: 1000,
  faultEveryUs: QUICKLY_US,
  strikes: ["transfer", "kill", "partition"],
};

/** Servers that remember next to nothing, and frontends that come and go. */
export const FORGETFUL: Partial<Swarm> = {
  servers: 3,
  clients: 6,
  thinkTimeUs: 1000,
  faultEveryUs: QUICKLY_US,
  strikes: ["kill", "partition", "pause", "transfer"],
  frontends: 3,
  frontendRestart: 0.05,
  memory: { window: 8, sessions: 1 },
};

/** Batches of a few keys, sent again and again. */
export const BATCHES: Partial<Swarm> = {
  servers: 3,
  clients: 6,
  keys: 3,
  thinkTimeUs: 1000,
  batches: 0.4,
  faultEveryUs: QUICKLY_US,
  strikes: ["kill", "partition", "pause"],
};
