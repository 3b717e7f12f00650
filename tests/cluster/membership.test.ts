/** Servers come and go while clients work: real processes, and a frontend that starts them. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import type { WireReply } from "../../src/rpc/wire.ts";
import { runRaftkv } from "./command-run.ts";
import { Deployment } from "./deployment.ts";
import { SteadyLoad } from "./steady-load.ts";
import { waitFor } from "./waiting.ts";

setDefaultTimeout(120_000);

const TIMEOUT_MS = 30_000;
const MAX_IDS = 6;

let cluster: Deployment;
let load: SteadyLoad | null = null;

beforeEach(async () => {
  cluster = await Deployment.create("[Snapshot]\nentries = 500\nkeep_entries = 50\n");
  await cluster.startFrontend();
});

afterEach(async () => {
  await load?.stop();
  load = null;
  await cluster.close();
});

async function startServer(id: number): Promise<void> {
  const reply = await cluster.frontend.call("StartServer", { arg: id }, TIMEOUT_MS);
  expect([id, reply.error]).toEqual([id, ""]);
}

function removeMember(id: number): Promise<WireReply> {
  return cluster.frontend.call("RemoveMember", { arg: id }, TIMEOUT_MS);
}

/** The cluster as the frontend tells it: its voters. */
async function voters(): Promise<readonly number[]> {
  const { members } = await cluster.frontend.call("Status", {}, TIMEOUT_MS);
  return members.filter(({ voter }) => voter).map(({ id }) => id);
}

/** What the command line says when the cluster stays what it is: exit code 1 and one line. */
async function refusal(...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await runRaftkv(cluster, ...args);
  expect([args.join(" "), code, stdout, stderr.trim().split("\n").length]).toEqual([
    args.join(" "),
    1,
    "",
    1,
  ]);
  return stderr.trim();
}

describe("a cluster under load", () => {
  test("M4, M5: grows from 1 to 5 servers and shrinks back to 3, the leader among those that go; no call fails", async () => {
    await cluster.startRaft(1);
    const clients = (load = new SteadyLoad(cluster));
    await clients.more(600);
    for (const id of [1, 2, 3, 4]) {
      await startServer(id);
      await clients.more(100);
    }
    expect(await voters()).toEqual([0, 1, 2, 3, 4]);
    const first = await cluster.leader(MAX_IDS);
    expect((await removeMember(first.id)).error).toBe("");
    await clients.more(100);
    const second = await cluster.leader(MAX_IDS);
    expect(second.id).not.toBe(first.id);
    const follower = (await voters()).find((id) => id !== second.id) ?? -1;
    expect((await removeMember(follower)).error).toBe("");
    await clients.more(100);
    await clients.stop();
    expect(clients.failures).toEqual([]);
    const left = await voters();
    expect(left).toEqual([0, 1, 2, 3, 4].filter((id) => id !== first.id && id !== follower));
    for (const id of [first.id, follower]) expect(cluster.pids(id)).toEqual([]);
    await clients.checkOn(left);

    // What is left is a cluster of three: it serves without one of them.
    await cluster.signal(second.id, "SIGKILL");
    await cluster.put("k", "v");
  });

  test("M4: a leader that was removed is stopped with its files, and added again by StartServer", async () => {
    await cluster.startRaft(3);
    const clients = (load = new SteadyLoad(cluster));
    await clients.more(50);
    const { id } = await cluster.leader(3);
    expect((await removeMember(id)).error).toBe("");
    expect(await voters()).toEqual([0, 1, 2].filter((other) => other !== id));
    expect(cluster.pids(id)).toEqual([]);
    expect(await Bun.file(join(cluster.stateDirectory, `server_${id}.json`)).exists()).toBe(true);
    await clients.more(50);
    await startServer(id);
    expect(await voters()).toEqual([0, 1, 2]);
    await clients.more(50);
    await clients.stop();
    expect(clients.failures).toEqual([]);
    await clients.checkOn([0, 1, 2]);
  });

  test("F4: the next frontend knows the cluster as it has become", async () => {
    await cluster.startRaft(1);
    await startServer(3);
    await startServer(5);
    expect((await removeMember(0)).error).toBe("");
    await cluster.put("k", "v");
    expect(await cluster.stopFrontend("SIGTERM")).toBe(0);
    expect([0, 3, 5].flatMap((id) => cluster.pids(id))).toEqual([]);
    await cluster.startFrontend("--start", "3");
    expect(await cluster.get("k")).toBe("v");
    expect(await voters()).toEqual([3, 5]);
    expect(cluster.pids(0)).toEqual([]);
    await cluster.stopFrontend("SIGKILL");
    await cluster.startFrontend();
    expect(await cluster.get("k")).toBe("v");
    expect(await voters()).toEqual([3, 5]);
  });

  test("P9: a server of a cluster that has changed is replaced when its disk is lost", async () => {
    await cluster.startRaft(1);
    for (const id of [1, 2, 3]) await startServer(id);
    expect((await removeMember(0)).error).toBe("");
    await cluster.put("k", "v");
    await cluster.signal(2, "SIGKILL");
    await Bun.write(join(cluster.stateDirectory, "server_2.json"), "garbage");
    const { code, stderr } = await runRaftkv(cluster, "replace", "2");
    expect([code, stderr]).toEqual([0, ""]);
    await waitFor("it has the value", async () => (await cluster.getOn(2, "k")) === "v");
    await waitFor("it votes again", async () => !(await cluster.status(2)).abstains);
    expect(await voters()).toEqual([1, 2, 3]);
  });
});

