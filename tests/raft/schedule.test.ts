/**
 * Random schedules: each seed gives one interleaving of ticks, deliveries, losses, duplicates, crashes in
 * the middle of a write, restarts and cut links, snapshots, full and lost disks, changes of the configuration,
 * transfers and reads, with every check after every step; then all is healed and the cluster must agree. A failure names its seed: run that one with `runSchedule`.
 */
import { expect, test } from "bun:test";
import { assert } from "../../src/base/assert.ts";
import { memberOf, votersOf } from "../../src/raft/configuration.ts";
import type { Request } from "../../src/raft/message.ts";
import { hasMajority } from "../../src/raft/quorum.ts";
import type { ServerId } from "../../src/raft/entry.ts";
import { Cluster, type Message } from "./cluster.ts";
import type { TestServer } from "./harness.ts";

const ELECTION_TIMEOUT_MAX_TICKS = 8;
const STEPS_PER_SERVER = 400;
/** Those that come and go included. */
const MAX_SERVERS = 6;

const OPTIONS = {
  electionTimeoutMinTicks: 4,
  electionTimeoutMaxTicks: ELECTION_TIMEOUT_MAX_TICKS,
  heartbeatTicks: 2,
  maxBatchEntries: 3,
  maxBatchBytes: 500,
  maxInflight: 2,
  maxCommittedPerBatch: 4,
};

/** One kind of thing that happens, and how often it does, relative to the others. */
type Step = readonly [weight: number, take: (cluster: Cluster, number: number) => void];

function withServer(take: (cluster: Cluster, server: TestServer, number: number) => void): Step[1] {
  return (cluster, number) => {
    const server = cluster.random.pick(cluster.up);
    if (server !== null) take(cluster, server, number);
  };
}

function withMessage(take: (cluster: Cluster, message: Message) => void): Step[1] {
  return (cluster) => {
    const message = cluster.random.pick(cluster.messages);
    if (message !== null) take(cluster, message);
  };
}

/** The message, and sometimes others that arrive at the same server in the same turn. */
function deliverSome(cluster: Cluster, message: Message): void {
  const others = cluster.messages.filter((other) => other !== message && other.to === message.to);
  const count = cluster.random.chance(0.3) ? cluster.random.int(1, 4) : 0;
  cluster.deliver(message, ...others.slice(0, count));
}

function propose(cluster: Cluster, server: TestServer, number: number): void {
  const leader = cluster.random.chance(0.8) ? (cluster.leader ?? server) : server;
  const count = cluster.random.int(1, 3);
  cluster.propose(leader.id, ...Array.from({ length: count }, (_, i) => `${number}.${i}`));
}

function crashOrRestart(cluster: Cluster, server: TestServer): void {
  const down = cluster.random.pick(cluster.down);
  if (down !== null && cluster.random.chance(0.7)) cluster.restart(down.id);
  else cluster.crash(server.id);
}

/** Some entries are kept behind the snapshot, or none; sometimes the snapshot is done late, or is no news. */
function takeSnapshot(cluster: Cluster, { id, appliedIndex }: TestServer): void {
  if (appliedIndex === 0) return;
  const index = Math.max(1, appliedIndex - cluster.random.int(0, 3));
  cluster.compact(id, index - cluster.random.int(0, 4), index);
}

function fillDiskOrMakeRoom(cluster: Cluster, { id, disk }: TestServer): void {
  if (disk.full) cluster.makeRoom(id);
  else if (cluster.random.chance(0.3)) cluster.fillDisk(id);
}

/**
 * One at a time, and of no fewer than three voters: what a server abstains for is on the others' disks. That it was
 * away is noticed by all, and a change that it made has arrived by then, or never does.
 */
function loseDisk(cluster: Cluster, { id }: TestServer): void {
  if (cluster.servers.some(({ disk }) => disk.hardState.abstainsThrough > 0)) return;
  const configuration = cluster.configurationWithout(id);
  if (configuration === null || votersOf(configuration).length < 3) return;
  cluster.crash(id);
  cluster.messages = cluster.messages.filter(({ call }) => call.from !== id || !carriesChange(call.request));
  for (const server of cluster.up) cluster.tick(server.id, ELECTION_TIMEOUT_MAX_TICKS);
  if (cluster.configurationWithout(id) === null) return;
  cluster.replaceDisk(id);
  cluster.restart(id);
}

