/**
 * `--swarm '{"servers":3,"network":{"loss":0}}'`: what is to be different from the swarm that the seed
 * draws for itself. What is not named stays as drawn.
 */
import { z } from "zod";
import { swarmOf } from "../../sim/simulation.ts";
import { swarmDifference } from "../../sim/swarm-text.ts";
import { STRIKES, type Swarm } from "../../sim/swarm.ts";
import { UsageError } from "../usage-error.ts";

/** An hour of virtual time is more than a run should take. */
const MAX_US = 3_600_000_000;

const atLeastOne = (max: number) => z.int().min(1).max(max);
const microseconds = z.int().min(1).max(MAX_US);
const probability = z.number().min(0).max(1);

const LATENCY = { latencyMinUs: microseconds, latencyMaxUs: microseconds };

const SWARM = z.strictObject({
  servers: atLeastOne(15),
  spares: z.int().min(0).max(15),
  clients: z.int().min(0).max(100),
  keys: atLeastOne(1000),
  thinkTimeUs: microseconds,
  batches: probability,
  stormUs: microseconds,
  network: z.strictObject({
    ...LATENCY,
    loss: probability,
    duplication: probability,
    delay: probability,
    delayMaxUs: microseconds,
  }),
  disk: z.strictObject({ ...LATENCY, fsyncError: probability, slow: probability, slowMaxUs: microseconds }),
  faultEveryUs: microseconds,
  strikes: z.array(z.enum(STRIKES)),
  clockSkew: z.number().min(0).max(0.5),
  maxBatchEntries: atLeastOne(10_000),
  maxInflight: atLeastOne(1000),
  maxSegmentBytes: atLeastOne(1_000_000_000),
  snapshot: z.strictObject({
    everyEntries: z.int().min(0).max(1_000_000),
    keepEntries: z.int().min(0).max(1_000_000),
    maxChunkBytes: atLeastOne(1_000_000),
  }),
  frontends: atLeastOne(100),
  frontendRestart: probability,
  memory: z.strictObject({ window: atLeastOne(65_536), sessions: atLeastOne(65_536) }),
}) satisfies z.ZodType<Swarm>;

const GROUPS = ["network", "disk", "snapshot", "memory"] as const;

/** The swarm that `text` makes of what `seed` draws. Throws UsageError. */
export function parseSwarm(seed: number, text: string): Swarm {
  const changes = parseObject(text);
  const drawn = swarmOf(seed);
  const groups = GROUPS.flatMap((name) =>
    isObject(changes[name]) ? [[name, { ...drawn[name], ...changes[name] }]] : [],
  );
  const parsed = SWARM.safeParse({ ...drawn, ...changes, ...Object.fromEntries(groups) });
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue === undefined || issue.path.length === 0 ? "" : `${issue.path.join(".")}: `;
  throw new UsageError(`--swarm: ${where}${issue?.message ?? "not a swarm"}`);
}

/** The option as it is typed at a shell; empty when the seed draws this very swarm. */
export function swarmArgument(seed: number, swarm: Swarm): string {
  const changes = swarmDifference(swarm, swarmOf(seed));
  return Object.keys(changes).length === 0 ? "" : ` --swarm '${JSON.stringify(changes)}'`;
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  const hint = `--swarm must be a JSON object, for example '{"servers":3,"strikes":["kill"]}'`;
  try {
    const value: unknown = JSON.parse(text);
    if (isObject(value)) return value;
  } catch {
    // Said below.
  }
  throw new UsageError(hint);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
