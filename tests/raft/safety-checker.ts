import { assert } from "../../src/base/assert.ts";
import type { Entry, ServerId, Term } from "../../src/raft/entry.ts";
import { votersOf } from "../../src/raft/configuration.ts";
import { majority } from "../../src/raft/quorum.ts";
import type { TestServer } from "./harness.ts";

/** What every log that holds an entry of this index and term must agree on. */
interface Known {
  readonly command: string;
  readonly previousTerm: Term;
}

interface Committed {
  readonly entry: Entry<string>;
  /** Some server knew it to be committed in this term; so every leader of a later one has it. */
  readonly knownInTerm: Term;
}

/**
 * What must hold between servers at every moment (Raft figure 3), checked after each step. It remembers
 * everything that ever was, so a violation shows even when the server that did it has crashed since.
 */
export class SafetyChecker {
  readonly committed: Committed[] = [];
  readonly #leaders = new Map<Term, ServerId>();
  readonly #known = new Map<string, Known>();
  readonly #votes = new Map<string, ServerId>();
  readonly #logsSeen = new Map<ServerId, string>();
  readonly #handedOut = new Map<ServerId, number>();

  /** Terms that had a leader. */
  get leaderCount(): number {
    return this.#leaders.size;
  }

  /** `changed` has just done something; all servers, also those that are down, are in `servers`. */
  check(changed: TestServer, servers: readonly TestServer[]): void {
    this.#checkElectionSafety(changed);
    this.#checkVote(changed);
    this.#checkLogMatching(changed);
    this.#checkStateMachineSafety(changed, servers);
    this.#checkOpenChanges(changed);
    for (const server of servers) this.#checkLeaderCompleteness(server);
  }

  /** A server starts over: it hands out the log from its snapshot on again. */
  restarted(id: ServerId): void {
    this.#handedOut.delete(id);
    this.#logsSeen.delete(id);
  }

  /** It is another server than the one that voted under its id before, and was removed. */
  joined(id: ServerId, term: Term): void {
    this.restarted(id);
    this.#votes.delete(`${id} in ${term}`);
  }

