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
