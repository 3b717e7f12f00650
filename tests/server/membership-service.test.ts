import { expect, test } from "bun:test";
import { RaftKvError } from "../../src/base/errors.ts";
import type { GenericResponse, ServerStatus } from "../../src/rpc/wire.ts";
import { membershipHandlers } from "../../src/server/membership-service.ts";
import type { Probe } from "../../src/server/probe.ts";
import { fill, NodeCluster } from "../node/node-cluster.ts";
import { addressesFrom } from "./fake-member.ts";

const CLUSTER_ID = "c";
const BASE_PORT = 9001;
const TIMEOUT_MS = 5000;

type Handlers = ReturnType<typeof membershipHandlers>;

/** Servers that hold some keys; of three, server 3 as well, which waits to be added. Server 0 leads. */
class Service {
  readonly cluster: NodeCluster;
  /** What is found at each address that is asked. */
  readonly asked: string[] = [];
  answer: Probe = { kind: "answered", status: {} as ServerStatus };

  private constructor(servers: number) {
    this.cluster = new NodeCluster(servers);
  }

  static async start(servers = 3): Promise<Service> {
    const service = new Service(servers);
    await service.cluster.until(() => service.cluster.isReady(0));
    await fill(service.cluster, 0, 20);
    if (servers === 3) service.cluster.join(3);
    return service;
  }

  call<M extends keyof Handlers>(
    method: M,
    request: Parameters<Handlers[M]>[0],
    id = 0,
    remainingMs: number | null = TIMEOUT_MS,
  ): Promise<Partial<GenericResponse>> {
    const handlers = membershipHandlers({
      node: this.cluster.node(id),
      identity: { clusterId: CLUSTER_ID, serverId: id, members: [] },
      addresses: addressesFrom(BASE_PORT),
      clock: this.cluster.clock,
      probe: async (address) => {
        this.asked.push(address);
        return this.answer;
      },
    });
    const handler = handlers[method] as (
      args: typeof request,
      call: { readonly remainingMs: number | null },
    ) => Promise<Partial<GenericResponse>>;
    return this.cluster.finish(handler(request, { remainingMs }), 60_000);
  }

  add(id: number, address = "", nonVoter = false, remainingMs: number | null = TIMEOUT_MS) {
    return this.call("AddMember", { id, address, nonVoter }, 0, remainingMs);
  }

  /** Ids of the voters, and of the others behind a slash. */
  members(): string {
    const { configuration } = this.cluster.node(0).status();
    const ids = (voter: boolean) => configuration.filter((m) => m.voter === voter).map((m) => m.id);
    return `${ids(true)}/${ids(false)}`;
  }
}

test("M5: a server that is added catches up as a non-voter, and then votes", async () => {
  const service = await Service.start();
  expect(await service.add(3)).toEqual({ success: true });
  expect(service.asked).toEqual(["127.0.0.1:9004"]);
  expect(service.members()).toBe("0,1,2,3/");
  expect(service.cluster.node(3).keyCount).toBe(20);
});

test("M5: a non-voter stays one until it is promoted", async () => {
  const service = await Service.start();
  expect(await service.add(3, "10.0.0.4:9001", true)).toEqual({ success: true });
  expect(service.members()).toBe("0,1,2/3");
  expect(await service.add(3)).toMatchObject({ error: expect.stringMatching(/as a non-voter: promote it/) });
  await service.cluster.until(() => {
    const followers = service.cluster.node(0).followers();
    return followers?.some(({ id, caughtUp }) => id === 3 && caughtUp) ?? false;
  });
  expect(await service.call("PromoteMember", { arg: 3 })).toEqual({ success: true });
  expect(await service.call("PromoteMember", { arg: 3 })).toMatchObject({
    error: "server 3 is a voter already",
    code: "FAILED_PRECONDITION",
  });
  expect(service.members()).toBe("0,1,2,3/");
});

