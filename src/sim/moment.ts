/**
 * When a crash does most harm, and where random ones seldom hit: a server has just stood for election,
 * voted, won, truncated its log or taken over a snapshot, and nobody knows yet; or its disk is between two
 * steps of a write.
 */
import type { Operation } from "../storage/memory-file-system.ts";

const EVENTS = ["becameCandidate", "becameLeader", "truncated", "compacted", "installed", "voted"] as const;
/** Of the log and the state file. */
const FILE_STEPS = ["openAppend", "append.append", "append.truncate", "rename", "removeFile"] as const;
const SNAPSHOT_STEPS = ["append.append", "append.sync", "rename", "removeFile"] as const;

export type Moment =
  | (typeof EVENTS)[number]
  | (typeof FILE_STEPS)[number]
  /** Of a snapshot that is taken, and of one that is received. */
  | `snapshot ${(typeof SNAPSHOT_STEPS)[number]}`
  | `received ${(typeof SNAPSHOT_STEPS)[number]}`;

export const MOMENTS: readonly [Moment, ...Moment[]] = [
  "voted",
  ...EVENTS.filter((name) => name !== "voted"),
  ...FILE_STEPS,
  ...SNAPSHOT_STEPS.flatMap((name): Moment[] => [`snapshot ${name}`, `received ${name}`]),
];

/** null: as good a moment as any other. */
export function momentOfEvent(kind: string): Moment | null {
  return EVENTS.find((name) => name === kind) ?? null;
}

/** null: as good a moment as any other. */
export function momentOfOperation({ name, path }: Pick<Operation, "name" | "path">): Moment | null {
  if (!path.includes("/snapshot-")) return FILE_STEPS.find((step) => step === name) ?? null;
  const step = SNAPSHOT_STEPS.find((each) => each === name);
  if (step === undefined) return null;
  return path.endsWith(".part") ? `received ${step}` : `snapshot ${step}`;
}
