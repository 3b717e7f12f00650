import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { RpcClient } from "../../src/rpc/rpc-client.ts";
import { freePorts } from "./free-ports.ts";
import { eventually, HandMadeCluster } from "./hand-made-cluster.ts";

setDefaultTimeout(240_000);

const IDS = [0, 1, 2];
const MAX_ROUNDS = 12;

let cluster: HandMadeCluster;

/** As on machines of their own: each server has an address of its own, and all have one port. */
beforeEach(async () => {
  const port = await freePorts(1);
  cluster = await HandMadeCluster.create((id) => ({ address: `127.0.0.${id + 1}:${port}`, prefix: [] }));
});

afterEach(async () => {
  await cluster.close();
});

/** Waits until the server's configuration is this, voters before a slash. */
async function members(id: number, expected: string): Promise<void> {
  await eventually(`server ${id} knows the members ${expected}`, async () => {
    const all = (await cluster.status(id)).members;
    const ids = (voter: boolean): string => `${all.filter((m) => m.voter === voter).map((m) => m.id)}`;
    return `${ids(true)}/${ids(false)}` === expected;
  });
}

test("servers at addresses of their own become a cluster, grow by one that joins, and go on without their leader", async () => {
  await cluster.found(IDS);
  const first = await cluster.leader(IDS);
  expect(await cluster.put(first.id, "k", "1")).toMatchObject({ success: true });
  for (const id of IDS) expect(await cluster.get(id, "k", "LINEARIZABLE")).toBe("1");

  cluster.start(3, "--join", `${cluster.addressOf(1)},${cluster.addressOf(2)}`);
  await eventually("server 3 serves", () => cluster.status(3));
  const request = { id: 3, address: cluster.addressOf(3) };
  expect(await cluster.server(first.id).call("AddMember", request, 20_000)).toMatchObject({ success: true });
  await members(3, "0,1,2,3/");
  expect(await cluster.get(3, "k", "LINEARIZABLE")).toBe("1");
  const again = await cluster.server(first.id).call("AddMember", request, 20_000);
  expect(again).toMatchObject({ code: "FAILED_PRECONDITION", error: "server 3 is a member already" });

  const removed = await cluster.server(first.id).call("RemoveMember", { arg: first.id }, 20_000);
  expect(removed).toMatchObject({ success: true });
  const rest = [...IDS, 3].filter((id) => id !== first.id);
  const second = await cluster.leader(rest);
  await members(second.id, `${rest}/`);
  expect((await cluster.status(first.id)).role).not.toBe("leader");
  expect(await cluster.put(second.id, "k", "2")).toMatchObject({ success: true });
  for (const id of rest) expect(await cluster.get(id, "k", "LINEARIZABLE")).toBe("2");
});

test("SIGTERM of a leader hands over: the next leader is there one term later, before the process has ended", async () => {
  await cluster.found(IDS);
  let handedOver = 0;
  // A server does not wait for long: on a machine that is too busy for its voters it goes without.
  for (let round = 0; handedOver < 2; round += 1) {
    expect(round).toBeLessThan(MAX_ROUNDS);
    const { id, term } = await cluster.leader(IDS);
    await eventually("a write", async () => (await cluster.put(id, "round", String(round))).success);
    cluster.signal(id, "SIGTERM");
    const { code, output } = await cluster.end(id);
    expect(code).toBe(0);
    expect(output).toContain('"message":"transferStarted"');
    // It follows the one that it made way for, and so has seen it lead, in the very next term.
    if (output.includes(`"message":"leaderKnown","fields":{"term":${term + 1},`)) handedOver += 1;
    cluster.start(id);
    await cluster.leader(IDS);
  }
});

test("P9: a server whose files are lost does not come back by the words that it was started with", async () => {
  await cluster.found(IDS);
  const { id: leader } = await cluster.leader(IDS);
  const lost = (leader + 1) % IDS.length;
  const others = IDS.filter((id) => id !== lost);
  const bootstrap = ["--bootstrap", "3", "--peers", cluster.peers(IDS)];
  const { clusterId } = await cluster.status(leader);

  await cluster.kill(lost);
  cluster.start(lost, ...bootstrap);
  await cluster.leader(IDS);

  await cluster.kill(lost);
  await rm(cluster.stateDirectory(lost), { recursive: true });
  for (const [words, says] of [
    [[], /server \d has no state here/],
    [bootstrap, /^raftkv: server \d cannot found its cluster: cluster \S+ goes on already/m],
    [
      ["--join", cluster.addressOf(leader)],
      /^raftkv: server \d cannot join: cluster \S+ has a member of this id/m,
    ],
  ] as const) {
    cluster.start(lost, ...words);
    expect(await cluster.end(lost)).toEqual({ code: 1, output: expect.stringMatching(says) });
  }
  expect(await cluster.put((await cluster.leader(others)).id, "k", "1")).toMatchObject({ success: true });

  cluster.start(lost, "--rejoin", "3", "--cluster-id", clusterId, "--peers", cluster.peers(IDS));
  await eventually("it votes again", async () => !(await cluster.status(lost)).abstains);
  expect(await cluster.get(lost, "k", "LINEARIZABLE")).toBe("1");
});

