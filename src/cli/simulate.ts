import { availableParallelism } from "node:os";
import type { ArgsDef } from "citty";
import { command, JSON_OPTION } from "./command.ts";
import { parseWholeNumber } from "./option-value.ts";
import type { Job } from "./result.ts";
import { runCampaign } from "./simulation/campaign.ts";
import { runOneSeed } from "./simulation/one-seed.ts";
import { parseSwarm } from "./simulation/swarm-option.ts";
import { UsageError } from "./usage-error.ts";

const OPTIONS = {
  seeds: { type: "string", valueHint: "count", description: "How many seeds to run (Default: 100)" },
  from: { type: "string", valueHint: "seed", description: 'The first of them, or "random" (Default: 1)' },
  jobs: { type: "string", valueHint: "count", description: "Processes that run them (Default: one a core)" },
  seed: { type: "string", valueHint: "seed", description: "Run this one seed and tell about it" },
  trace: { type: "boolean", description: "with --seed: print every event" },
  swarm: {
    type: "string",
    valueHint: "json",
    description: "with --seed: what is to be different from what the seed draws",
  },
  minimise: {
    type: "boolean",
    description: "with --seed: if it fails, look for a smaller run that does too",
  },
  replay: { type: "boolean", description: "Run every seed twice; both must be the same, event by event" },
  ...JSON_OPTION,
} as const satisfies ArgsDef;

const CAMPAIGN_ONLY = ["seeds", "from", "jobs"] as const;
const ONE_SEED_ONLY = ["trace", "swarm", "minimise"] as const;

const MAX_SEED = 999_999_999_999;
const MAX_SEEDS = 100_000_000;
const MAX_JOBS = 256;

export const simulateCommand = command(
  {
    name: "raftkv simulate",
    description: "Test this program: run whole clusters in virtual time, under faults, and check everything",
  },
  OPTIONS,
  async (args): Promise<Job> => {
    const { replay = false } = args;
    if (args.seed === undefined) {
      refuse(args, ONE_SEED_ONLY, "needs --seed");
      const options = { ...campaignSize(args), replay };
      return { kind: "job", run: (signal) => runCampaign(options, signal) };
    }
    refuse(args, CAMPAIGN_ONLY, "does not go with --seed, which is one seed");
    const seed = parseWholeNumber("--seed", args.seed, 0, MAX_SEED);
    const swarm = args.swarm === undefined ? null : parseSwarm(seed, args.swarm);
    const { trace = false, minimise = false } = args;
    return { kind: "job", run: (signal) => runOneSeed({ seed, swarm, trace, replay, minimise }, signal) };
  },
);

type Options = { readonly [Name in keyof typeof OPTIONS]?: string | boolean | undefined };

function refuse(args: Options, names: readonly (keyof Options)[], why: string): void {
  const found = names.find((name) => args[name] !== undefined);
  if (found !== undefined) throw new UsageError(`--${found} ${why}`);
}

interface CampaignSizeArgs {
  readonly seeds?: string | undefined;
  readonly from?: string | undefined;
  readonly jobs?: string | undefined;
}

function campaignSize({ seeds = "100", from = "1", jobs }: CampaignSizeArgs) {
  return {
    seeds: parseWholeNumber("--seeds", seeds, 1, MAX_SEEDS),
    from:
      from === "random" ? Math.floor(Math.random() * 2 ** 32) : parseWholeNumber("--from", from, 0, MAX_SEED),
    jobs: jobs === undefined ? availableParallelism() : parseWholeNumber("--jobs", jobs, 1, MAX_JOBS),
  };
}