test("I2: what cannot be added is refused with one line each, and the cluster is what it was", async () => {
  const service = await Service.start();
  const refusals: readonly (readonly [number, string, string, RegExp])[] = [
    [-1, "", "INVALID_ARGUMENT", /^the server's id is -1/],
    [65_535, "", "INVALID_ARGUMENT", /^the server's id is 65535/],
    [3, "nonsense", "INVALID_ARGUMENT", /^the address must be host:port.*, not "nonsense"$/],
    [3, "0.0.0.0:9004", "INVALID_ARGUMENT", /^the address must be/],
    [2, "", "FAILED_PRECONDITION", /^server 2 is a member already$/],
    [2, "10.0.0.9:1", "FAILED_PRECONDITION", /^server 2 is a member already$/],
    [3, "127.0.0.1:9003", "FAILED_PRECONDITION", /^127.0.0.1:9003 is the address of server 2$/],
  ];
  for (const [id, address, code, says] of refusals) {
    expect(await service.add(id, address)).toMatchObject({ code, error: expect.stringMatching(says) });
  }
  expect(service.asked).toEqual([]);
  service.answer = { kind: "silent", error: new RaftKvError("unavailable", "no") };
  expect(await service.add(3)).toMatchObject({
    code: "FAILED_PRECONDITION",
    error: expect.stringMatching(/^server 3 does not answer at 127.0.0.1:9004: start it first/),
  });
  service.answer = { kind: "other", who: "server 7 of cluster d" };
  expect(await service.add(3)).toMatchObject({
    error: "at 127.0.0.1:9004 there is server 7 of cluster d, not server 3 of cluster c",
  });
  expect(service.members()).toBe("0,1,2/");
});

test("I2: no server is added to a cluster that has 15 already", async () => {
  const service = await Service.start(15);
  service.cluster.join(15);
  expect(await service.add(15)).toEqual({
    error: "the cluster has 15 servers already: remove one before server 15 is added",
    code: "FAILED_PRECONDITION",
  });
  expect(service.asked).toEqual([]);
  expect(await service.call("RemoveMember", { arg: 7 })).toEqual({ success: true });
  expect(await service.add(15)).toEqual({ success: true });
});

test("M5: a server that does not catch up in time stays a non-voter, and the answer says so", async () => {
  const service = await Service.start();
  service.cluster.isolate(3);
  for (const remainingMs of [1000, null]) {
    const before = service.cluster.clock.nowMs();
    const answer = await service.add(3, "", false, remainingMs);
    expect(answer).toMatchObject({
      code: "FAILED_PRECONDITION",
      error: expect.stringMatching(/^server 3 was added and stays a non-voter: it was not promoted in time/),
    });
    expect(service.cluster.clock.nowMs() - before).toBeLessThan(remainingMs ?? 30_000);
    expect(service.members()).toBe("0,1,2/3");
    expect(await service.call("RemoveMember", { arg: 3 })).toEqual({ success: true });
  }
});

test("M4: the leader is removed by its own hand, and another one leads", async () => {
  const service = await Service.start();
  expect(await service.call("RemoveMember", { arg: 0 })).toEqual({ success: true });
  await service.cluster.until(() => service.cluster.isReady(1) || service.cluster.isReady(2));
  expect(service.cluster.node(0).status().role).not.toBe("leader");
});

test("the last voter and an unknown server are not removed", async () => {
  const service = await Service.start();
  expect(await service.call("RemoveMember", { arg: 7 })).toMatchObject({ error: "server 7 is not a member" });
  expect(await service.call("PromoteMember", { arg: 7 })).toMatchObject({
    error: "server 7 is not a member",
  });
  for (const id of [1, 2]) expect(await service.call("RemoveMember", { arg: id })).toEqual({ success: true });
  expect(await service.call("RemoveMember", { arg: 0 })).toMatchObject({
    error: "server 0 is the only voter: a cluster cannot be without one",
    code: "FAILED_PRECONDITION",
  });
});

test("only the leader changes anything: others name it", async () => {
  const service = await Service.start();
  const refused = { code: "NOT_LEADER", leaderId: 0 };
  expect(await service.call("AddMember", { id: 3, address: "", nonVoter: false }, 1)).toMatchObject(refused);
  expect(await service.call("RemoveMember", { arg: 2 }, 1)).toMatchObject(refused);
  expect(await service.call("PromoteMember", { arg: 2 }, 1)).toMatchObject(refused);
  expect(await service.call("TransferLeadership", { to: 1 }, 1)).toMatchObject(refused);
});

test("C2: a change that is not committed in time may still take effect, and the answer says so", async () => {
  const service = await Service.start();
  for (const id of [1, 2]) service.cluster.isolate(id);
  const answer = await service.call("RemoveMember", { arg: 2 }, 0, 100);
  expect(answer).toMatchObject({
    code: "UNKNOWN_OUTCOME",
    error: expect.stringMatching(/^outcome unknown: it was not committed in time; the change may still/),
  });
});

test("leadership goes to the server that is asked for, or to any other; the answer names it", async () => {
  const service = await Service.start();
  expect(await service.call("TransferLeadership", { to: 2 })).toEqual({ success: true, leaderId: 2 });
  await service.cluster.until(() => service.cluster.isReady(2));
  const answer = await service.call("TransferLeadership", {}, 2);
  expect(answer).toMatchObject({ success: true });
  expect([0, 1]).toContain(answer.leaderId ?? -1);
});

test("leadership does not go to an unknown server, a non-voter or the leader itself", async () => {
  const service = await Service.start();
  await service.add(3, "", true);
  for (const [to, error] of [
    [7, "server 7 is not a member"],
    [3, "server 3 is not a voter: promote it first"],
    [0, "server 0 leads already"],
  ] as const) {
    expect(await service.call("TransferLeadership", { to })).toEqual({ error, code: "FAILED_PRECONDITION" });
  }
  expect(service.cluster.isReady(0)).toBe(true);
});
