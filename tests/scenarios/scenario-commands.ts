import type { ChangeRefusal, Configuration, ConfigurationChange } from "../../src/raft/configuration.ts";
import type { ServerId } from "../../src/raft/entry.ts";
import type { Request } from "../../src/raft/message.ts";
import type { RaftOptions } from "../../src/raft/options.ts";
import type { RaftStatus } from "../../src/raft/raft.ts";
import { ORIGIN, type SnapshotPosition } from "../../src/raft/snapshot-position.ts";
import type { Message } from "../raft/cluster.ts";
import {
  EntryMaker,
  entriesOf,
  fail,
  idsOf,
  type Link,
  linkOf,
  numberOf,
  positionOf,
  ScenarioArguments,
} from "./scenario-arguments.ts";
import { DEFAULT_TIMEOUT_TICKS, ScenarioCluster, type ScenarioSpec } from "./scenario-cluster.ts";
import { groupedLines, type LogRow, logTable, messageText, statusText } from "./scenario-text.ts";

/** The clusters and commands of one script; scenario.ts says what each of them means. */
export class ScenarioCommands {
  #spec: { size: number; timeouts: readonly number[]; options: Partial<RaftOptions> } | null = null;
  readonly #given: ScenarioSpec["servers"][number][] = [];
  #cluster: ScenarioCluster | null = null;
  readonly #entries = new EntryMaker();

  /** Runs the commands of one line, each a name and its arguments; returns what the line shows. */
  runLine(line: readonly (readonly string[])[]): readonly string[] {
    const commands = line.map(([name = "", ...words]) => ({ name, args: new ScenarioArguments(words) }));
    if (commands.every(({ name }) => name === "cluster" || name === "given")) {
      for (const { name, args } of commands) this.#setUp(name, args);
      return [];
    }
    const cluster = this.#started();
    const before = statuses(cluster);
    const shown = commands.flatMap(({ name, args }) => {
      const command = COMMANDS[name] ?? fail(`there is no command "${name}"`);
      const lines = command(cluster, args, this.#entries) ?? [];
      args.end();
      return lines;
    });
    const changed = new Map([...statuses(cluster)].filter(([id, text]) => before.get(id) !== text));
    return [...cluster.takeNotes(), ...groupedLines(changed), ...shown];
  }

  #setUp(name: string, args: ScenarioArguments): void {
    if (this.#cluster !== null) fail("a cluster is described once, before anything happens");
    if (name === "cluster") this.#describeCluster(args);
    else this.#describeServers(args);
    args.end();
  }

  #describeCluster(args: ScenarioArguments): void {
    const size = numberOf(args.word("the number of servers"));
    const timeouts = args.named("timeouts");
    const limits = {
      maxBatchEntries: args.named("batch"),
      maxBatchBytes: args.named("bytes"),
      maxInflight: args.named("window"),
    };
    const options = Object.fromEntries(
      Object.entries(limits).flatMap(([key, text]) => (text === null ? [] : [[key, numberOf(text)]])),
    );
    this.#spec = {
      size,
      timeouts:
        timeouts === null ? Array.from({ length: size }, () => DEFAULT_TIMEOUT_TICKS) : idsOf(timeouts),
      options,
    };
  }

  #describeServers(args: ScenarioArguments): void {
    const [log, term, vote] = [args.named("log"), args.named("term"), args.named("vote")];
    const snapshot = args.named("snapshot");
    const base = snapshot === null ? ORIGIN : snapshotOf(snapshot);
    for (const id of idsOf(args.word("the servers"))) {
      this.#given[id] = {
        base,
        ...(log === null ? {} : { log: this.#entries.entriesAfter(base.index, entriesOf(log)) }),
        ...(term === null ? {} : { term: numberOf(term) }),
        ...(vote === null ? {} : { votedFor: numberOf(vote) }),
      };
    }
  }

  #started(): ScenarioCluster {
    const spec = this.#spec ?? fail('a scenario begins with "cluster"');
    this.#cluster ??= new ScenarioCluster({ ...spec, servers: this.#given });
    return this.#cluster;
  }
}

