/** One line for each reason why the cluster stays what it is. */
import { unreachable } from "../base/assert.ts";
import type { TransferOutcome } from "../node/handover.ts";
import type { ChangeOutcome } from "../node/waiting-clients.ts";
import { MAX_MEMBERS, type ChangeRefusal } from "../raft/configuration.ts";
import type { ServerId } from "../raft/entry.ts";
import type { TransferRefusal } from "../raft/transfer.ts";
import { notLeader, STOPPING, type Refusal } from "./refusal.ts";

/** What became of a change to server `id`; null: it is done. */
export function changeRefusal(id: ServerId, outcome: ChangeOutcome): Refusal | null {
  switch (outcome.kind) {
    case "done":
      return null;
    case "notLeader":
      return notLeader(outcome.leaderId);
    case "diskFull":
      return { error: "the disk is full; nothing was changed", code: "UNAVAILABLE" };
    case "stopping":
      return STOPPING;
    case "unknown":
      return {
        error: `outcome unknown: ${outcome.why}; the change may still take effect`,
        code: "UNKNOWN_OUTCOME",
      };
    case "refused":
      return refusedChange(id, outcome.why);
    default:
      return unreachable(outcome);
  }
}

/** For a reason that the core gives. */
export function refusedChange(id: ServerId, why: ChangeRefusal): Refusal {
  const code = why === "notReady" || why === "transferring" ? "UNAVAILABLE" : "FAILED_PRECONDITION";
  return { error: changeRefusalText(id, why), code };
}

function changeRefusalText(id: ServerId, why: ChangeRefusal): string {
  switch (why) {
    case "notReady":
      return "the leader has just been elected; retry";
    case "underWay":
      return "another change of the cluster is under way; retry when it is committed";
    case "transferring":
      return "leadership is being handed over; retry";
    case "member":
      return `server ${id} is a member already`;
    case "addressTaken":
      return `another member has the address of server ${id}`;
    case "tooMany":
      return `the cluster has ${MAX_MEMBERS} servers already: remove one before server ${id} is added`;
    case "unknownMember":
      return `server ${id} is not a member`;
    case "voter":
      return `server ${id} is a voter already`;
    case "notCaughtUp":
      return `server ${id} has not caught up yet: retry when it has`;
    case "lastVoter":
      return `server ${id} is the only voter: a cluster cannot be without one`;
    case "noQuorum":
      return "too few of those who would vote after it answer: no majority could commit anything";
    default:
      return unreachable(why);
  }
}

/** What became of a transfer to `to`, null being whoever has most of the log; null: it is done. */
export function transferRefusal(to: ServerId | null, outcome: TransferOutcome): Refusal | null {
  switch (outcome.kind) {
    case "done":
      return null;
    case "notLeader":
      return notLeader(outcome.leaderId);
    case "failed":
      return {
        error: "no other server took over in time: look who leads (raftkv status), and retry",
        code: "UNAVAILABLE",
      };
    case "refused":
      return { error: transferRefusalText(to, outcome.why), code: "FAILED_PRECONDITION" };
    default:
      return unreachable(outcome);
  }
}

function transferRefusalText(to: ServerId | null, why: TransferRefusal): string {
  switch (why) {
    case "unknownMember":
      return `server ${to} is not a member`;
    case "notVoter":
      return `server ${to} is not a voter: promote it first`;
    case "self":
      return `server ${to} leads already`;
    case "silent":
      return `server ${to} has not answered for an election timeout`;
    case "underWay":
      return "leadership is being handed over to another server; retry";
    case "nobody":
      return "no other voter is there to take over";
    default:
      return unreachable(why);
  }
}
