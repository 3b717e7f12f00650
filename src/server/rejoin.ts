/**
 * Makes a server anew whose disk was lost or is not to be trusted, in a cluster that goes on (P9).
 *
 * It has forgotten whom it voted for, and entries that it helped to commit. An empty server under its id
 * could vote once more in the same term, or elect a leader that lacks those entries. So:
 *   1. take the server's own port     (the old process is gone, and none starts beside us)
 *   2. ask every other server for its currentTerm and its configuration; all of them must answer and vote, and
 *      go by the same configuration; M is the highest term
 *   3. create the files with that configuration, currentTerm = M + 1, votedFor = itself, abstainsThrough = M
 *
 * A candidate saves its term before it asks for votes, so the lost server neither gave nor got a vote of
 * another in a term after M. The one made anew gives none either, until it holds a committed entry of such a
 * term (HardState). So the leader of such a term is elected by others alone. They are a majority, so that one
 * of them has any entry that was ever committed; the leader then has them all (Raft §5.4.1), and gives them
 * back. In term M + 1 it refuses the leader of today, who steps down: such a leader comes soon.
 *
 * One at a time: were another server still to get back what it had forgotten, a majority could be left of
 * servers that have forgotten. Two of three that abstain could not even elect a leader to get it from.
 *
 * The last of step 3 is to create the state file, which is atomic. Before it no server starts; a log without
 * entries may be left, which is in the way of doing all of this again until `raftkv replace` sets it aside.
 * After it the server is started with what is on disk, as any other.
 */
import { RaftKvError } from "../base/errors.ts";
import { isSameConfiguration, memberOf, type Configuration, type Member } from "../raft/configuration.ts";
import type { ServerId } from "../raft/entry.ts";
import { hardStateAfterLoss } from "../raft/hard-state.ts";
import { RpcServer } from "../rpc/rpc-server.ts";
import type { ServerStatus } from "../rpc/wire.ts";
import { createServerStore } from "../storage/server-store.ts";
import type { Newcomer } from "./creation.ts";
import { probe } from "./probe.ts";

/** The cluster that goes on. */
export interface Rejoined {
  readonly clusterId: string;
  /** Who votes today, and the lost server. */
  readonly members: Configuration;
}

/** With fewer voters no majority is sure to be left without the lost one. */
const MIN_VOTERS = 3;
const ANSWER_TIMEOUT_MS = 5000;

/**
 * Resolves when the server's files are there, durably. Rejects with RaftKvError: "failedPrecondition"
 * when the cluster is too small, another server does not answer, abstains or is not of the cluster, a
 * change of the cluster is under way, or the server has files; "io" when its port is taken or a file cannot be written; "diskFull".
 */
export async function rejoin(newcomer: Newcomer, { clusterId, members }: Rejoined): Promise<void> {
  const { fs, stateDirectory, id, hosts, port } = newcomer;
  checkCount(id, members.length);
  const claim = new RpcServer();
  await claim.listen(hosts, port);
  try {
    const others = members.filter((member) => member.id !== id);
    const answers = await Promise.all(others.map((member) => ask(newcomer, clusterId, member)));
    const configuration = configurationOf(newcomer, answers);
    checkVoters(id, configuration, members);
    const hardState = hardStateAfterLoss(Math.max(...answers.map(({ term }) => term)), id);
    const membersFrom = Math.max(...answers.map(({ configurationIndex }) => configurationIndex));
    const since = membersFrom === 0 ? {} : { membersFrom };
    const identity = { clusterId, serverId: id, members: configuration, ...since };
    await createServerStore(fs, stateDirectory, identity, { hardState });
  } finally {
    await claim.close();
  }
}

async function ask({ id, addresses }: Newcomer, clusterId: string, other: Member): Promise<ServerStatus> {
  const address = addresses.reached(other);
  const found = await probe(address, other.id, clusterId, ANSWER_TIMEOUT_MS);
  switch (found.kind) {
    case "answered":
      if (!found.status.abstains) return found.status;
      throw refusal(id, `server ${other.id} was replaced and has not caught up yet: wait, then try again`);
    case "other":
      throw refusal(
        id,
        `at ${address} there is ${found.who}, not server ${other.id} of cluster ${clusterId}`,
      );
    case "silent": {
      const why = `server ${other.id} at ${address} does not answer; every other server must: start it`;
      throw refusal(id, why, found.error);
    }
  }
}

/**
 * What all of them go by. Every other voter has it in its log, or was created with it, so that it cannot be undone;
 * older ones, which come with the log, matter no more, for the server abstains until it has caught up.
 */
function configurationOf({ id, addresses }: Newcomer, answers: readonly ServerStatus[]): Configuration {
  const [configuration = [], ...others] = answers.map(({ members }) => members);
  if (others.every((other) => isSameConfiguration(configuration, other))) {
    return configuration.map((member) => {
      return { id: member.id, address: addresses.written(member), voter: member.voter };
    });
  }
  throw refusal(
    id,
    "the others do not agree on who belongs to the cluster: a change is under way; try again",
  );
}

/** Those who were asked must be all who vote, and the server itself one whose place is still there. */
function checkVoters(id: ServerId, configuration: Configuration, named: Configuration): void {
  const voters = configuration.filter(({ voter }) => voter);
  const missing = voters.find((voter) => memberOf(named, voter.id) === null);
  if (missing !== undefined) throw refusal(id, `server ${missing.id} votes too: name it in --peers`);
  if (memberOf(configuration, id) === null) {
    throw refusal(id, `it is no member: start it with --join, and add it (raftkv member add ${id})`);
  }
  checkCount(id, voters.length);
}

function checkCount(id: ServerId, voters: number): void {
  if (voters >= MIN_VOTERS) return;
  throw refusal(id, `in a cluster of ${voters} nobody else is sure to have what it had`);
}

function refusal(id: ServerId, why: string, cause?: unknown): RaftKvError {
  return new RaftKvError("failedPrecondition", `server ${id} cannot rejoin: ${why}`, { cause });
}
