/** All planted bugs. Whatever the simulation is to find has one here. */
import { clientMutants } from "./client-mutants.ts";
import { diskMutants } from "./disk-mutants.ts";
import { electionMutants } from "./election-mutants.ts";
import { fullDiskMutants } from "./full-disk-mutants.ts";
import { membershipMutants } from "./membership-mutants.ts";
import type { Mutant } from "./mutant.ts";
import { readMutants } from "./read-mutants.ts";
import { rejoinMutants } from "./rejoin-mutants.ts";
import { replicationMutants } from "./replication-mutants.ts";
import { snapshotMutants } from "./snapshot-mutants.ts";
import { transferMutants } from "./transfer-mutants.ts";

export const MUTANTS: readonly Mutant[] = [
  ...electionMutants,
  ...replicationMutants,
  ...diskMutants,
  ...fullDiskMutants,
  ...rejoinMutants,
  ...snapshotMutants,
  ...readMutants,
  ...membershipMutants,
  ...transferMutants,
  ...clientMutants,
];

/** Throws TypeError for a name that no mutant has. */
export function mutantNamed(name: string): Mutant {
  const mutant = MUTANTS.find((each) => each.name === name);
  if (mutant === undefined) throw new TypeError(`there is no mutant ${name}`);
  return mutant;
}