describe("a change that cannot be made", () => {
  test("M2, M5: is one clear error each, and the cluster is what it was", async () => {
    await cluster.startRaft(3);
    await cluster.put("k", "v");
    const address = (id: number): string => `127.0.0.1:${cluster.basePort + id}`;
    expect(await refusal("member", "add", "1")).toBe("raftkv: server 1 is a member already");
    expect(await refusal("member", "add", "3", "--at", address(1))).toBe(
      `raftkv: ${address(1)} is the address of server 1`,
    );
    expect(await refusal("member", "add", "3")).toStartWith(
      `raftkv: server 3 does not answer at ${address(3)}: start it first`,
    );
    expect(await refusal("member", "remove", "7")).toBe("raftkv: server 7 is not a member");
    expect(await refusal("member", "promote", "7")).toBe("raftkv: server 7 is not a member");
    expect(await refusal("member", "promote", "1")).toBe("raftkv: server 1 is a voter already");
    expect(await voters()).toEqual([0, 1, 2]);
    expect(await cluster.get("k")).toBe("v");
  });

  test("M2: the last voter stays", async () => {
    await cluster.startRaft(1);
    await cluster.put("k", "v");
    expect(await refusal("member", "remove", "0")).toStartWith("raftkv: server 0 is the only voter");
    expect(await cluster.get("k")).toBe("v");
    expect(await voters()).toEqual([0]);
  });

  test("M2: two at the same time are one after the other, or one of them is told of the other", async () => {
    await cluster.startRaft(5);
    const replies = await Promise.all([1, 2].map(removeMember));
    for (const { code, error } of replies) {
      expect(["OK", "FAILED_PRECONDITION"]).toContain(code);
      if (code !== "OK") expect(error).toContain("another change of the cluster is under way");
    }
    const gone = [1, 2].filter((_, at) => replies[at]?.code === "OK");
    expect(gone.length).toBeGreaterThan(0);
    await waitFor("the rest", async () => (await voters()).length === 5 - gone.length);
    await cluster.put("k", "v");
  });

  test("F2: without a leader nothing is changed, and a server that was to be added does not stay", async () => {
    await cluster.startRaft(3);
    await cluster.put("k", "v");
    await cluster.kill([1, 2]);
    await waitFor("no leader", async () => (await cluster.status(0)).role !== "leader");
    for (const words of [
      ["remove", "1"],
      ["add", "3"],
      ["promote", "1"],
    ]) {
      expect(await refusal("member", ...words, "--timeout", "2")).toMatch(
        /^raftkv: no leader served the call within \d+ ms: nothing was changed; see "raftkv status"$/,
      );
    }
    const reply = await cluster.frontend.call("StartServer", { arg: 3 }, TIMEOUT_MS);
    expect([reply.code, reply.error]).toEqual(["FAILED_PRECONDITION", expect.stringContaining("server 3")]);
    expect(cluster.pids(3)).toEqual([]);
    await startServer(1);
    await startServer(2);
    expect(await cluster.get("k")).toBe("v");
    expect(await voters()).toEqual([0, 1, 2]);
  });
});
