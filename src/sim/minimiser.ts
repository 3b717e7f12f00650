/**
 * Looks for a smaller run that violates the same property: fewer servers, clients and keys, a shorter
 * storm, fewer kinds of faults, plainer networks and disks. It drops and shrinks one thing at a time for
 * as long as that succeeds (delta debugging, Zeller and Hildebrandt, 2002).
 *
 * Another swarm makes another run of the same seed, in which a rare coincidence need not come again; so a
 * few neighbouring seeds are tried as well.
 */
import { LARGE_WINDOW, MANY_SESSIONS, type DiskFaults, type NetworkFaults, type Swarm } from "./swarm.ts";
import type { Property } from "./violation.ts";

/** A run that failed. */
export interface Failing {
  readonly seed: number;
  readonly swarm: Swarm;
  readonly property: Property;
}

/** Runs a seed with a swarm: the property that it violates, or null. */
export type Attempt = (seed: number, swarm: Swarm) => Promise<Property | null>;

export interface Minimised {
  /** The failing seed, or one of those that follow it. */
  readonly seed: number;
  readonly swarm: Swarm;
  /** How many attempts it took. */
  readonly runs: number;
}

export interface MinimiserOptions {
  /** No more attempts than this. */
  readonly maxRuns: number;
  /** How many seeds after the failing one may stand in for it. */
  readonly neighbours: number;
}

const DEFAULTS: MinimiserOptions = { maxRuns: 1000, neighbours: 5 };

/** The smallest it finds, which may be the failing run itself. The same every time, if the attempts are. */
export async function minimise(
  failing: Failing,
  attempt: Attempt,
  { maxRuns, neighbours }: MinimiserOptions = DEFAULTS,
): Promise<Minimised> {
  const nearby = Array.from({ length: neighbours }, (_, i) => failing.seed + 1 + i);
  let { seed, swarm } = failing;
  let runs = 0;
  const succeeds = async (candidate: Swarm): Promise<boolean> => {
    for (const candidateSeed of new Set([seed, failing.seed, ...nearby])) {
      if (runs >= maxRuns) return false;
      runs += 1;
      if ((await attempt(candidateSeed, candidate)) !== failing.property) continue;
      [seed, swarm] = [candidateSeed, candidate];
      return true;
    }
    return false;
  };
  for (;;) {
    const before = swarm;
    for (const reduce of REDUCTIONS) {
      for (let shrunk = true; shrunk;) shrunk = await anySucceeds(reduce(swarm), succeeds);
    }
    if (swarm === before) return { seed, swarm, runs };
  }
}

async function anySucceeds(
  swarms: readonly Swarm[],
  succeeds: (swarm: Swarm) => Promise<boolean>,
): Promise<boolean> {
  for (const swarm of swarms) if (await succeeds(swarm)) return true;
  return false;
}

/** What may be tried next in place of a swarm: the boldest first, and nothing once it is plain enough. */
type Reduction = (swarm: Swarm) => readonly Swarm[];

const SHORTEST_STORM_US = 250_000;
const PLAIN_LATENCY_US = 1000;
const PLAIN_CHUNK_BYTES = 100_000;
/** The probabilities of NetworkFaults and DiskFaults. */
const FAULTS: ReadonlySet<string> = new Set(["loss", "duplication", "delay", "fsyncError", "slow"]);