test("P9, P10: the only founder of a cluster that has grown founds another one once its files are lost, and stays out", async () => {
  const bootstrap = ["--bootstrap", "1", "--peers", cluster.peers([0])];
  await cluster.found([0]);
  const { clusterId } = await cluster.status(0);
  for (const id of [1, 2]) {
    cluster.start(id, "--join", cluster.addressOf(0));
    await eventually(`server ${id} serves`, () => cluster.status(id));
    const request = { id, address: cluster.addressOf(id) };
    expect(await cluster.server(0).call("AddMember", request, 20_000)).toMatchObject({ success: true });
  }
  expect(await cluster.put(0, "k", "1")).toMatchObject({ success: true });

  for (const id of IDS) await cluster.kill(id);
  await rm(cluster.stateDirectory(0), { recursive: true });
  cluster.start(0, ...bootstrap);
  const { clusterId: another } = await cluster.leader([0]);
  expect(another).not.toBe(clusterId);
  expect(await cluster.put(0, "k", "lost?")).toMatchObject({ success: true });

  for (const id of [1, 2]) cluster.start(id);
  const { id: leader } = await cluster.leader([1, 2]);
  for (const id of [1, 2]) expect(await cluster.get(id, "k", "LINEARIZABLE")).toBe("1");
  expect(await cluster.put(leader, "k", "2")).toMatchObject({ success: true });
  expect(await cluster.status(0)).toMatchObject({ clusterId: another, role: "leader" });
  expect((await cluster.status(0)).members.map(({ id }) => id)).toEqual([0]);

  await cluster.kill(0);
  await rm(cluster.stateDirectory(0), { recursive: true });
  cluster.start(0, "--rejoin", "3", "--cluster-id", clusterId, "--peers", cluster.peers(IDS));
  await eventually("it votes again", async () => !(await cluster.status(0)).abstains);
  expect(await cluster.get(0, "k", "LINEARIZABLE")).toBe("2");
});

test("a server that is started without its place says that the others look for it elsewhere", async () => {
  await cluster.found([0]);
  await cluster.kill(0);
  const port = await freePorts(1);
  const config = join(cluster.directory, "elsewhere.ini");
  const servers = `base_port = ${port}\nbase_source_port = 7001\nmax_workers = 10\nactive = 0\n`;
  const state = "persistent_state_path = raft_state\n";
  await writeFile(config, `[Global]\nbase_address = 127.0.0.1\n[Servers]\n${servers}${state}`);
  const elsewhere = new RpcClient("KeyValueStore", `127.0.0.1:${port}`);
  cluster.startAnywhere(0, "--config", config);
  await eventually("it serves", () => elsewhere.call("Status", {}, 1000));
  elsewhere.close();
  cluster.signal(0, "SIGTERM");
  const { output } = await cluster.end(0);
  expect(output).toContain("the others look for it elsewhere: give --listen");
  expect(output).toContain(`"address":"${cluster.addressOf(0)}"`);
});

test("I2: words that do not fit end in one clear line", async () => {
  const peers = cluster.peers(IDS);
  const cases: readonly (readonly [readonly string[], 1 | 2, RegExp])[] = [
    [
      ["--bootstrap", "2", "--peers", peers],
      2,
      /^raftkv: --bootstrap 2 does not go with --peers, which has 3$/,
    ],
    [
      ["--bootstrap", "3", "--peers", peers, "--cluster-id", "c"],
      2,
      /^raftkv: --cluster-id does not go with --bootstrap and --peers/,
    ],
    [["--peers", peers], 2, /^raftkv: --peers goes with --bootstrap or --rejoin/],
    [["--join", "nowhere"], 2, /^raftkv: --join must be addresses/],
    [["--bootstrap", "1", "--peers", "5=127.0.0.1:9001"], 2, /^raftkv: --id 0 is not one of --peers$/],
    [["--advertise", "127.0.0.1:9001"], 2, /^raftkv: --advertise goes with --join/],
    [
      ["--rejoin", "3", "--cluster-id", "c", "--peers", peers],
      1,
      /^raftkv: server 0 cannot rejoin: server 1 at .* does not answer/,
    ],
  ];
  for (const [words, exitCode, says] of cases) {
    cluster.start(0, ...words);
    const { code, output } = await cluster.end(0);
    expect([words, code, output]).toEqual([words, exitCode, expect.stringMatching(says)]);
  }
});