/** Does something; what it returns is shown after the changes. */
type Command = (
  cluster: ScenarioCluster,
  args: ScenarioArguments,
  entries: EntryMaker,
) => readonly string[] | void;

const COMMANDS: Readonly<Record<string, Command>> = {
  tick(cluster, args) {
    const who = idsOrAll(cluster, args.word("who ticks"));
    const ticks = numberOf(args.optional() ?? "1");
    for (let i = 0; i < ticks; i += 1) for (const id of who) if (cluster.isUp(id)) cluster.tick(id);
  },
  run(cluster, args) {
    cluster.run(numberOf(args.word("the ticks")));
  },
  elect(cluster, args) {
    const id = idOf(args);
    if (args.optional() === "by") cluster.standForElection(id, idsOf(args.word("the voters")));
    else cluster.standForElection(id, othersThan(cluster, [id]));
  },
  timeout(cluster, args) {
    cluster.setTimeout(idOf(args), numberOf(args.word("the ticks")));
  },
  propose(cluster, args) {
    const id = idOf(args);
    const { role, leaderId, diskFull } = cluster.server(id).status;
    const accepted = cluster.propose(id, ...args.rest());
    if (role !== "leader") return [doesNotLead(id, leaderId)];
    return accepted ? [] : [`${id} takes nothing: ${diskFull ? "its disk is full" : "it makes way"}`];
  },
  join(cluster, args) {
    const leader = cluster.leader ?? fail("nobody leads a cluster that it could join");
    cluster.join(idOf(args), leader);
  },
  change(cluster, args) {
    const id = idOf(args);
    const result = cluster.change(id, changeOf(args));
    if (result.kind === "accepted") return [];
    if (result.kind === "notLeader") return [doesNotLead(id, result.leaderId)];
    return [`${id} refuses: ${result.kind === "refused" ? REFUSALS[result.why] : "its disk is full"}`];
  },
  transfer(cluster, args) {
    const id = idOf(args);
    const to = args.named("to");
    const result = cluster.transfer(id, to === null ? null : numberOf(to));
    if (result.kind === "accepted") return [];
    if (result.kind === "notLeader") return [doesNotLead(id, result.leaderId)];
    return [`${id} refuses: ${result.why}`];
  },
  read(cluster, args) {
    const id = idOf(args);
    const { leaderId } = cluster.server(id).status;
    return cluster.read(id) === null ? [doesNotLead(id, leaderId)] : [];
  },
  deliver(cluster, args) {
    for (const message of selected(cluster, args)) cluster.deliver(message);
  },
  drop(cluster, args) {
    for (const message of selected(cluster, args)) cluster.lose(message);
  },
  copy(cluster, args) {
    for (const message of selected(cluster, args)) cluster.duplicate(message);
  },
  settle(cluster, args) {
    const ids = args.optional();
    cluster.settleAmong(ids === null ? everyone(cluster) : idsOf(ids));
  },
  cut(cluster, args) {
    const text = args.word("what to cut");
    const [left, right] = text.split("|");
    if (left !== undefined && right !== undefined) {
      cluster.cutLinks(idsOf(left), idsOf(right));
      cluster.cutLinks(idsOf(right), idsOf(left));
    } else {
      const { froms, tos } = linkOf(text);
      cluster.cutLinks(sideOf(cluster, froms), sideOf(cluster, tos));
    }
  },
  heal(cluster) {
    cluster.healLinks();
  },
  ask(cluster, args, entries) {
    const id = idOf(args);
    cluster.ask(id, requestOf(args, entries, cluster.server(id).status.configuration));
  },
  "hold-disk"(cluster, args) {
    for (const id of idsOrAll(cluster, args.word("whose disk"))) cluster.holdDisk(id);
  },
  "free-disk"(cluster, args) {
    for (const id of idsOrAll(cluster, args.word("whose disk"))) cluster.freeDisk(id);
  },
  persist(cluster, args) {
    const id = idOf(args);
    if (cluster.server(id).disk.pendingCount === 0) fail(`nothing waits for the disk of ${id}`);
    cluster.persist(id, numberOf(args.optional() ?? "1"));
  },
  crash(cluster, args) {
    const keep = numberOf(args.named("keep") ?? "0");
    for (const id of idsOf(args.word("who crashes"))) cluster.crashKeeping(id, keep);
  },
  compact(cluster, args) {
    const id = idOf(args);
    const through = args.named("through");
    const snapshotIndex = cluster.server(id).appliedIndex;
    const done = cluster.compact(id, through === null ? snapshotIndex : numberOf(through));
    return done ? [] : [`${id} has a snapshot as new as ${snapshotIndex}`];
  },
  "fill-disk"(cluster, args) {
    for (const id of idsOrAll(cluster, args.word("whose disk"))) cluster.fillDisk(id);
  },
  "make-room"(cluster, args) {
    for (const id of idsOrAll(cluster, args.word("whose disk"))) cluster.makeRoom(id);
  },
  "replace-disk"(cluster, args) {
    const id = idOf(args);
    return [`${id} is made anew, and abstains through term ${cluster.replaceDisk(id)}`];
  },
  restart(cluster, args) {
    for (const id of idsOf(args.word("who starts again"))) cluster.restart(id);
  },
  trace(cluster, args) {
    cluster.tracing = args.word("on or off") === "on";
  },
  status(cluster, args) {
    const ids = idsOrAll(cluster, args.optional() ?? "all");
    return groupedLines(new Map([...statuses(cluster)].filter(([id]) => ids.includes(id))));
  },
  log(cluster, args) {
    const ids = idsOrAll(cluster, args.optional() ?? "all");
    return logTable(ids.map((id) => logRow(cluster, id)));
  },
  disk(cluster, args) {
    return idsOrAll(cluster, args.optional() ?? "all").map((id) => {
      const { hardState, base, lastIndex, snapshot, pendingCount } = cluster.server(id).disk;
      const vote = hardState.votedFor === null ? "no vote" : `vote ${hardState.votedFor}`;
      const range = base.index === 0 ? `${lastIndex}` : `${lastIndex} from ${base.index + 1} on`;
      return [
        `${id}: term ${hardState.currentTerm}, ${vote}, log ${range}`,
        ...(snapshot.index === 0 ? [] : [`snapshot ${snapshot.index}`]),
        ...(hardState.abstainsThrough === 0 ? [] : [`abstains through ${hardState.abstainsThrough}`]),
        ...(hardState.abstainsTo === undefined ? [] : [`abstains up to entry ${hardState.abstainsTo}`]),
        ...(pendingCount === 0 ? [] : [`${pendingCount} more to write`]),
      ].join(", ");
    });
  },
  network(cluster, args) {
    const counts = new Map<string, number>();
    if (cluster.messages.length === 0) return ["nothing is under way"];
    return selected(cluster, args).map((message) => {
      const link = `${message.from}->${message.to}`;
      const nth = (counts.get(link) ?? 0) + 1;
      counts.set(link, nth);
      return `${link}:${nth} ${messageText(message)}`;
    });
  },
};

