/**
 * Changes of who belongs to the cluster and who leads it, carried to the leader.
 *
 * The leader decides, and says why it refuses. A change is sent once more only when the attempt before was
 * certainly not carried out: sent twice, the second would be refused because of the first. When that is in
 * doubt, the leader is asked who belongs to the cluster now, and that is the answer.
 */
import { RaftKvError } from "../base/errors.ts";
import type { ServerId } from "../raft/entry.ts";
import type { AddMemberArgs } from "../rpc/wire.ts";
import { encodeText } from "../rpc/text.ts";
import { changeOutcome, MAYBE_DONE, transferOutcome, type AttemptOutcome } from "./attempt-outcome.ts";
import { budgetFromNow, type CallBudget } from "./call-budget.ts";
import type { ClusterLink } from "./cluster-link.ts";
import { memberWith, type Cluster } from "./cluster.ts";
import type { CurrentCluster } from "./current-cluster.ts";
import { callLeader, type Unserved } from "./leader-call.ts";
import { failure, type Reply } from "./reply.ts";
import type { ServerClient } from "./server-clients.ts";
import { deadlineIn, remainingMs, type Deadline } from "./waiting.ts";

/** The time a call gets whose caller set no deadline: a new member may have much to catch up. */
export const DEFAULT_TIMEOUT_MS = 30_000;
/** What is kept of a call's time, to see what has become of it; a quarter of it, when that is less. */
const LOOK_MS = 1000;
/** How long a server may take to say who belongs to the cluster. */
const ASK_TIMEOUT_MS = 500;
/** Between two looks, and between attempts to add a server that is to be added in any case. */
const PAUSE_MS = 100;
/** How often a server's addition may be refused before it is believed. */
const MAX_REFUSALS = 3;

type Done = (outcome: AttemptOutcome) => void;

interface Change {
  /** Whom it is about; null: whoever is chosen. */
  readonly id: ServerId | null;
  readonly send: (client: ServerClient, timeoutMs: number, done: Done) => void;
  /** The answer if that is what it wanted; null: it is not, or not for sure. Asked after an attempt in doubt. */
  readonly reached: (view: View) => Reply | null;
}

/** What a leader says. */
interface View {
  readonly cluster: Cluster;
  readonly leaderId: ServerId;
  /** Whether that configuration is committed. */
  readonly isCommitted: boolean;
}

const DONE: Reply = { wrongLeader: false, code: "OK" };

/** Every failure is in the reply. `callerMs`: until the caller gives up, null: never. */
export class Membership {
  readonly #clusters: CurrentCluster;
  #lastAdmission: Promise<unknown> = Promise.resolve();

  constructor(clusters: CurrentCluster) {
    this.#clusters = clusters;
  }

  add(args: AddMemberArgs, callerMs: number | null): Promise<Reply> {
    return this.#change(callerMs, addition(args));
  }

  promote(id: ServerId, callerMs: number | null): Promise<Reply> {
    return this.#change(callerMs, promotion(id));
  }

  remove(id: ServerId, callerMs: number | null): Promise<Reply> {
    return this.#change(callerMs, removal(id));
  }

  /** `to` null: whoever has most of the log. The reply's value is the id of who leads then. */
  transfer(to: ServerId | null, callerMs: number | null): Promise<Reply> {
    return this.#change(callerMs, handover(to));
  }

  /**
   * Makes a server that runs where config.ini says a voter, whatever it is now, one at a time. Rejects with
   * RaftKvError as the leader refuses it, or "unavailable" when there is none, or another cluster, or no time left.
   */
  admit(id: ServerId, deadline: Deadline): Promise<void> {
    const cluster = this.#clusters.settledLink(deadline);
    const admission = this.#lastAdmission.then(async () => this.#admit(id, await cluster, deadline));
    this.#lastAdmission = admission.catch(() => {});
    return admission;
  }

  async #admit(id: ServerId, link: ClusterLink | null, deadline: Deadline): Promise<void> {
    if (link === null) throw errorOf(this.#clusters.noLink(remainingMs(deadline)));
    let refusals = 0;
    for (;;) {
      await link.statuses(ASK_TIMEOUT_MS);
      if (link.closed) throw new RaftKvError("unavailable", "the cluster was replaced or stopped");
      const member = memberWith(link.cluster, id);
      if (member?.voter === true) return;
      const change = member === null ? addition({ id, address: "", nonVoter: false }) : promotion(id);
      const reply = await carryOut(link, change, budgetFromNow(remainingMs(deadline), DEFAULT_TIMEOUT_MS));
      if (reply.code === "OK") return;
      // One that is a member already is only behind; so may a change be that is under way.
      if (member === null && reply.code === "FAILED_PRECONDITION") refusals += 1;
      if (refusals < MAX_REFUSALS && reply.code !== "INVALID_ARGUMENT" && remainingMs(deadline) > PAUSE_MS) {
        await Bun.sleep(PAUSE_MS);
        continue;
      }
      throw errorOf(reply);
    }
  }

  async #change(callerMs: number | null, change: Change): Promise<Reply> {
    const budget = budgetFromNow(callerMs, DEFAULT_TIMEOUT_MS);
    const link = await this.#clusters.settledLink(budget.deadline);
    return link === null ? this.#clusters.noLink(budget.ms) : carryOut(link, change, budget);
  }
}

