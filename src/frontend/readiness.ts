/** When a started server counts as serving, and a cluster as led. */
import type { ServerStatus } from "../rpc/wire.ts";
import type { ClusterLink } from "./cluster-link.ts";
import type { LaunchedServer } from "./launcher.ts";

/** What a question to a server on this machine may take before it is asked again. */
export const STATUS_TIMEOUT_MS = 500;

/** Whether it answers `ping`, and is the very process that we started, in its cluster (F2). */
export async function isReady(link: ClusterLink, { id, pid }: LaunchedServer): Promise<boolean> {
  const ping = await link
    .client(id)
    .call("ping", {}, STATUS_TIMEOUT_MS)
    .catch(() => null);
  if (ping?.success !== true) return false;
  return (await link.status(id, STATUS_TIMEOUT_MS))?.pid === pid;
}

/** Whether all have answered, all are in one term, and one of them leads it. */
export function hasOneLeader(statuses: readonly (ServerStatus | null)[]): boolean {
  const answered = statuses.filter((status) => status !== null);
  if (answered.length < statuses.length || new Set(answered.map(({ term }) => term)).size !== 1) return false;
  return answered.filter(({ role }) => role === "leader").length === 1;
}