const REFUSALS: Readonly<Record<ChangeRefusal, string>> = {
  notReady: "its no-op is not committed",
  underWay: "a change is under way",
  transferring: "it makes way",
  member: "it is a member",
  addressTaken: "another member has that address",
  tooMany: "there are as many members as may be",
  unknownMember: "it is no member",
  voter: "it votes already",
  notCaughtUp: "it has not caught up",
  lastVoter: "nobody would be left to vote",
  noQuorum: "no majority would be there",
};

function doesNotLead(id: ServerId, leaderId: ServerId | null): string {
  return `${id} does not lead; ${leaderId === null ? "it knows no leader" : `${leaderId} does`}`;
}

/** `add=N [at=ADDRESS]`, `promote=N`, `remove=N` */
function changeOf(args: ScenarioArguments): ConfigurationChange {
  const added = args.named("add");
  if (added !== null) return { kind: "add", id: numberOf(added), address: args.named("at") ?? "" };
  const promoted = args.named("promote");
  if (promoted !== null) return { kind: "promote", id: numberOf(promoted) };
  return {
    kind: "remove",
    id: numberOf(args.named("remove") ?? fail("add=, promote= or remove= is missing")),
  };
}

function idOf(args: ScenarioArguments): ServerId {
  return numberOf(args.word("a server"));
}