function carriesChange(request: Request<string>): boolean {
  if (request.kind !== "appendEntries") return false;
  return request.entries.some(({ payload }) => payload.kind === "configuration");
}

function changeLinks(cluster: Cluster, server: TestServer): void {
  const { random, servers } = cluster;
  if (random.chance(0.6)) return cluster.healLinks();
  if (random.chance(0.4))
    return cluster.partition(servers.map(({ id }) => id).filter(() => random.chance(0.5)));
  const peer: ServerId = random.int(0, servers.length - 1);
  return cluster.cut(server.id, peer);
}

/** Any change at all, sensible or not, mostly asked of the leader. */
function changeMembers(cluster: Cluster, server: TestServer): void {
  const { random, servers } = cluster;
  const leader = random.chance(0.8) ? (cluster.leader ?? server) : server;
  const { configuration } = leader.status;
  const waiting = servers.filter(({ id }) => memberOf(configuration, id) === null);
  const nonVoters = configuration.filter(({ voter }) => !voter);
  const added = random.pick(waiting);
  const promoted = random.pick(nonVoters);
  if (promoted !== null && random.chance(0.6))
    cluster.change(leader.id, { kind: "promote", id: promoted.id });
  else if (added !== null && random.chance(0.7)) {
    cluster.change(leader.id, { kind: "add", id: added.id, address: "" });
  } else {
    const removed = random.pick(servers);
    if (removed !== null) cluster.change(leader.id, { kind: "remove", id: removed.id });
  }
}

/**
 * A new server waits to be added, or one that was removed, with nothing of what it had. It begins in the term of a
 * leader that has committed its removal, and that is no leader of the past.
 */
function join(cluster: Cluster): void {
  const { servers, leader, random } = cluster;
  if (leader === null) return;
  const { configuration, configurationIndex, commitIndex, noopIndex, currentTerm } = leader.status;
  const present = servers.filter(({ status }) => status.currentTerm <= currentTerm).map(({ id }) => id);
  if (!hasMajority(votersOf(configuration), new Set(present))) return;
  if (configurationIndex > commitIndex || commitIndex < (noopIndex ?? Infinity)) return;
  const removed = servers.filter(({ id }) => memberOf(configuration, id) === null);
  const id = random.pick(removed)?.id ?? servers.length;
  if (id < MAX_SERVERS) cluster.join(id, leader);
}

function transfer(cluster: Cluster, server: TestServer): void {
  const { random, servers } = cluster;
  const to = random.chance(0.5) ? null : random.int(0, servers.length - 1);
  cluster.transfer((cluster.leader ?? server).id, to);
}

const steps: readonly Step[] = [
  [30, withServer((cluster, { id }) => cluster.tick(id))],
  [45, withMessage(deliverSome)],
  [
    12,
    withServer((cluster, { id, disk }) => disk.canComplete && cluster.persist(id, cluster.random.int(1, 2))),
  ],
  [5, withServer(propose)],
  [2, withMessage((cluster, message) => cluster.lose(message))],
  [2, withMessage((cluster, message) => cluster.duplicate(message))],
  [1, withMessage((cluster, message) => cluster.expire(message))],
  [1.5, withServer(crashOrRestart)],
  [1.5, withServer(changeLinks)],
  [2, withServer(takeSnapshot)],
  [1, withServer(fillDiskOrMakeRoom)],
  [0.2, withServer(loseDisk)],
  [1.5, (cluster) => cluster.run(cluster.random.int(1, 5))],
  [5, withServer(changeMembers)],
  [1, join],
  [0.5, withServer(transfer)],
  [6, withServer((cluster, { id }) => cluster.read(id))],
];
const totalWeight = steps.reduce((sum, [weight]) => sum + weight, 0);

