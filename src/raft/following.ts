/** What a server does with a leader's AppendEntries (Raft figure 2, "AppendEntries RPC", receiver). */
import type { RpcId } from "./batch.ts";
import type { LogIndex } from "./entry.ts";
import type { AppendEntries, Conflict, InstallSnapshot } from "./message.ts";
import type { SnapshotPosition } from "./snapshot-position.ts";
import type { RaftState } from "./state.ts";

export function handleAppendEntries<C>(state: RaftState<C>, rpc: RpcId, request: AppendEntries<C>): void {
  const previous = { index: request.prevLogIndex, term: request.prevLogTerm };
  if (!recognise(state, request, [previous, ...request.entries])) {
    reject(state, rpc, null);
    return;
  }
  if (!state.log.matches(previous)) {
    reject(state, rpc, conflictAt(state, previous.index));
    return;
  }
  storeEntries(state, request);
  // Beyond the last entry that this request verified, our log may still differ from the leader's.
  const lastVerified = previous.index + request.entries.length;
  state.commitTo(Math.min(request.leaderCommit, lastVerified));
  const { currentTerm: term, diskFull } = state;
  state.replyWhenDurable(
    rpc,
    { kind: "appendEntriesReply", term, success: true, conflict: null, diskFull },
    lastVerified,
  );
}

/**
 * Takes the sender for this term's leader, or refuses to: loudly, where no true leader can have sent this.
 * `claimed` is what the request says that the leader's log holds, in the order of the log.
 */
export function recognise<C>(
  state: RaftState<C>,
  request: AppendEntries<C> | InstallSnapshot,
  claimed: readonly SnapshotPosition[],
): boolean {
  const { term, leaderId } = request;
  const why = impossible(state, term, claimed) ?? outranked(state, request) ?? contradiction(state, claimed);
  if (why === null) follow(state, request);
  else if (why !== "stale") state.events.push({ kind: "refused", leaderId, term, why });
  return why === null;
}

/** What no leader sends, but anyone can write by hand: terms that fall, pass the leader's own, or are absurd. */
function impossible<C>(
  state: RaftState<C>,
  term: number,
  claimed: readonly SnapshotPosition[],
): string | null {
  if (!state.isPlausible(term)) return `term ${term} is far ahead of ${state.currentTerm}`;
  let before = 1;
  for (const position of claimed) {
    if (position.index > 0 && position.term < before) {
      return `entry ${position.index} has term ${position.term}, below ${before}`;
    }
    before = Math.max(before, position.term);
  }
  return before > Math.max(1, term) ? `it speaks of term ${before}, above its own ${term}` : null;
}

/** Takes note of the sender's term; says why its sender cannot lead this server in it. */
function outranked<C>(state: RaftState<C>, request: AppendEntries<C> | InstallSnapshot): string | null {
  if (request.term < state.currentTerm) return "stale";
  if (request.term > state.currentTerm) state.stepDown(request.term, "higherTerm");
  return state.role.kind === "leader" ? `server ${state.id} leads term ${state.currentTerm} itself` : null;
}

/** Recognises the sender as this term's leader. */
function follow<C>(state: RaftState<C>, { term, leaderId }: AppendEntries<C> | InstallSnapshot): void {
  if (state.role.kind !== "follower") state.stepDown(term, "otherLeader");
  if (state.leaderId !== leaderId) {
    state.role = { kind: "follower", leaderId };
    state.events.push({ kind: "leaderKnown", term, leaderId });
  }
  state.resetElectionTimer();
}

/** Where a claim disagrees with what is committed, which no true leader's does (Leader Completeness). */
function contradiction<C>(state: RaftState<C>, claimed: readonly SnapshotPosition[]): string | null {
  const { commitIndex, log } = state;
  const wrong = claimed.find((position) => position.index <= commitIndex && !log.matches(position));
  if (wrong !== undefined) return `committed entry ${wrong.index} does not have term ${wrong.term}`;
  const committedTerm = log.termAt(commitIndex) ?? 0;
  const below = claimed.find(({ index, term }) => index > commitIndex && term < committedTerm);
  return below === undefined
    ? null
    : `entry ${below.index} has term ${below.term}, and committed entry ${commitIndex} has ${committedTerm}`;
}

/** Steps 3 and 4: an entry goes only where it really conflicts, so an old, reordered request takes nothing away. */
function storeEntries<C>(state: RaftState<C>, request: AppendEntries<C>): void {
  const { entries } = request;
  const firstNew = entries.findIndex((entry) => !state.log.matches(entry));
  if (firstNew < 0) return;
  const from = request.prevLogIndex + 1 + firstNew;
  if (from <= state.log.lastIndex) state.truncate(from);
  state.appendEntries(firstNew === 0 ? entries : entries.slice(firstNew));
}

function conflictAt<C>(state: RaftState<C>, index: LogIndex): Conflict {
  const term = state.log.termAt(index);
  if (term === null) return { index: state.log.lastIndex + 1, term: 0 };
  return { index: state.log.firstIndexOfTerm(term), term };
}

function reject<C>(state: RaftState<C>, rpc: RpcId, conflict: Conflict | null): void {
  const { currentTerm: term, diskFull } = state;
  state.replyWhenDurable(rpc, { kind: "appendEntriesReply", term, success: false, conflict, diskFull });
}
