/** Hunts mutants, each in a process of its own. */
import { resolve } from "node:path";
import { z } from "zod";
import type { Mutant } from "./mutant.ts";

const outcomeShape = z.union([
  z.object({ caught: z.literal(true), seeds: z.int(), property: z.string(), message: z.string() }),
  z.object({ caught: z.literal(false), seeds: z.int() }),
]);

/** `seeds`: how many were simulated, from seed 1 on, the violating one included. */
export type HuntOutcome = z.infer<typeof outcomeShape>;

export interface HuntOptions {
  readonly mostSeeds: number;
  /** Whether the mutant's own focus narrows what the seeds draw. */
  readonly focused: boolean;
}

/** Resolves when the mutant is caught or all seeds are through. Rejects when the hunt itself breaks. */
export async function hunt({ name }: Mutant, { mostSeeds, focused }: HuntOptions): Promise<HuntOutcome> {
  const loader = resolve(import.meta.dir, "mutant-loader.ts");
  const run = resolve(import.meta.dir, "mutant-run.ts");
  const child = Bun.spawn(
    [process.execPath, "--preload", loader, run, String(mostSeeds), ...(focused ? ["focused"] : [])],
    { env: { ...Bun.env, RAFTKV_MUTANT: name }, stdout: "pipe", stderr: "pipe" },
  );
  const [output, errors] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  if (child.exitCode !== 0) throw new Error(`the hunt for ${name} ended with ${child.exitCode}: ${errors}`);
  return outcomeShape.parse(JSON.parse(output));
}

/** Calls `each` for all of them, two at a time, in order. */
export async function twoAtATime<T>(all: readonly T[], each: (item: T) => Promise<void>): Promise<void> {
  const queue = all.values();
  const worker = async (): Promise<void> => {
    for (const item of queue) await each(item);
  };
  await Promise.all([worker(), worker()]);
}
