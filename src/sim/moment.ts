/**
 * When a crash does most harm, and where random ones seldom hit: a server has just stood for election,
 * voted, won or truncated its log, and nobody knows yet; or its disk is between two steps of a write.
 */
export const MOMENTS = [
  "becameCandidate",
  "becameLeader",
  "truncated",
  "voted",
  "openAppend",
  "append.append",
  "append.truncate",
  "rename",
] as const;

export type Moment = (typeof MOMENTS)[number];
