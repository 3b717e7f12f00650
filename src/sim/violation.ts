/** The properties that are checked, as failures name them. */
export type Property =
  | "Election Safety"
  | "Leader Append-Only"
  | "Log Matching"
  | "Leader Completeness"
  | "State Machine Safety"
  | "One vote a term"
  | "Acknowledged is durable"
  | "Committed is durable on a quorum"
  | "Acknowledged is committed"
  | "Each request once"
  | "Server state"
  | "Step"
  | "Recovery"
  | "Abstention"
  | "Bounded queues"
  | "Bounded log"
  | "Disk full"
  | "Leader without a majority steps down"
  | "Waiting clients are answered"
  | "Follower without a leader stands for election"
  | "Membership"
  | "Transfer"
  | "Linearizable reads"
  | "Linearizability"
  | "Convergence"
  | "Stable leader"
  | "No crash";

/** The first property that a run violated, in one sentence. It ends the run. */
export class Violation extends Error {
  override readonly name = "Violation";
  readonly property: Property;

  constructor(property: Property, message: string) {
    super(message);
    this.property = property;
  }
}

export function require(property: Property, holds: boolean, message: () => string): void {
  if (!holds) throw new Violation(property, message());
}
