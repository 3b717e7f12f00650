/** When a started server counts as serving, and a cluster as led. */
import { RaftKvError } from "../base/errors.ts";
import type { LaunchedServer } from "./launcher.ts";
import type { Answer, ServerClients } from "./server-clients.ts";
import type { ServerPorts } from "./server-ports.ts";
import { waitUntil, type Deadline } from "./waiting.ts";

/** What a question to a server on this machine may take before it is asked again. */
export const STATUS_TIMEOUT_MS = 500;

/** How servers are looked at while they start. */
export interface StartWatch {
  /** To all of them, and perhaps others of their cluster. */
  readonly clients: ServerClients;
  readonly ports: ServerPorts;
  readonly deadline: Deadline;
  /** Aborted, with a RaftKvError: nobody wants them any more. */
  readonly signal: AbortSignal;
}

/**
 * Resolves when the server serves. Rejects with RaftKvError and leaves the process alone: "failedPrecondition"
 * when it has ended, "unavailable" when it is not ready in time, or the signal's reason.
 */
export async function waitUntilReady(server: LaunchedServer, watch: StartWatch): Promise<void> {
  const { clients, ports, deadline, signal } = watch;
  const ready = await waitUntil(deadline, async () => {
    signal.throwIfAborted();
    await checkRuns(server, ports);
    return (await ports.isTaken(server.id)) && isReady(clients, server);
  });
  if (ready) return;
  const what = `server ${server.id} (process ${server.pid}) did not serve ${clients.client(server.id).address} in time`;
  throw new RaftKvError("unavailable", `${what}: ${await server.lastWords()}`);
}

/** Resolves when one of them leads and all others follow. Rejects as waitUntilReady. */
export async function waitForLeader(servers: readonly LaunchedServer[], watch: StartWatch): Promise<void> {
  const { clients, ports, deadline, signal } = watch;
  const elected = await waitUntil(deadline, async () => {
    signal.throwIfAborted();
    await Promise.all(servers.map((server) => checkRuns(server, ports)));
    return hasOneLeader(await clients.statuses(STATUS_TIMEOUT_MS));
  });
  if (elected) return;
  const statuses = await clients.statuses(STATUS_TIMEOUT_MS);
  const said = statuses.map(({ id, status }) =>
    status === null
      ? `server ${id} does not answer`
      : `server ${id} is ${status.role} of term ${status.term}`,
  );
  throw new RaftKvError("unavailable", `no leader was elected in time: ${said.join(", ")}`);
}

/** Throws RaftKvError "failedPrecondition" with the reason when the server has ended. */
async function checkRuns(server: LaunchedServer, ports: ServerPorts): Promise<void> {
  const ending = server.ending();
  if (ending === null) return;
  const note = await ports.note(server.id);
  const what = `server ${server.id} ${ending}: ${await server.lastWords()}${note}`;
  throw new RaftKvError("failedPrecondition", what);
}

/** Whether it answers `ping`, and is the very process that we started, in its cluster (F2). */
async function isReady(clients: ServerClients, { id, pid }: LaunchedServer): Promise<boolean> {
  const ping = await clients
    .client(id)
    .call("ping", {}, STATUS_TIMEOUT_MS)
    .catch(() => null);
  if (ping?.success !== true) return false;
  return (await clients.status(id, STATUS_TIMEOUT_MS))?.pid === pid;
}

/** Whether all have answered, all are in one term, and one of them leads it. */
function hasOneLeader(statuses: readonly Answer[]): boolean {
  const answered = statuses.map(({ status }) => status).filter((status) => status !== null);
  if (answered.length < statuses.length || new Set(answered.map(({ term }) => term)).size !== 1) return false;
  return answered.filter(({ role }) => role === "leader").length === 1;
}