function everyone(cluster: ScenarioCluster): readonly ServerId[] {
  return cluster.servers.map(({ id }) => id);
}

function idsOrAll(cluster: ScenarioCluster, text: string): readonly ServerId[] {
  return text === "all" ? everyone(cluster) : idsOf(text);
}

function othersThan(cluster: ScenarioCluster, ids: readonly ServerId[]): readonly ServerId[] {
  return everyone(cluster).filter((id) => !ids.includes(id));
}

function sideOf(cluster: ScenarioCluster, side: Link["froms"]): readonly ServerId[] {
  return side === "all" ? everyone(cluster) : side;
}

/** What is under way on the links that the rest of the line names (all, without any), oldest first. */
function selected(cluster: ScenarioCluster, args: ScenarioArguments): readonly Message[] {
  const words = args.rest();
  if (words.length === 0) return [...cluster.messages];
  const chosen = words.map(linkOf).flatMap(({ froms, tos, nth }) => {
    const on = cluster.messages.filter(
      ({ from, to }) => (froms === "all" || froms.includes(from)) && (tos === "all" || tos.includes(to)),
    );
    const found = nth === null ? on : on.slice(nth - 1, nth);
    return found.length > 0 ? found : fail("nothing is under way there");
  });
  return [...new Set(chosen)];
}

function requestOf(
  args: ScenarioArguments,
  entries: EntryMaker,
  configuration: Configuration,
): Request<string> {
  const kind = args.word("vote, pre-vote, append, snapshot or timeout-now");
  const from = numberOf(args.named("from") ?? fail("from= is missing"));
  const term = numberOf(args.named("term") ?? fail("term= is missing"));
  if (kind === "append") {
    const [prevLogIndex, prevLogTerm] = positionOf(args.named("after") ?? "0(0)");
    const written = args.named("entries");
    return {
      kind: "appendEntries",
      term,
      leaderId: from,
      prevLogIndex,
      prevLogTerm,
      entries: written === null ? [] : entries.entriesAfter(prevLogIndex, entriesOf(written)),
      leaderCommit: numberOf(args.named("commit") ?? "0"),
      round: 0,
    };
  }
  if (kind === "snapshot") {
    const snapshot = snapshotOf(args.named("upto") ?? fail("upto= is missing"));
    return { kind: "installSnapshot", term, leaderId: from, snapshot, configuration };
  }
  if (kind === "timeout-now") return { kind: "timeoutNow", term, leaderId: from };
  if (kind !== "vote" && kind !== "pre-vote") fail(`nobody can be asked "${kind}"`);
  const [lastLogIndex, lastLogTerm] = positionOf(args.named("last") ?? "0(0)");
  return {
    kind: "requestVote",
    term,
    candidateId: from,
    lastLogIndex,
    lastLogTerm,
    preVote: kind === "pre-vote",
  };
}

function snapshotOf(text: string): SnapshotPosition {
  const [index, term] = positionOf(text);
  return { index, term };
}

function statuses(cluster: ScenarioCluster): ReadonlyMap<ServerId, string> {
  const statusOf = (id: ServerId): RaftStatus | null => (cluster.isUp(id) ? cluster.server(id).status : null);
  return new Map(everyone(cluster).map((id) => [id, statusText(statusOf(id), cluster.created)]));
}

function logRow(cluster: ScenarioCluster, id: ServerId): LogRow {
  const { status, log, disk } = cluster.server(id);
  const isUp = cluster.isUp(id);
  if (!isUp) {
    const { base, entries, lastIndex } = disk;
    return { id, isUp, baseIndex: base.index, entries, durableIndex: lastIndex, commitIndex: 0 };
  }
  const { firstLogIndex, durableIndex, commitIndex } = status;
  return { id, isUp, baseIndex: firstLogIndex - 1, entries: log, durableIndex, commitIndex };
}