function addition(args: AddMemberArgs): Change {
  const { id, nonVoter } = args;
  return {
    id,
    send: (client, timeoutMs, done) =>
      client.send("AddMember", args, timeoutMs, (result) => done(changeOutcome(result))),
    reached: (view) => doneIf(view, (member) => member !== null && (nonVoter || member.voter), id),
  };
}

function promotion(id: ServerId): Change {
  return {
    id,
    send: (client, timeoutMs, done) =>
      client.send("PromoteMember", { arg: id }, timeoutMs, (result) => done(changeOutcome(result))),
    reached: (view) => doneIf(view, (member) => member?.voter === true, id),
  };
}

function removal(id: ServerId): Change {
  return {
    id,
    send: (client, timeoutMs, done) =>
      client.send("RemoveMember", { arg: id }, timeoutMs, (result) => done(changeOutcome(result))),
    reached: (view) => doneIf(view, (member) => member === null, id),
  };
}

function handover(to: ServerId | null): Change {
  return {
    id: to,
    send: (client, timeoutMs, done) =>
      client.send("TransferLeadership", to === null ? {} : { to }, timeoutMs, (result) =>
        done(transferOutcome(result)),
      ),
    reached: ({ leaderId }) => (to === leaderId ? { ...DONE, value: encodeText(String(leaderId)) } : null),
  };
}

async function carryOut(link: ClusterLink, change: Change, budget: CallBudget): Promise<Reply> {
  const result = await callLeader(link, callOf(change), shortened(budget));
  if (result.kind === "answered") {
    // So that the frontend knows what its caller knows.
    if (result.reply.code === "OK") await settledView(link, budget.deadline);
    return result.reply;
  }
  if (result.doubtful) return resolveDoubt(link, change, result, budget.deadline);
  return failure("UNAVAILABLE", `${result.why}: nothing was changed; see "raftkv status"`);
}

function callOf({ send }: Change) {
  return {
    send: (client: ServerClient, timeoutMs: number, _doubtful: boolean, done: Done) =>
      send(client, timeoutMs, done),
    abandoned: MAYBE_DONE,
    repeatable: false,
  };
}

function shortened({ ms, deadline }: CallBudget): CallBudget {
  const lookMs = Math.min(LOOK_MS, ms / 4);
  return { ms: ms - lookMs, deadline: deadline - lookMs };
}

async function resolveDoubt(
  link: ClusterLink,
  change: Change,
  { why, reason }: Unserved,
  deadline: Deadline,
): Promise<Reply> {
  let view: View | null = null;
  do {
    view = (await viewOf(link, deadline)) ?? view;
    const reply = view === null ? null : change.reached(view);
    if (reply !== null) return reply;
    // With its own word for it, the leader has looked already.
    if (reason !== null && view !== null) break;
    await Bun.sleep(Math.min(PAUSE_MS, remainingMs(deadline)));
  } while (remainingMs(deadline) > 0 && !link.closed);
  const state = view === null ? "" : `; now ${stateIn(view, change.id)}`;
  return failure("UNKNOWN_OUTCOME", `${reason ?? `outcome unknown: ${why}`}${state}`);
}

/** Waits until a leader tells who belongs to the cluster, a moment at most. */
async function settledView(link: ClusterLink, deadline: Deadline): Promise<void> {
  const end = Math.min(deadline, deadlineIn(LOOK_MS));
  while (!link.closed && remainingMs(end) > 0 && (await viewOf(link, end)) === null) {
    await Bun.sleep(Math.min(PAUSE_MS / 10, remainingMs(end)));
  }
}

/** null: no leader says anything in time. */
async function viewOf(link: ClusterLink, deadline: Deadline): Promise<View | null> {
  const leader = await link.waitForLeader(deadline);
  if (leader === null) return null;
  const status = await link.status(leader.id, Math.min(ASK_TIMEOUT_MS, Math.max(1, remainingMs(deadline))));
  if (status?.role !== "leader") {
    link.lost(leader);
    return null;
  }
  const isCommitted = status.commitIndex >= status.configurationIndex;
  return { cluster: link.cluster, leaderId: leader.id, isCommitted };
}

function doneIf(
  { cluster, isCommitted }: View,
  isWanted: (member: ReturnType<typeof memberWith>) => boolean,
  id: ServerId,
): Reply | null {
  return isCommitted && isWanted(memberWith(cluster, id)) ? DONE : null;
}

function stateIn({ cluster, leaderId }: View, id: ServerId | null): string {
  const member = id === null ? null : memberWith(cluster, id);
  const what = member === null ? "no member" : member.voter ? "a voter" : "a non-voter";
  return id === null ? `server ${leaderId} leads` : `server ${id} is ${what}, and server ${leaderId} leads`;
}

function errorOf({ code, error = "" }: Reply): RaftKvError {
  const isFinal = code === "FAILED_PRECONDITION" || code === "INVALID_ARGUMENT";
  return new RaftKvError(isFinal ? "failedPrecondition" : "unavailable", error);
}
