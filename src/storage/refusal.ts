/** How storage says no to files that it cannot trust. It never changes them. */
import { RaftKvError } from "../base/errors.ts";

/** Where a file is not what was written, or not ours. */
export interface Damage {
  readonly path: string;
  /** In bytes; null when it is not at one place. */
  readonly offset: number | null;
  readonly what: string;
}

/** An operating error about one file, which tells its parts as well as its message. */
export class FileRefusal extends RaftKvError {
  readonly damage: Damage;

  constructor(code: "corruption" | "failedPrecondition", damage: Damage, advice: string) {
    const { path, offset, what } = damage;
    const place = offset === null ? path : `${path}: byte ${offset}`;
    super(code, `${place}: ${what}${advice}`);
    this.damage = damage;
  }
}

/** A damaged file. `offset` in bytes; null when the damage is not at one place. */
export function corrupted(path: string, offset: number | null, what: string): FileRefusal {
  const advice = ". Nothing was changed; restore the file from a copy, or see raftkv replace.";
  return new FileRefusal("corruption", { path, offset, what }, advice);
}

/** A whole file that must not be used here: somebody else's, or a newer version's. */
export function unusable(path: string, what: string): FileRefusal {
  return new FileRefusal("failedPrecondition", { path, offset: null, what }, "");
}