const REDUCTIONS: readonly Reduction[] = [
  (swarm) => withEach(swarm, "stormUs", shorter(swarm.stormUs)),
  (swarm) => withEach(swarm, "strikes", fewerStrikes(swarm)),
  (swarm) => withEach(swarm, "servers", lower(swarm.servers)),
  (swarm) => withEach(swarm, "spares", swarm.spares === 0 ? [] : [0, ...lower(swarm.spares)]),
  (swarm) => withEach(swarm, "clients", lower(swarm.clients)),
  (swarm) => withEach(swarm, "keys", lower(swarm.keys)),
  (swarm) => withEach(swarm, "batches", without(swarm.batches)),
  (swarm) => withEach(swarm, "clockSkew", without(swarm.clockSkew)),
  ({ network, ...rest }) => plainer(network).map((network) => Object.assign({ network }, rest)),
  ({ disk, ...rest }) => plainer(disk).map((disk) => Object.assign({ disk }, rest)),
  (swarm) => withEach(swarm, "snapshot", plainerSnapshots(swarm)),
  (swarm) => withEach(swarm, "memory", plainerMemory(swarm)),
  (swarm) => withEach(swarm, "frontendRestart", without(swarm.frontendRestart)),
  (swarm) => withEach(swarm, "frontends", lower(swarm.frontends)),
  (swarm) => withEach(swarm, "maxBatchEntries", lower(swarm.maxBatchEntries)),
  (swarm) => withEach(swarm, "maxInflight", lower(swarm.maxInflight)),
];

function withEach<Name extends keyof Swarm>(
  swarm: Swarm,
  name: Name,
  values: readonly Swarm[Name][],
): readonly Swarm[] {
  return values.map((value) => Object.assign({}, swarm, { [name]: value }));
}

/** A quarter, a half, three quarters of it, in whole steps of the shortest. */
function shorter(stormUs: number): readonly number[] {
  const steps = [0.25, 0.5, 0.75].map((share) => Math.ceil((stormUs * share) / SHORTEST_STORM_US));
  return [...new Set(steps)].map((step) => step * SHORTEST_STORM_US).filter((us) => us < stormUs);
}

/** Whole numbers below `value`, down to 1, each further from 1 than the one before. */
function lower(value: number): readonly number[] {
  const candidates = [1, Math.ceil(value / 4), Math.ceil(value / 2), Math.ceil((value * 3) / 4), value - 1];
  return [...new Set(candidates)].filter((candidate) => candidate >= 1 && candidate < value);
}

function without(probability: number): readonly number[] {
  return probability === 0 ? [] : [0];
}

/** None; each alone; all but one. */
function fewerStrikes({ strikes }: Swarm): readonly Swarm["strikes"][] {
  if (strikes.length === 0) return [];
  const alone = strikes.length > 1 ? strikes.map((strike) => [strike]) : [];
  const allButOne = strikes.length > 2 ? strikes.map((strike) => strikes.filter((s) => s !== strike)) : [];
  return [[], ...alone, ...allButOne];
}

/** Without one of its faults; with a latency that is always the same. */
function plainer<T extends NetworkFaults | DiskFaults>(trouble: T): readonly T[] {
  const faults = Object.entries(trouble).filter(([name, value]) => FAULTS.has(name) && value !== 0);
  const withoutOne = faults.map(([name]) => Object.assign({}, trouble, { [name]: 0 }));
  if (trouble.latencyMaxUs <= PLAIN_LATENCY_US) return withoutOne;
  const latency = { latencyMinUs: PLAIN_LATENCY_US, latencyMaxUs: PLAIN_LATENCY_US };
  return [...withoutOne, Object.assign({}, trouble, latency)];
}

/** None at all; else no entry kept behind them, and the largest chunks. */
function plainerSnapshots({ snapshot }: Swarm): readonly Swarm["snapshot"][] {
  const { everyEntries, keepEntries, maxChunkBytes } = snapshot;
  if (everyEntries === 0) return [];
  return [
    { everyEntries: 0, keepEntries: 0, maxChunkBytes: PLAIN_CHUNK_BYTES },
    ...(keepEntries === 0 ? [] : [{ ...snapshot, keepEntries: 0 }]),
    ...(maxChunkBytes >= PLAIN_CHUNK_BYTES ? [] : [{ ...snapshot, maxChunkBytes: PLAIN_CHUNK_BYTES }]),
  ];
}

/** As much as there can be. */
function plainerMemory({ memory }: Swarm): readonly Swarm["memory"][] {
  const window = memory.window < LARGE_WINDOW ? [{ ...memory, window: LARGE_WINDOW }] : [];
  const sessions = memory.sessions < MANY_SESSIONS ? [{ ...memory, sessions: MANY_SESSIONS }] : [];
  return [...window, ...sessions];
}