function pickStep(cluster: Cluster): Step[1] {
  let left = cluster.random.fraction() * totalWeight;
  for (const [weight, take] of steps) {
    if (left < weight) return take;
    left -= weight;
  }
  throw new Error("the weights do not add up");
}

/** Everything works again: soon there is one leader, and all hold and apply the same log. */
function converge(cluster: Cluster): void {
  cluster.healLinks();
  for (const { id } of cluster.down) cluster.restart(id);
  for (const { id } of cluster.servers) cluster.makeRoom(id);
  // A leader that was about to give up may still do so, and nothing is wrong with that.
  cluster.run(2 * ELECTION_TIMEOUT_MAX_TICKS);
  const leader = cluster.elect();
  cluster.propose(leader.id, "after the storm");
  const read = cluster.read(leader.id);
  const { lastLogIndex, configuration } = leader.status;
  const members = cluster.servers.filter(({ id }) => memberOf(configuration, id) !== null);
  const agree = () => members.every(({ appliedIndex }) => appliedIndex === lastLogIndex);
  cluster.runUntil(agree, 10 * ELECTION_TIMEOUT_MAX_TICKS);
  assert(read !== null && leader.readIndices.has(read), "a read waits for ever");
  for (const server of members) {
    const hasAll = server.status.lastLogIndex === lastLogIndex;
    assert(hasAll, `server ${server.id} has another log than its leader`);
    assert(server.status.leaderId === leader.id, `server ${server.id} follows ${server.status.leaderId}`);
  }
}

function runSchedule(size: number, seed: number): Cluster {
  const cluster = new Cluster({ size, seed, options: OPTIONS });
  let number = 0;
  try {
    for (; number < size * STEPS_PER_SERVER; number += 1) pickStep(cluster)(cluster, number);
    converge(cluster);
  } catch (cause) {
    throw new Error(`seed ${seed} of ${size} servers fails at step ${number}: ${String(cause)}`, { cause });
  }
  return cluster;
}

for (const [size, seeds] of [
  [3, 200],
  [5, 100],
] as const) {
  test(`E1-R9, S1-S4, P6, P9, M1-M5, L1-L3, Raft figure 3: ${seeds} random schedules of ${size} servers keep every promise, and converge`, () => {
    let [leaders, committed, reads, fullLeaders] = [0, 0, 0, 0];
    const happened = new Map<string, number>();
    for (let seed = 1; seed <= seeds; seed += 1) {
      const { checker, servers } = runSchedule(size, seed);
      leaders += checker.leaderCount;
      committed += checker.committed.length;
      for (const { readIndices, timesFullAsLeader } of servers) {
        fullLeaders += timesFullAsLeader;
        for (const readIndex of readIndices.values()) if (readIndex !== null) reads += 1;
      }
      const events = servers.flatMap((server) => server.events);
      for (const { kind, ...event } of events) {
        const name = "reason" in event ? event.reason : kind;
        happened.set(name, (happened.get(name) ?? 0) + 1);
      }
    }
    // The schedules are worth something only if much happens in them.
    expect(leaders).toBeGreaterThan(2 * seeds);
    expect(committed).toBeGreaterThan(8 * seeds);
    const count = (name: string): number => happened.get(name) ?? 0;
    expect(count("truncated")).toBeGreaterThan(seeds / 10);
    expect(count("compacted")).toBeGreaterThan(2 * seeds);
    expect(count("installed")).toBeGreaterThan(seeds / 5);
    expect(count("votesAgain")).toBeGreaterThan(seeds / 5);
    expect(fullLeaders).toBeGreaterThan(seeds / 10);
    expect(count("refused")).toBe(0);
    expect(count("configurationChanged")).toBeGreaterThan(10 * seeds);
    expect(count("removed")).toBeGreaterThan(seeds / 10);
    expect(count("transferStarted")).toBeGreaterThan(seeds / 2);
    expect(count("transferFailed")).toBeGreaterThan(seeds / 10);
    expect(reads).toBeGreaterThan(5 * seeds);
  }, 300_000);
}
