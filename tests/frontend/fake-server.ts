/**
 * A server process as a supervisor sees it: the command line, the port, the files and the answers of a
 * real one, without Raft. Server 0 leads. FAKE_SERVER in the environment is a FakePlan as JSON.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { parsePeers } from "../../src/config/peers.ts";
import { withAddresses } from "../../src/frontend/cluster.ts";
import { initialConfiguration, type Configuration } from "../../src/raft/configuration.ts";
import { INITIAL_HARD_STATE } from "../../src/raft/hard-state.ts";
import { RpcServer } from "../../src/rpc/rpc-server.ts";
import { RpcClient } from "../../src/rpc/rpc-client.ts";
import { decodeStateFile, encodeStateFile } from "../../src/storage/state-file.ts";
import type { Identity } from "../../src/storage/store.ts";

/** What the test wants of the servers. */
export interface FakePlan {
  readonly basePort: number;
  /** This one says so and ends instead of serving. */
  readonly failing?: number;
  /** These serve once there is a file `go` in the state directory. */
  readonly held?: readonly number[];
  /** This one never serves. */
  readonly mute?: number;
  /** This one ends once it was seen to serve, before anybody leads. */
  readonly dying?: number;
  /** This one takes no notice of SIGTERM. */
  readonly deaf?: number;
  /** This one was made anew and has not caught up, as long as there is no file `go` in the state directory. */
  readonly abstaining?: number;
  /** Server 0 refuses to add any server, in these words. */
  readonly refusing?: string;
}

async function unused(): Promise<never> {
  throw new Error("not expected");
}

/** It says nothing of an end. */
const LAST_LINE = { time: "", level: "info", logger: "server", message: "serving" };

function fail(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

/** What the server's state file says; it is made first if the server is new. */
function identityOf(
  stateFile: string,
  serverId: number,
  created: Omit<Identity, "serverId"> | null,
): Identity {
  if (created !== null) {
    if (existsSync(stateFile)) fail(`${stateFile} exists already`);
    const identity = { ...created, serverId };
    const state = { identity, hardState: INITIAL_HARD_STATE, logReaches: null, installing: null };
    writeFileSync(stateFile, encodeStateFile(state));
  }
  if (!existsSync(stateFile)) fail(`${stateFile} does not exist: the server has no state`);
  return decodeStateFile(stateFile, readFileSync(stateFile)).identity;
}

/** The id of the cluster that has a server at the first of the addresses. */
async function clusterAt(addresses: string): Promise<string> {
  const client = new RpcClient("KeyValueStore", addresses.split(",")[0] ?? "");
  const { clusterId } = await client.call("Status", {}, 10_000);
  client.close();
  return clusterId;
}

async function serve(): Promise<void> {
  const option = { type: "string" } as const;
  const { values } = parseArgs({
    options: {
      mode: option,
      id: option,
      "state-dir": option,
      bootstrap: option,
      rejoin: option,
      join: option,
      peers: option,
      "cluster-id": option,
    },
  });
  const plan = JSON.parse(process.env["FAKE_SERVER"] ?? "{}") as FakePlan;
  const id = Number(values.id);
  process.on("SIGTERM", () => {
    if (plan.deaf !== id) process.exit(0);
  });
  if (plan.failing === id) fail(`server ${id} was told to fail`);
  const newId = values["cluster-id"];
  const size = Number(values.bootstrap ?? values.rejoin);
  const peers = parsePeers(values.peers ?? "");
  const members =
    peers?.map(({ id: peer, address }) => ({ id: peer, address, voter: true })) ??
    initialConfiguration([...Array(newId === undefined ? 0 : size).keys()]);
  const joined = values.join === undefined ? null : await clusterAt(values.join);
  const created = newId === undefined ? null : { clusterId: newId, members };
  const identity = identityOf(
    `${values["state-dir"]}/server_${id}.json`,
    id,
    joined === null ? created : { clusterId: joined, members: [] },
  );
  const { clusterId } = identity;
  const addressOf = (server: number): string => `127.0.0.1:${plan.basePort + server}`;
  let configuration: Configuration = withAddresses(identity.members, addressOf);
  let changes = 0;
  const change = (next: Configuration): { success: boolean } => {
    configuration = next.toSorted((a, b) => a.id - b.id);
    changes += 1;
    return { success: true };
  };
  const goes = (): boolean => existsSync(`${values["state-dir"]}/go`);
  const leads = id === 0 && plan.dying === undefined;
  let timesAsked = 0;
  const server = new RpcServer();
  const store = new Map<string, Buffer>();
  server.add("KeyValueStore", {
    ping: async () => ({ success: true }),
    Status: async () => {
      if (plan.dying === id && ++timesAsked > 1) fail(JSON.stringify(LAST_LINE));
      const abstains = plan.abstaining === id && !goes();
      const role = leads ? "leader" : "follower";
      const membership = { members: [...configuration], configurationIndex: changes, commitIndex: changes };
      return { id, clusterId, pid: process.pid, term: 1, role, abstains, ...membership };
    },
    AddMember: async ({ id: added, nonVoter }) =>
      plan.refusing === undefined
        ? change([...configuration, { id: added, address: addressOf(added), voter: !nonVoter }])
        : { error: plan.refusing, code: "FAILED_PRECONDITION" },
    PromoteMember: async ({ arg }) =>
      change(configuration.map((member) => (member.id === arg ? { ...member, voter: true } : member))),
    RemoveMember: async ({ arg }) => change(configuration.filter((member) => member.id !== arg)),
    TransferLeadership: async () => ({ success: true, leaderId: 0 }),
    ReadIndex: unused,
    TimeoutNow: unused,
    PutMany: unused,
    GetState: async () => ({ term: 1, isLeader: id === 0 }),
    Put: async ({ key, value }) => {
      store.set(key.toString(), Buffer.from(value));
      return { success: true };
    },
    Get: async ({ arg }) => {
      const value = store.get(arg.toString());
      return value === undefined ? {} : { value, found: true };
    },
    AppendEntries: unused,
    RequestVote: unused,
    InstallSnapshot: unused,
    TakeSnapshot: unused,
    ReadSnapshot: unused,
  });
  while (plan.held?.includes(id) === true && !goes()) await Bun.sleep(10);
  if (plan.mute === id) setInterval(() => {}, 1000);
  else await server.listen(["127.0.0.1", "::1"], plan.basePort + id).catch((error) => fail(error.message));
}

if (import.meta.main) await serve();