  /** Election Safety: at most one leader can be elected in a given term. */
  #checkElectionSafety({ id, status }: TestServer): void {
    if (status.role !== "leader") return;
    const leader = this.#leaders.get(status.currentTerm) ?? id;
    assert(leader === id, `${leader} and ${id} both lead term ${status.currentTerm}`);
    this.#leaders.set(status.currentTerm, id);
  }

  /** One durable vote a term, whatever restarts lie in between. */
  #checkVote({ id, disk }: TestServer): void {
    const { currentTerm, votedFor } = disk.hardState;
    if (votedFor === null) return;
    const key = `${id} in ${currentTerm}`;
    const before = this.#votes.get(key) ?? votedFor;
    assert(before === votedFor, `server ${key} voted for ${before} and for ${votedFor}`);
    this.#votes.set(key, votedFor);
  }

  /** Log Matching, by induction: same index and term, then same command and same term before it. */
  #checkLogMatching(server: TestServer): void {
    const { log, status } = server;
    const seen = `${status.firstLogIndex} ${log.length} ${log.at(-1)?.term}`;
    if (this.#logsSeen.get(server.id) === seen) return;
    this.#logsSeen.set(server.id, seen);
    this.#checkChanges(server);
    let previousTerm = server.termAt(status.firstLogIndex - 1) ?? 0;
    for (const entry of log) {
      const { index, term } = entry;
      const command = textOf(entry);
      const key = `${index} of term ${term}`;
      const known = this.#known.get(key);
      const agrees =
        known === undefined || (known.command === command && known.previousTerm === previousTerm);
      assert(agrees, `server ${server.id} has another entry ${key}, or another one before it`);
      if (known === undefined) this.#known.set(key, { command, previousTerm });
      previousTerm = term;
    }
  }

  /** State Machine Safety: no two servers apply different entries at the same index. */
  #checkStateMachineSafety(server: TestServer, servers: readonly TestServer[]): void {
    const from = this.#handedOut.get(server.id) ?? 0;
    for (const entry of server.committed.slice(from)) {
      const known = this.committed[entry.index - 1];
      if (known === undefined) this.#commit(entry, server, servers);
      else assert(isSame(known.entry, entry), `server ${server.id} applies another entry ${entry.index}`);
    }
    this.#handedOut.set(server.id, server.committed.length);
    this.#checkSnapshot(server);
  }

  /** A snapshot stands for a part of what is committed, and for nothing else. */
  #checkSnapshot(server: TestServer): void {
    const { id, status, appliedIndex } = server;
    const { snapshotIndex } = status;
    assert(snapshotIndex <= appliedIndex, `server ${id} has a snapshot of what it has not applied`);
    const term = this.committed[snapshotIndex - 1]?.entry.term ?? 0;
    const known = server.termAt(snapshotIndex);
    assert(known === term, `server ${id} has a snapshot at ${snapshotIndex} of term ${known}, not ${term}`);
  }

  #commit(entry: Entry<string>, server: TestServer, servers: readonly TestServer[]): void {
    assert(entry.index === this.committed.length + 1, `entry ${entry.index} is committed before its turn`);
    // A lost disk held what it acknowledged, and its server has no say until others have given it all again.
    const voters = votersOf(server.status.configuration);
    const durable = servers.filter(
      ({ id, disk }) =>
        voters.includes(id) &&
        (disk.hardState.abstainsThrough > 0 ||
          entry.index <= disk.snapshot.index ||
          isSame(disk.entryAt(entry.index), entry)),
    );
    assert(
      durable.length >= majority(voters.length),
      `server ${server.id} commits entry ${entry.index}, which is durable on ${durable.length} servers`,
    );
    this.committed.push({ entry, knownInTerm: server.status.currentTerm });
  }

  /** One server at a time (dissertation §4.1): configurations that follow each other differ in one vote at most. */
  #checkChanges({ id, log }: TestServer): void {
    let before: readonly ServerId[] | null = null;
    for (const { index, payload } of log) {
      if (payload.kind !== "configuration") continue;
      const voters = votersOf(payload.configuration);
      const known = before ?? voters;
      const differing = [
        ...voters.filter((voter) => !known.includes(voter)),
        ...known.filter((voter) => !voters.includes(voter)),
      ];
      assert(
        differing.length <= 1,
        `configuration ${index} of server ${id} changes ${differing.length} votes`,
      );
      before = voters;
    }
  }

  /** A leader that has committed its no-op has one change under way at most (M1, M2). */
  #checkOpenChanges({ id, status, log }: TestServer): void {
    const { role, commitIndex, noopIndex, configurationIndex } = status;
    if (role !== "leader" || commitIndex < (noopIndex ?? Infinity) || configurationIndex <= commitIndex)
      return;
    const open = log.filter(({ index, payload }) => index > commitIndex && payload.kind === "configuration");
    assert(open.length <= 1, `leader ${id} has ${open.length} changes under way`);
  }

  /** Leader Completeness: what is committed in a term is in the logs of all later leaders. */
  #checkLeaderCompleteness({ id, status, log }: TestServer): void {
    if (status.role !== "leader") return;
    const { firstLogIndex, currentTerm } = status;
    for (const { entry, knownInTerm } of this.committed.slice(firstLogIndex - 1)) {
      const has = knownInTerm >= currentTerm || isSame(log[entry.index - firstLogIndex], entry);
      assert(has, `leader ${id} of term ${status.currentTerm} lacks committed entry ${entry.index}`);
    }
  }
}

function textOf({ payload }: Entry<string>): string {
  if (payload.kind === "command") return payload.command;
  return payload.kind === "noop" ? "-" : JSON.stringify(payload.configuration);
}

function isSame(a: Entry<string> | null | undefined, b: Entry<string>): boolean {
  return a?.term === b.term && textOf(a) === textOf(b);
}
