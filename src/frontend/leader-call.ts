/**
 * Carries one call to the leader, across leader changes, until its time is up.
 *
 * A call is sent to the leader that is known, with all the time that the call has left: a leader that is
 * slow is not asked twice. When no answer has come after a moment, the other servers are asked whether
 * they lead by now, and only when one does, or the connection breaks, is the call sent again (F7).
 */
import { CERTAINLY_NOT_DONE, type AttemptOutcome } from "./attempt-outcome.ts";
import type { CallBudget } from "./call-budget.ts";
import type { ClusterLink, Leader } from "./cluster-link.ts";
import { failure, type Reply } from "./reply.ts";
import type { ServerClient } from "./server-clients.ts";
import { remainingMs, type Deadline } from "./waiting.ts";

export interface Call {
  readonly send: (
    client: ServerClient,
    timeoutMs: number,
    /** An earlier attempt may have been carried out. */
    doubtful: boolean,
    done: (outcome: AttemptOutcome) => void,
  ) => void;
  /** What an attempt means that was given up without an answer. */
  readonly abandoned: AttemptOutcome;
  /** After an attempt in doubt it may be sent again. */
  readonly repeatable: boolean;
}

export type CallResult = { readonly kind: "answered"; readonly reply: Reply } | Unserved;

export interface Unserved {
  readonly kind: "unserved";
  /** An attempt may have taken effect, or may yet (C2). */
  readonly doubtful: boolean;
  readonly why: string;
  /** What the last server that gave a reason said. */
  readonly reason: string | null;
}

/** After this time without an answer the leader is doubted, though not yet given up. */
const SUSPICION_MS = 250;
/** Between attempts that failed at once. */
const FIRST_PAUSE_MS = 10;
const MAX_PAUSE_MS = 100;

export async function callLeader(link: ClusterLink, call: Call, budget: CallBudget): Promise<CallResult> {
  const { deadline } = budget;
  let doubtful = false;
  let reason: string | null = null;
  let pauseMs = 0;
  while (remainingMs(deadline) > 0) {
    const leader = await link.waitForLeader(deadline);
    if (leader === null || remainingMs(deadline) === 0) break;
    const outcome = await attempt(link, leader, call, doubtful, deadline);
    if (outcome.kind === "answered") {
      if (!doubtful || outcome.reply.code === "OK") return outcome;
      // It refuses this attempt; an earlier one may still be carried out.
      reason = outcome.reply.error ?? reason;
      break;
    }
    doubtful ||= outcome.doubtful;
    reason = outcome.reason ?? reason;
    link.lost(leader);
    if (doubtful && !call.repeatable) break;
    await Bun.sleep(Math.min(pauseMs, remainingMs(deadline)));
    pauseMs = Math.min(MAX_PAUSE_MS, Math.max(FIRST_PAUSE_MS, pauseMs * 2));
  }
  return { kind: "unserved", doubtful, why: whyUnserved(link, budget, reason), reason };
}

/** The answer to a read or write that was not served. */
export function unservedReply({ doubtful, why }: Unserved): Reply {
  return doubtful
    ? failure("UNKNOWN_OUTCOME", `outcome unknown: ${why}; the write may still take effect`)
    : failure("UNAVAILABLE", `${why}: nothing was done; see "raftkv status"`);
}

/** One attempt. It ends with an answer, a broken connection, the deadline, or another leader. */
function attempt(
  link: ClusterLink,
  leader: Leader,
  call: Call,
  doubtful: boolean,
  deadline: Deadline,
): Promise<AttemptOutcome> {
  const client = link.closed ? null : link.client(leader.id);
  if (client === null) return Promise.resolve(CERTAINLY_NOT_DONE);
  return new Promise((resolve) => {
    let unwatch: (() => void) | null = null;
    const settle = (outcome: AttemptOutcome): void => {
      clearTimeout(suspicion);
      unwatch?.();
      resolve(outcome);
    };
    const suspicion = setTimeout(() => {
      unwatch = link.watch(leader, () => settle(call.abandoned));
    }, SUSPICION_MS);
    call.send(client, remainingMs(deadline), doubtful, settle);
  });
}

function whyUnserved(link: ClusterLink, { ms }: CallBudget, reason: string | null): string {
  if (link.closed) return "the cluster was replaced or stopped";
  const said = reason === null ? "" : `; the last one said: ${reason}`;
  return `no leader served the call within ${Math.round(ms)} ms${said}`;
}
