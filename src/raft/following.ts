/** What a server does with a leader's AppendEntries (Raft figure 2, "AppendEntries RPC", receiver). */
import type { RpcId } from "./batch.ts";
import type { AppendEntries, Conflict } from "./message.ts";
import type { RaftState } from "./state.ts";

export function handleAppendEntries<C>(state: RaftState<C>, rpc: RpcId, request: AppendEntries<C>): void {
  const why = impossible(state, request) ?? outranked(state, request) ?? contradiction(state, request);
  if (why !== null) {
    if (why !== "stale") {
      state.events.push({ kind: "refused", leaderId: request.leaderId, term: request.term, why });
    }
    reject(state, rpc, null);
    return;
  }
  follow(state, request);
  if (state.log.termAt(request.prevLogIndex) !== request.prevLogTerm) {
    reject(state, rpc, conflictAt(state, request.prevLogIndex));
    return;
  }
  storeEntries(state, request);
  // Beyond the last entry that this request verified, our log may still differ from the leader's.
  const lastVerified = request.prevLogIndex + request.entries.length;
  state.commitTo(Math.min(request.leaderCommit, lastVerified));
  state.replyWhenDurable(
    rpc,
    { kind: "appendEntriesReply", term: state.currentTerm, success: true, conflict: null },
    lastVerified,
  );
}

/** What no leader sends, but anyone can write by hand: terms that fall, pass the leader's own, or are absurd. */
function impossible<C>(state: RaftState<C>, request: AppendEntries<C>): string | null {
  const { term, prevLogTerm, entries } = request;
  if (!state.isPlausible(term)) return `term ${term} is far ahead of ${state.currentTerm}`;
  let before = Math.max(1, prevLogTerm);
  for (const entry of entries) {
    if (entry.term < before) return `entry ${entry.index} has term ${entry.term}, below ${before}`;
    before = entry.term;
  }
  return before > Math.max(1, term) ? `it speaks of term ${before}, above its own ${term}` : null;
}

/** Takes note of the sender's term; says why its sender cannot lead this server in it. */
function outranked<C>(state: RaftState<C>, request: AppendEntries<C>): string | null {
  if (request.term < state.currentTerm) return "stale";
  if (request.term > state.currentTerm) state.stepDown(request.term, "higherTerm");
  return state.role.kind === "leader" ? `server ${state.id} leads term ${state.currentTerm} itself` : null;
}

/** Recognises the sender as this term's leader. */
function follow<C>(state: RaftState<C>, { term, leaderId }: AppendEntries<C>): void {
  if (state.role.kind !== "follower") state.stepDown(term, "otherLeader");
  if (state.leaderId !== leaderId) {
    state.role = { kind: "follower", leaderId };
    state.events.push({ kind: "leaderKnown", term, leaderId });
  }
  state.resetElectionTimer();
}

/** Where the request disagrees with what is committed, which no true leader does (Leader Completeness). */
function contradiction<C>(state: RaftState<C>, request: AppendEntries<C>): string | null {
  const { prevLogIndex, prevLogTerm, entries } = request;
  const claimed = [{ index: prevLogIndex, term: prevLogTerm }, ...entries];
  const wrong = claimed.find(
    ({ index, term }) => index <= state.commitIndex && state.log.termAt(index) !== term,
  );
  return wrong === undefined ? null : `committed entry ${wrong.index} does not have term ${wrong.term}`;
}

/** Steps 3 and 4: an entry goes only where it really conflicts, so an old, reordered request takes nothing away. */
function storeEntries<C>(state: RaftState<C>, request: AppendEntries<C>): void {
  const { entries } = request;
  const firstNew = entries.findIndex(({ index, term }) => state.log.termAt(index) !== term);
  if (firstNew < 0) return;
  const from = request.prevLogIndex + 1 + firstNew;
  if (from <= state.log.lastIndex) state.truncate(from);
  state.appendEntries(firstNew === 0 ? entries : entries.slice(firstNew));
}

function conflictAt<C>(state: RaftState<C>, index: number): Conflict {
  const term = state.log.termAt(index);
  if (term === null) return { index: state.log.lastIndex + 1, term: 0 };
  return { index: state.log.firstIndexOfTerm(term), term };
}

function reject<C>(state: RaftState<C>, rpc: RpcId, conflict: Conflict | null): void {
  state.replyWhenDurable(rpc, {
    kind: "appendEntriesReply",
    term: state.currentTerm,
    success: false,
    conflict,
  });
}
