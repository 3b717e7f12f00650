/**
 * A planted bug: the production source with one text replaced, when the module is loaded, in a process
 * that is started for it (mutant-loader.ts). Nothing of it is in the source, nor in the executable.
 */
import type { Swarm } from "../../src/sim/swarm.ts";

export interface Mutant {
  /** In a command line; unique. */
  readonly name: string;
  /** The line of correctness.md that it breaks. */
  readonly rule: string;
  /** What the broken server does, in one sentence. */
  readonly what: string;
  /** From the root of the repository. */
  readonly file: string;
  /** Must occur exactly once in the file. */
  readonly find: string;
  readonly replace: string;
  /** In a focused hunt, in place of what the seed draws; for mutants that need many seeds without. */
  readonly focus?: Partial<Swarm>;
}

/** The source of `mutant.file` with the bug in it. Throws TypeError unless there is exactly one place for it. */
export function mutate(mutant: Mutant, source: string): string {
  const { name, file, find, replace } = mutant;
  const parts = source.split(find);
  const [before, after] = parts;
  if (before === undefined || after === undefined || parts.length > 2) {
    throw new TypeError(`mutant ${name}: its text occurs ${parts.length - 1} times in ${file}, not once`);
  }
  return before + replace + after;
}
