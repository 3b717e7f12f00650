/**
 * A planted bug: the production source with a text replaced, when the module is loaded, in a process that is
 * started for it (mutant-loader.ts). Nothing of it is in the source, nor in the executable.
 */
import type { Swarm } from "../../src/sim/swarm.ts";

/** A change to one file of the source. */
export interface Patch {
  /** From the root of the repository. */
  readonly file: string;
  /** Must occur exactly once in the file. */
  readonly find: string;
  readonly replace: string;
}

export interface Mutant extends Patch {
  /** In a command line; unique. */
  readonly name: string;
  /** The line of correctness.md that it breaks. */
  readonly rule: string;
  /** What the broken server does, in one sentence. */
  readonly what: string;
  /** More changes, where one alone is made good by a second line of defence. */
  readonly also?: readonly Patch[];
  /** In a focused hunt, in place of what the seed draws; for mutants that need many seeds without. */
  readonly focus?: Partial<Swarm>;
}

/** The files that the mutant changes. */
export function filesOf(mutant: Mutant): readonly string[] {
  return [...new Set(patchesOf(mutant).map(({ file }) => file))];
}

/** The source of `file` with the bug in it. Throws TypeError unless there is exactly one place for each change. */
export function mutate(mutant: Mutant, file: string, source: string): string {
  return patchesOf(mutant)
    .filter((patch) => patch.file === file)
    .reduce((text, patch) => patched(mutant, patch, text), source);
}

function patchesOf(mutant: Mutant): readonly Patch[] {
  return [mutant, ...(mutant.also ?? [])];
}

function patched({ name }: Mutant, { file, find, replace }: Patch, source: string): string {
  const [before, after, ...more] = source.split(find);
  if (before === undefined || after === undefined || more.length > 0) {
    const times = source.split(find).length - 1;
    throw new TypeError(`mutant ${name}: its text occurs ${times} times in ${file}, not once`);
  }
  return before + replace + after;
}
