/**
 * Makes the files of a server that waits to be added to a cluster (dissertation §4.2.1). It may have been a
 * member before, and may have lost its disk since; an empty server under its id could vote once more in a term
 * in which the lost one voted, or elect a leader that lacks what it had helped to commit (P9). So:
 *   1. take the server's own port     (the old process is gone, and none starts beside us)
 *   2. find the leader; it confirms with a majority that it leads, and up to which index J all is committed
 *      (ReadIndex); then it tells its term T, that it has committed up to J, and its configuration, which is of J or
 *      before and holds no server of this id
 *   3. create the files with no members, currentTerm = T, votedFor = itself, abstainsTo = J
 *
 * Why that is safe. In T and before, this server votes for nobody else. What a former self may have voted in a
 * term after T helps nobody who has the log up to J: the removal is in it, and such a one counts a server of this
 * id only when it has added it again; it is this one that it adds then. Somebody who lacks a part of that log, as
 * another removed server that has not heard of it, may still count a former self among its voters, and asks this
 * one. It gets no vote: until the log up to J is committed and durable here this server gives none (HardState),
 * and then its log denies it (Raft §5.4.1), as the lost one's would have.
 *
 * The last of step 3 is to create the state file, which is atomic. Before it no server starts.
 */
import { RaftKvError } from "../base/errors.ts";
import type { LogIndex, ServerId } from "../raft/entry.ts";
import { hardStateOfJoiner } from "../raft/hard-state.ts";
import { RpcClient } from "../rpc/rpc-client.ts";
import { RpcServer } from "../rpc/rpc-server.ts";
import type { ServerStatus, WireMember } from "../rpc/wire.ts";
import { createServerStore } from "../storage/server-store.ts";
import type { Newcomer } from "./creation.ts";
import { pause } from "./pause.ts";
import { askStatus } from "./probe.ts";
import { systemClock } from "./system-clock.ts";

/** A cluster that has no leader now has one soon, if a majority of it is there. */
const FIND_LEADER_MS = 10_000;
const ANSWER_TIMEOUT_MS = 1000;
const RETRY_MS = 50;

/** What a leader that is sure of itself says; or why there is none, in words that end "cannot join: …". */
type Answer = View | Absence;

interface View {
  readonly kind: "view";
  readonly leader: ServerStatus;
  /** Up to here everything was committed before the leader told of itself. */
  readonly readIndex: LogIndex;
}

interface Absence {
  readonly kind: "absent";
  readonly why: string;
}

/**
 * Resolves when the server's files are there, durably. `contacts` are addresses of servers of the cluster, any of
 * them. Rejects with RaftKvError: "failedPrecondition" when no leader is found (until `stop` is aborted) or it knows a
 * member of this id, or the server has files; "io" when its port is taken or a file cannot be written; "diskFull".
 */
export async function join(
  newcomer: Newcomer,
  contacts: readonly string[],
  stop: AbortSignal,
): Promise<void> {
  const { fs, stateDirectory, id, hosts, port } = newcomer;
  const claim = new RpcServer();
  await claim.listen(hosts, port);
  try {
    const { leader, readIndex } = await leaderView(newcomer, contacts, stop);
    const { clusterId, members, term } = leader;
    if (members.some((member) => member.id === id)) {
      const how = `remove it first (raftkv member remove ${id}), or replace it (raftkv replace ${id})`;
      throw refusal(id, `cluster ${clusterId} has a member of this id, whose files are not here: ${how}`);
    }
    const identity = { clusterId, serverId: id, members: [] };
    const hardState = hardStateOfJoiner(term, id, readIndex);
    await createServerStore(fs, stateDirectory, identity, { hardState });
  } finally {
    await claim.close();
  }
}

/** Asks until a leader has confirmed that it leads, and has no change of the cluster under way. */
async function leaderView(newcomer: Newcomer, contacts: readonly string[], stop: AbortSignal): Promise<View> {
  const giveUpAt = systemClock.nowMs() + FIND_LEADER_MS;
  for (;;) {
    const view = await askOnce(newcomer, contacts);
    if (view.kind === "view") return view;
    if (stop.aborted || systemClock.nowMs() > giveUpAt) throw refusal(newcomer.id, view.why);
    await pause(systemClock, RETRY_MS);
  }
}

async function askOnce({ id, addresses }: Newcomer, contacts: readonly string[]): Promise<Answer> {
  const answers = await Promise.all(contacts.map((contact) => askStatus(contact, ANSWER_TIMEOUT_MS)));
  const told = answers.flatMap((answer) => (answer instanceof RaftKvError ? [] : [answer]));
  // Who was removed may still be there: it knows of no leader, and perhaps of the latest term.
  const known = told
    .filter(({ members }) => members.length > 0)
    .toSorted((a, b) => Number(leaderOf(b) !== null) - Number(leaderOf(a) !== null) || b.term - a.term);
  const [latest, ...others] = known;
  if (latest === undefined) {
    return absent(`no server of a cluster answers at ${contacts.join(", ")}: start one`);
  }
  if (others.some(({ clusterId }) => clusterId !== latest.clusterId)) {
    throw refusal(id, `${contacts.join(", ")} are of different clusters`);
  }
  const leader = leaderOf(latest);
  if (leader === null) {
    return absent(`cluster ${latest.clusterId} has no leader: start a majority of its servers`);
  }
  return confirm(latest.clusterId, leader.id, addresses.reached(leader));
}

function leaderOf({ members, leaderId }: ServerStatus): WireMember | null {
  return members.find((member) => member.id === leaderId) ?? null;
}

/**
 * The leader tells of its configuration after it was sure to lead, so none of a later term came before. Just elected,
 * it names as J what it has not committed yet, which may still be undone.
 */
async function confirm(clusterId: string, leaderId: ServerId, address: string): Promise<Answer> {
  const client = new RpcClient("KeyValueStore", address);
  try {
    const confirmed = await client.call("ReadIndex", { clusterId }, ANSWER_TIMEOUT_MS);
    const leader = await client.call("Status", {}, ANSWER_TIMEOUT_MS);
    if (confirmed.code !== "OK" || leader.id !== leaderId || leader.role !== "leader") {
      return absent(`the leader, server ${leaderId} at ${address}, is not sure to lead`);
    }
    const { index: readIndex } = confirmed;
    if (leader.commitIndex < readIndex) {
      return absent(
        `the leader, server ${leaderId} at ${address}, has just been elected and commits nothing yet`,
      );
    }
    if (leader.configurationIndex <= readIndex) return { kind: "view", leader, readIndex };
    return absent("another change of the cluster is under way");
  } catch (error) {
    if (!(error instanceof RaftKvError)) throw error;
    return absent(`the leader, server ${leaderId}, does not answer at ${address}`);
  } finally {
    client.close();
  }
}

function absent(why: string): Absence {
  return { kind: "absent", why };
}

function refusal(id: ServerId, why: string): RaftKvError {
  return new RaftKvError("failedPrecondition", `server ${id} cannot join: ${why}`);
}
